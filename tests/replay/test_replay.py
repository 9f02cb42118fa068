"""What goes into a replay memory and what comes out of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from acro.replay import ReplayMemory


def counting_memory(capacity: int, steps: int, *, episode: int = 10**9, **options: Any) -> ReplayMemory:
    """A memory whose observation at step `i` is `i`, and the reward of that step too."""
    memory = ReplayMemory(capacity, (), obs_dtype=np.float32, **options)
    for step in range(steps):
        memory.push(np.float32(step), step, step, np.float32(step + 1), terminated=step % episode == episode - 1)
    return memory


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 9])
def test_the_newest_transitions_are_kept(steps: int) -> None:
    memory = counting_memory(4, steps)
    assert len(memory) == min(steps, 4)
    assert memory.is_full == (steps >= 4)
    if steps:
        drawn = set(memory.sample(200).actions.tolist())
        assert drawn == set(range(max(0, steps - 4), steps))


def test_next_observations_follow_observations() -> None:
    batch = counting_memory(5, 12).sample(100)
    assert np.array_equal(batch.next_obs, batch.obs + 1)


def test_a_return_is_discounted_to_the_end_of_its_episode() -> None:
    memory = counting_memory(100, 10, episode=5)
    batch = memory.gather(np.arange(10), n_step=3, gamma=0.5)
    # 3 + 0.5 * 4 at step 3, where the episode ends after step 4.
    assert batch.rewards.tolist() == [1, 2.75, 4.5, 5, 4, 9.75, 11.5, 13.25, 12.5, 9]
    assert batch.discounts.tolist() == [0.125, 0.125, 0, 0, 0, 0.125, 0.125, 0, 0, 0]
    assert batch.next_obs.tolist() == [3, 4, 5, 5, 5, 8, 9, 10, 10, 10]
    assert batch.terminated.tolist() == [False, False, True, True, True, False, False, True, True, True]


def test_a_truncated_episode_keeps_its_final_observation_and_its_bootstrap() -> None:
    memory = ReplayMemory(8, (2,))
    memory.push([0, 0], 0, 1.0, [9, 9], False, truncated=True)
    memory.push([5, 5], 1, 1.0, [6, 6], False)
    batch = memory.gather([0, 1], n_step=4, gamma=0.5)
    assert batch.next_obs.tolist() == [[9, 9], [6, 6]]
    assert batch.discounts.tolist() == [0.5, 0.5]
    assert not batch.terminated.any()


def test_extend_stores_a_row_of_every_environment() -> None:
    memory = ReplayMemory(6, (), num_envs=3)
    for step in range(4):
        obs = np.array([10, 20, 30], np.float32) + step
        memory.extend(obs, [0, 1, 2], [0.0, 1.0, 2.0], obs + 1, [False] * 3, [False] * 3)
    assert sorted(set(memory.sample(300).obs.tolist())) == [12, 13, 22, 23, 32, 33]


def test_the_same_seed_draws_the_same() -> None:
    one, other = counting_memory(50, 70, seed=7), counting_memory(50, 70, seed=7)
    assert np.array_equal(one.sample((3, 16)).indices, other.sample((3, 16)).indices)


@pytest.mark.parametrize("prioritized", [False, True])
def test_a_restored_memory_goes_on_as_the_one_that_was_saved(prioritized: bool) -> None:
    memory = counting_memory(20, 33, episode=7, prioritized=prioritized)
    if prioritized:
        memory.update_priorities(memory.sample(5).indices, np.arange(5.0))
    restored = ReplayMemory(20, (), seed=99, prioritized=prioritized)
    restored.load_state_dict(memory.state_dict())
    for each in (memory, restored):
        each.push(np.float32(33), 0, 1.0, np.float32(34), terminated=False)
    expected, found = memory.sample(64, n_step=3), restored.sample(64, n_step=3)
    for column, same in zip(expected, found, strict=True):
        assert np.array_equal(column, same) or column is same is None


def test_sampling_an_empty_memory_is_an_error() -> None:
    message = "cannot sample from an empty replay memory; push at least one transition first"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ReplayMemory(4, (6,)).sample(2)


def test_memory_and_batch_say_what_they_hold() -> None:
    memory = ReplayMemory(10, (4,), num_envs=2)
    memory.push(np.zeros(4), 1, 0.0, np.zeros(4), False)

    assert repr(memory) == "ReplayMemory(1 of 10 transitions, 2 environments)"
    assert repr(memory.sample(3)).startswith("Batch(obs (3, 4) float32, actions (3,) int64, rewards (3,) float32, ")
