"""Rounds, schedules and settings of the data module."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import scripted  # noqa: F401 - registers the environment
import torch
from batches import random_rounds
from runs import SMALL, train

from acro import DQN, Experience


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, "capacity must be at least 1, got 0"),
        ({"capacity": -5}, "capacity must be at least 1, got -5"),
        ({"num_envs": 8.0}, "num_envs must be a whole number, got 8.0"),
        ({"frame_stack": 1.5}, "frame_stack must be a whole number, got 1.5"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"epsilon_decay_per_episode": 2.0}, "epsilon_decay_per_episode must be above 0 and at most 1, got 2.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"n_step": 0}, "n_step must be at least 1, got 0"),
        ({"n_step_end": 0}, "n_step_end must be at least 1, got 0"),
        ({"gamma": 1.01}, "gamma must be from 0 to 1, got 1.01"),
        ({"gamma": -0.1}, "gamma must be from 0 to 1, got -0.1"),
        ({"gamma": float("nan")}, "gamma must be from 0 to 1, got nan"),
        ({"capacity": 7}, "capacity must be at least num_envs=8, got 7"),
        ({"epsilon_end": 1.5}, "epsilon_end must be from 0 to 1, got 1.5"),
        ({"steps_per_round": 12}, "steps_per_round must be a multiple of num_envs=8, got 12"),
        ({"steps_per_epoch": 100}, "steps_per_epoch must be a multiple of steps_per_round=64, got 100"),
        ({"updates_per_step": -1.0}, "updates_per_step must be at least 0, got -1.0"),
        ({"learning_starts_steps": -1}, "learning_starts_steps must be at least 0, got -1"),
        ({"epsilon_decay_steps": -5}, "epsilon_decay_steps must be at least 0, got -5"),
        ({"beta_steps": -1}, "beta_steps must be at least 0, got -1"),
        ({"eval_episodes": 0}, "eval_episodes must be at least 1, got 0"),
        ({"zeta_exponent": 1.0}, "zeta_exponent must be above 1 or None, got 1.0"),
        (
            {"autoreset_mode": "Never"},
            "autoreset_mode must be one of ['NextStep', 'SameStep', 'Disabled'], got 'Never'",
        ),
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


class Sized(Experience):
    """Has arguments of its own, by the names of others."""

    def __init__(self, capacity: str, num_envs: int) -> None:
        super().__init__("CartPole-v1", num_envs=2 * num_envs, capacity={"small": 100}[capacity])


def test_settings_are_those_that_a_subclass_passes_on() -> None:
    experience = Sized("small", 4)

    assert (experience.capacity, experience.num_envs) == (100, 8)
    with pytest.raises(ValueError, match="steps_per_round must be a multiple of num_envs=10, got 64"):
        Sized("small", 5)


def test_asking_before_setup_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"setup\('fit'\) makes them"):
        _ = Experience().env_steps


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 224), (1.0, 448), (0.3, 134), (0.0, 0)])
def test_updates_follow_their_ratio_from_learning_starts_on(ratio: float, expected: int, tmp_path: Path) -> None:
    module, experience = train(tmp_path, epochs=4, data={"updates_per_step": ratio})

    assert experience.env_steps == 4 * SMALL["steps_per_epoch"] == 512
    assert module.updates == expected


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({"learning_starts_steps": 256}, True),
        ({"learning_starts_steps": 64, "updates_per_step": 0.001}, True),
        ({"learning_starts_steps": 192}, False),
    ],
)
def test_run_that_learns_nothing_says_so(
    settings: dict[str, Any], is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module, _ = train(tmp_path, epochs=2, data=settings)

    assert (module.updates == 0) == is_told
    assert ("nothing is learned in 256 steps, with learning_starts_steps=" in caplog.text) == is_told


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
    assert experience.collector is not None
    episodes = len(experience.collector.episodes)

    assert episodes > 20
    assert experience.epsilon == pytest.approx(0.98**episodes)


def test_validation_and_test_starts_never_meet() -> None:
    experience = Experience(seed=3)
    held_out = experience.held_out_episodes()

    trainer: Any = SimpleNamespace(current_epoch=0)
    experience.trainer = trainer
    starts: set[int] = set()
    for trainer.current_epoch in range(100):
        (episodes,) = experience.val_dataloader()
        starts |= set(range(episodes.seed, episodes.seed + episodes.episodes))

    assert len(starts) == 100 * 100
    assert starts.isdisjoint(range(held_out.seed, held_out.seed + held_out.episodes))


@pytest.mark.parametrize("env_id", ["acro/Acrobot-v1", "CartPole-v1"])
def test_second_fit_goes_on_where_the_first_ended(env_id: str) -> None:
    experience = Experience(env_id, **SMALL)
    module = DQN(experience.observation_size, experience.num_actions, hidden=(16,))
    for _ in range(2):
        settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        L.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, **settings).fit(module, experience)

    assert experience.env_steps == 2 * SMALL["steps_per_epoch"]
    # 64 of the steps come before learning, once.
    assert module.updates == (2 * SMALL["steps_per_epoch"] - 64) // 2


def test_spread_of_the_priorities_is_their_deviation_over_their_mean() -> None:
    experience = Experience("CartPole-v1", num_envs=1, steps_per_round=4, steps_per_epoch=8, prioritized=True)
    experience.setup("fit")
    memory = experience.collector.memory  # type: ignore[union-attr]
    for _ in range(3):
        memory.push(np.zeros(4), 0, 0.0, np.zeros(4), False)

    experience.update_priorities(torch.tensor([[0, 1]]), torch.tensor([[-1.0, 3.0]]))

    # 1 and 3: a deviation of 1 from a mean of 2.
    assert experience.metrics()["train/priority_spread"] == pytest.approx(0.5, abs=1e-5)


def test_only_what_the_module_moves_itself_stays_where_it_is() -> None:
    experience = Experience()
    meta, rounds = torch.device("meta"), random_rounds(1)

    assert experience.transfer_batch_to_device(rounds, meta, 0) is rounds
    episodes = experience.held_out_episodes()
    assert experience.transfer_batch_to_device(episodes, meta, 0) is episodes
    # As the example that Lightning summarises a model with.
    assert experience.transfer_batch_to_device(torch.zeros(1), meta, 0).device == meta


def test_experience_says_what_it_is() -> None:
    experience = Experience("CartPole-v1", num_envs=2, steps_per_round=4, steps_per_epoch=8, seed=3)

    said = "Experience('CartPole-v1', num_envs=2, seed=3): observations (4,), 2 actions; "
    assert (repr(experience), str(experience)) == (f"{said}not begun", f"{said}not begun")
    experience.setup("fit")
    assert str(experience) == f"{said}0 steps, 0 episodes"
