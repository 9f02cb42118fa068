"""What acro knows of environments that they do not say themselves."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import gymnasium
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

from acro.envs.facts import return_range, reward_range, reward_threshold, step_limit


def test_threshold_is_the_environments() -> None:
    found = [
        reward_threshold(env_id)
        for env_id in ("acro/Acrobot-v1", "acro:acro/Acrobot-v1", "CartPole-v1", "Pendulum-v1", "nowhere/None-v0", None)
    ]

    assert found == [-100.0, -100.0, 475.0, None, None, None]


def test_asking_for_a_threshold_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not_mine.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)

    assert reward_threshold("not_mine:CartPole-v1") == 475.0
    assert "not_mine" not in sys.modules


def test_reward_range_is_known_for_classic_control() -> None:
    assert (
        reward_range("acro:acro/Acrobot-v1", {}) == reward_range("Acrobot-v1", {"max_episode_steps": 9}) == (-1.0, 0.0)
    )
    assert reward_range("LunarLander-v3", {}) is reward_range(CartPoleEnv, {}) is None
    assert reward_range("CartPole-v1", {"sutton_barto_reward": True}) is None


def test_step_limit_is_that_of_the_wrapper_or_of_the_registration() -> None:
    assert step_limit(gymnasium.make("acro/Acrobot-v1")) == 500
    assert step_limit(gymnasium.make("CartPole-v1", max_episode_steps=20)) == 20
    assert step_limit(RecordEpisodeStatistics(TimeLimit(CartPoleEnv(), 30))) == 30
    assert step_limit(CartPoleEnv()) is None


def test_return_range_of_acrobot() -> None:
    low, high = return_range((-1.0, 0.0), gamma=0.99, horizon=500)

    assert low == pytest.approx(-(1 - 0.99**500) / 0.01)
    assert round(low, 1) == -99.3
    assert high == 0.0


@pytest.mark.parametrize(
    ("rewards", "gamma", "horizon", "expected"),
    [
        ((0.0, 1.0), 1.0, 500, (0.0, 500.0)),
        ((-1.0, 1.0), 0.5, 2, (-1.5, 1.5)),
        # An episode of one step gives the least of positive rewards.
        ((1.0, 2.0), 0.5, math.inf, (1.0, 4.0)),
    ],
)
def test_return_range(
    rewards: tuple[float, float], gamma: float, horizon: float, expected: tuple[float, float]
) -> None:
    assert return_range(rewards, gamma, horizon) == expected


def test_endless_undiscounted_returns_have_no_range() -> None:
    with pytest.raises(ValueError, match=r"gamma=1.0 without a horizon: the returns have no bounds"):
        return_range((-1.0, 0.0), 1.0, math.inf)
