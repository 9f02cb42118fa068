"""Learning from mirror images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import train

from acro import Experience, ReplayMemory
from acro.envs.reflections import reflection_of
from acro.experience.mirror import mirror_half


def test_first_half_of_each_minibatch_is_mirrored_and_nothing_else_changes() -> None:
    memory = ReplayMemory(100, (6,), seed=1)
    for step in range(50):
        obs = np.arange(6, dtype=np.float32) + 10 * step
        memory.push(obs, step % 3, -1.0, obs + 100, False)
    batch = memory.sample((3, 5))
    before = [column.copy() for column in batch[:-1]]

    mirror_half(batch, reflection_of("acro/Acrobot-v1"))

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

    mirror_half(batch, reflection_of("LunarLander-v3"))

    assert batch.obs[0].tolist() == [[-1, 2, -3, 4, -5, -6, 0, 1], obs.tolist()]
    assert batch.actions.tolist() == [[3, 1]]


def test_what_is_sampled_is_mirrored_but_not_what_is_stored(tmp_path: Path) -> None:
    runs = [train(tmp_path / str(mirror), epochs=2, data={"mirror": mirror})[1] for mirror in (False, True)]
    plain, mirrored = (run._collecting.memory for run in runs)
    # Until the first update both do the same.
    rows = np.arange(100)

    for column, other in zip(plain.gather(rows)[:-1], mirrored.gather(rows)[:-1], strict=True):
        np.testing.assert_array_equal(column, other)
    batches = [run._sample(4) for run in runs]
    assert not torch.equal(batches[0].obs, batches[1].obs)


def test_an_environment_without_a_known_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^mirror must be False for MountainCar-v0: it is known for "):
        Experience("MountainCar-v0", mirror=True)
