"""Greedy episodes end, and are refused where nothing can be learned from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv, MountainCarEnv
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit
from torch import Tensor, nn

from acro import evaluate, evaluation


class Still(nn.Module):
    """Prefers action 1, by which a mountain car never gets to the top."""

    def forward(self, obs: Tensor) -> Tensor:
        return obs.new_tensor([[0.0, 1.0]]).expand(len(obs), 2)


def test_episode_that_never_ends_is_cut_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "STEP_LIMIT", 30)
    with pytest.warns(UserWarning, match=r"2 of 2 episodes of MountainCarEnv had not ended after 30 steps.*env_kwargs"):
        played = evaluate(Still(), MountainCarEnv, episodes=2)

    assert played.lengths.tolist() == [30, 30]
    assert played.returns.tolist() == [-30.0, -30.0]
    assert played.truncated.tolist() == [True, True]


@pytest.mark.parametrize("env", ["MountainCar-v0", "acro/Acrobot-v1", lambda: TimeLimit(MountainCarEnv(), 40)])
def test_time_limit_of_an_environment_is_its_own(env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "STEP_LIMIT", 30)
    kwargs = {"max_episode_steps": 40} if isinstance(env, str) else {}

    played = evaluate(Still(), env, episodes=2, env_kwargs=kwargs)
    assert played.lengths.tolist() == [40, 40]
    assert played.truncated.tolist() == [True, True]


def test_only_an_episode_that_a_limit_ended_is_truncated() -> None:
    kwargs = {"max_episode_steps": 9}
    played = evaluate(Still(), "CartPole-v1", episodes=20, env_kwargs=kwargs)
    assert 0 < played.truncated.sum() < 20
    # A pole may also fall with the last step.
    assert (played.lengths[played.truncated] == 9).all()


class Broken(CartPoleEnv):
    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)  # type: ignore[no-untyped-call]
        return obs, float("nan"), *rest


def test_what_is_not_finite_ends_an_evaluation() -> None:
    with pytest.raises(
        FloatingPointError, match="every reward must be finite, got nan from environment 0 of Broken at step 1"
    ):
        evaluate(Still(), Broken, episodes=2)


def test_returns_are_finite_sums() -> None:
    assert np.isfinite(evaluate(Still(), "CartPole-v1", episodes=2).returns).all()


def test_evaluation_says_how_good_it_was() -> None:
    actions = [np.zeros(0, dtype=np.int64)] * 3
    found = evaluation.Evaluation(7, np.array([1.0, 2.0, 6.0]), np.array([1, 2, 6]), actions, np.zeros(3, np.bool_))

    assert repr(found) == "Evaluation(mean 3.0 ± 1.5, median 2, worst 1, best 6; 3 episodes from seed 7)"


def test_networks_without_modes_or_of_64_bits_are_played() -> None:
    network = nn.Linear(4, 2)
    expected = evaluate(network, "CartPole-v1", 2).returns
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    assert np.array_equal(evaluate(program.module(), "CartPole-v1", 2).returns, expected)

    class Wide(CartPoleEnv):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = Box(-10.0, 10.0, (4,), np.float64)

        def _wide(self, found: Any) -> Any:
            return found[0].astype(np.float64), *found[1:]

        def reset(self, **kwargs: Any) -> Any:
            return self._wide(super().reset(**kwargs))

        def step(self, action: Any) -> Any:
            return self._wide(super().step(action))  # type: ignore[no-untyped-call]

    for played in (nn.Linear(4, 2), nn.Linear(4, 2, dtype=torch.float64)):
        assert len(evaluate(played, lambda: TimeLimit(Wide(), 20), 2).returns) == 2


def test_what_is_not_a_network_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"evaluate plays a torch.nn.Module, got a str; an Agent has one, .module"):
        evaluate("runs/acrobot", "CartPole-v1")  # type: ignore[arg-type] # a mistake
