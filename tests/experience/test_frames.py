"""Experience of single frames: what agents see of them, and what they learn from."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray
from torch import Tensor, nn

from acro import Experience
from acro.evaluation import evaluate


class Lives(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Counts its steps; a life is lost at every third, and the game ends with the second. Rewards are 5."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def _seen(self) -> tuple[NDArray[np.float32], dict[str, Any]]:
        return np.array([self._steps], np.float32), {"lives": 2 - self._steps // 3}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._seen()

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._steps += 1
        obs, info = self._seen()
        return obs, 5.0, info["lives"] == 0, False, info


class Watching(nn.Module):
    """Remembers what it was shown, and takes action 0."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[list[list[float]]] = []

    def forward(self, obs: Tensor) -> Tensor:
        self.shown.append(obs.flatten(1).tolist())
        return torch.tensor([[1.0, 0.0]]).expand(len(obs), 2)


def collected(**settings: Any) -> tuple[Experience, Watching]:
    experience = Experience(Lives, num_envs=1, capacity=50, steps_per_round=1, steps_per_epoch=1, **settings)
    experience.setup("fit")
    assert experience.collector is not None
    watching = Watching()
    for _ in range(8):
        experience.collector.collect(watching, 0.0, 1)
    return experience, watching


@pytest.mark.parametrize("autoreset_mode", ["SameStep", "Disabled"])
def test_agents_act_on_stacks(autoreset_mode: str) -> None:
    experience, watching = collected(frame_stack=3, autoreset_mode=autoreset_mode)
    assert experience.observation_shape == (3, 1)
    assert experience.observation_size == 3
    first = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 0, 0], [0, 0, 1]]
    assert watching.shown == [[stack] for stack in first]


def test_clipped_rewards_are_learned_from_and_true_ones_told() -> None:
    experience, _ = collected(clip_rewards=True)
    assert experience.collector is not None
    assert experience.collector.memory.sample(20).rewards.tolist() == [1.0] * 20
    assert experience.collector.episodes.returns == [30.0]
    assert experience.return_range == pytest.approx((-100.0, 100.0))


def test_lives_end_what_is_learned_from_and_not_the_game() -> None:
    experience, _ = collected(life_loss_ends=True)
    assert experience.collector is not None
    memory = experience.collector.memory
    assert memory.gather(list(range(8))).terminated.tolist() == [False, False, True, False, False, True, False, False]
    assert experience.collector.episodes.lengths == [6]
    plain, _ = collected()
    assert plain.collector is not None
    assert plain.collector.memory.gather(list(range(8))).terminated.sum() == 1


def test_lives_of_an_environment_without_any_are_asked_for_in_vain(caplog: pytest.LogCaptureFixture) -> None:
    Experience("CartPole-v1", life_loss_ends=True).setup("fit")
    assert "life_loss_ends has no effect: CartPole-v1 reports no lives" in caplog.text
    caplog.clear()
    collected(life_loss_ends=True)
    assert caplog.text == ""


def test_evaluation_shows_the_stacks_of_gymnasiums_wrapper() -> None:
    watching = Watching()
    evaluation = evaluate(watching, "CartPole-v1", 1, 5, None, 4)
    env = FrameStackObservation(gymnasium.make("CartPole-v1"), 4)
    obs, _ = env.reset(seed=5)
    for shown, action in zip(watching.shown, evaluation.actions[0], strict=True):
        assert shown == [obs.flatten().tolist()]
        obs, *_ = env.step(action)


def test_stacks_of_stacks_in_a_vector_environment_are_warned_of() -> None:
    def stacked() -> gymnasium.Env[Any, Any]:
        return FrameStackObservation(gymnasium.make("CartPole-v1"), 4)

    given = gymnasium.make_vec("CartPole-v1", 2, "sync", wrappers=[lambda env: FrameStackObservation(env, 4)])
    with pytest.warns(UserWarning, match="stacks what FrameStackObservation has stacked already"):
        Experience(given, frame_stack=2, eval_env=stacked)
    given.close()


def test_stacks_of_stacks_are_warned_of() -> None:
    def make() -> gymnasium.Env[Any, Any]:
        return FrameStackObservation(Lives(), 2)

    with pytest.warns(UserWarning, match=r"^frame_stack=3 stacks what FrameStackObservation has stacked already; "):
        Experience(make, frame_stack=3)


def test_no_frames_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"^frame_stack must be at least 1, got 0$"):
        Experience(Lives, frame_stack=0)


def test_another_frame_stack_does_not_continue() -> None:
    experience, _ = collected(frame_stack=3)
    other, _ = collected(frame_stack=2)
    with pytest.raises(ValueError, match=r"frame_stack is 3 in it, 2 here"):
        other.load_state_dict(experience.state_dict())
