"""Rounds, schedules and settings of the data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import scripted  # noqa: F401 - registers the environment
from runs import SMALL, train

from acro import Experience


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, "capacity=0: it must be at least 1"),
        ({"capacity": -5}, "capacity=-5: it must be at least 1"),
        ({"batch_size": 0}, "batch_size=0: it must be at least 1"),
        ({"batch_size": -1}, "batch_size=-1: it must be at least 1"),
        ({"n_step": 0}, "n_step=0: it must be at least 1"),
        ({"n_step_end": 0}, "n_step_end=0: it must be at least 1"),
        ({"gamma": 1.01}, "gamma=1.01: a discount factor lies in [0, 1]"),
        ({"gamma": -0.1}, "gamma=-0.1: a discount factor lies in [0, 1]"),
        ({"gamma": float("nan")}, "gamma=nan: a discount factor lies in [0, 1]"),
        ({"capacity": 7}, "capacity=7 is smaller than num_envs=8: each needs a place at least"),
        ({"epsilon_end": 1.5}, "epsilon_end=1.5: a probability lies in [0, 1]"),
        ({"steps_per_round": 12}, "steps_per_round=12: it must be a multiple of num_envs=8"),
        ({"steps_per_epoch": 100}, "steps_per_epoch=100: it must be a multiple of steps_per_round=64"),
        ({"updates_per_step": -1.0}, "updates_per_step=-1.0: it must be at least 0"),
        ({"eval_episodes": 0}, "eval_episodes=0: it must be at least 1"),
        ({"zeta_exponent": 1.0}, "zeta_exponent=1.0: a zeta distribution needs an exponent above 1, or None"),
        ({"autoreset_mode": "Never"}, "autoreset_mode='Never': expected one of ['NextStep', 'SameStep', 'Disabled']"),
    ],
)
def test_bad_settings_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        Experience(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("env_id", "found"),
    [
        ("Nowhere-v0", "Nowhere"),
        ("Pendulum-v1", "action space Box"),
        ("Blackjack-v1", "observation space Tuple"),
        ("FrozenLake-v1", "observation space Discrete"),
    ],
)
def test_unfit_environment_is_an_error(env_id: str, found: str) -> None:
    pytest.importorskip("gymnasium.envs.toy_text")
    with pytest.raises(ValueError, match=found):
        Experience(env_id)


def test_asking_before_setup_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"made by setup\('fit'\)"):
        _ = Experience().env_steps


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 224), (1.0, 448), (0.3, 134), (0.0, 0)])
def test_updates_follow_their_ratio_from_learning_starts_on(ratio: float, expected: int, tmp_path: Path) -> None:
    module, experience = train(tmp_path, epochs=4, data={"updates_per_step": ratio})

    assert experience.env_steps == 4 * SMALL["steps_per_epoch"] == 512
    assert module.updates == expected


def test_epsilon_follows_environment_steps(tmp_path: Path) -> None:
    _, experience = train(tmp_path, epochs=1, data={"epsilon_decay_steps": 256})

    assert experience.epsilon == pytest.approx(1.0 + (0.05 - 1.0) * 128 / 256)


def test_epsilon_falls_by_a_factor_an_episode(tmp_path: Path) -> None:
    _, experience = train(
        tmp_path,
        epochs=1,
        env_id="acro-tests/Corridor-v0",
        data={"epsilon_decay_per_episode": 0.98, "epsilon_end": 0.001},
    )
    episodes = len(experience.collector.episodes)

    assert episodes > 20
    assert experience.epsilon == pytest.approx(0.98**episodes)


def test_validation_and_test_starts_never_meet() -> None:
    experience = Experience(seed=3)
    held_out = experience.held_out_episodes()

    class Trainer:
        current_epoch = 0

    experience.trainer = Trainer()
    starts = set()
    for Trainer.current_epoch in range(100):
        (episodes,) = experience.val_dataloader()
        starts |= set(range(episodes.seed, episodes.seed + episodes.episodes))

    assert len(starts) == 100 * 100
    assert starts.isdisjoint(range(held_out.seed, held_out.seed + held_out.episodes))
