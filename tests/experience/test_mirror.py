"""Learning from mirror images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import pytest
from gymnasium.wrappers import TransformObservation
from runs import train

from acro import Batch, Experience, ReplayMemory
from acro.envs.reflections import REFLECTIONS
from acro.experience.mirror import mirror_half


def test_first_half_of_each_minibatch_is_mirrored_and_nothing_else_changes() -> None:
    memory = ReplayMemory(100, (6,), seed=1)
    for step in range(50):
        obs = np.arange(6, dtype=np.float32) + 10 * step
        memory.push(obs, step % 3, -1.0, obs + 100, False)
    batch = memory.sample((3, 5))
    before = [column.copy() for column in batch[:-1]]

    mirror_half(batch, REFLECTIONS["acro/Acrobot-v1"])

    signs = np.array([1, -1, 1, -1, -1, -1], np.float32)
    for column, was in ((batch.obs, before[0]), (batch.next_obs, before[3])):
        np.testing.assert_array_equal(column[:, :2], was[:, :2] * signs)
        np.testing.assert_array_equal(column[:, 2:], was[:, 2:])
        assert column.dtype == np.float32
    np.testing.assert_array_equal(batch.actions[:, :2], 2 - before[1][:, :2])
    np.testing.assert_array_equal(batch.actions[:, 2:], before[1][:, 2:])
    for column, was in zip(batch[:-1], before, strict=True):
        if column is not batch.obs and column is not batch.next_obs and column is not batch.actions:
            np.testing.assert_array_equal(column, was)


def test_legs_change_places_with_their_engines() -> None:
    memory = ReplayMemory(10, (8,), seed=1)
    obs = np.array([1, 2, 3, 4, 5, 6, 1, 0], np.float32)
    memory.push(obs, 1, 0.0, obs, False)
    batch = memory.sample((1, 2))

    mirror_half(batch, REFLECTIONS["LunarLander-v3"])

    assert batch.obs[0].tolist() == [[-1, 2, -3, 4, -5, -6, 0, 1], obs.tolist()]
    assert batch.actions.tolist() == [[3, 1]]


class SeenBatches(L.Callback):
    """Compares every batch with the transitions in the memory that it names."""

    def __init__(self) -> None:
        self.count = 0

    def on_train_batch_start(self, trainer: Any, module: L.LightningModule, batch: Batch, batch_idx: int) -> None:
        half = batch.rewards.shape[1] // 2
        stored = trainer.datamodule.collector.memory.gather(batch.indices.numpy(), gamma=trainer.datamodule.gamma)
        signs = np.array([1, -1, 1, -1, -1, -1], np.float32)
        for seen, own in ((batch.obs, stored.obs), (batch.next_obs, stored.next_obs)):
            np.testing.assert_array_equal(seen[:, :half], own[:, :half] * signs)
            np.testing.assert_array_equal(seen[:, half:], own[:, half:])
        np.testing.assert_array_equal(batch.actions[:, :half], 2 - stored.actions[:, :half])
        np.testing.assert_array_equal(batch.rewards, stored.rewards)
        np.testing.assert_array_equal(batch.discounts, stored.discounts)
        self.count += len(batch.rewards)


def test_half_of_what_is_learned_from_is_the_mirror_image_of_what_is_stored(tmp_path: Path) -> None:
    seen = SeenBatches()
    dqn, _ = train(tmp_path, epochs=2, callbacks=(seen,), data={"mirror": True, "n_step": 1})

    assert seen.count == dqn.updates > 0


def test_an_environment_without_a_known_image_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^mirror must be False for MountainCar-v0: acro knows mirror images of acro/"
    ):
        Experience("MountainCar-v0", mirror=True)


def test_an_environment_whose_wrappers_may_break_the_mirror_is_refused() -> None:
    env = gymnasium.make_vec(
        "CartPole-v1",
        8,
        vectorization_mode="sync",
        wrappers=[lambda env: TransformObservation(env, np.abs, env.observation_space)],
    )

    with pytest.raises(ValueError, match=r"^mirror must be False for "):
        Experience(env, mirror=True, eval_env="CartPole-v1")
