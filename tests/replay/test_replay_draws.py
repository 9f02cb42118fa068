"""Whether draws have the probabilities they should, on fixed seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acro.replay import Batch, ReplayMemory

ROWS = 50


def numbered(capacity: int = ROWS, *, steps: int = ROWS, **options: Any) -> ReplayMemory:
    memory = ReplayMemory(capacity, (), seed=11, **options)
    for step in range(steps):
        memory.push(step, 0, 0.0, step + 1, terminated=False, env=step % memory.num_envs)
    return memory


def p_value(observed: np.ndarray, expected: np.ndarray) -> float:
    """The chance of a chi-square at least this large, by Wilson and Hilferty's normal approximation."""
    statistic = float((((observed - expected) ** 2) / expected).sum())
    freedom = len(observed) - 1
    deviation = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return 0.5 * math.erfc(deviation / math.sqrt(2))


def counts(batch: Batch) -> np.ndarray:
    return np.bincount(batch.obs.astype(int).ravel(), minlength=ROWS)


@pytest.mark.parametrize("num_envs", [1, 5])
@pytest.mark.parametrize("capacity", [ROWS, 2 * ROWS])
def test_uniform_draws_are_uniform(num_envs: int, capacity: int) -> None:
    observed = counts(numbered(capacity, num_envs=num_envs).sample(100_000))
    assert 1e-3 < p_value(observed, np.full(ROWS, 2000.0)) < 1 - 1e-3


def test_uniform_draws_are_uniform_over_unevenly_filled_environments() -> None:
    memory = ReplayMemory(100, (), num_envs=2, seed=3)
    for step in range(ROWS):
        memory.push(step, 0, 0.0, step + 1, terminated=False, env=int(step >= 10))
    assert 1e-3 < p_value(counts(memory.sample(100_000)), np.full(ROWS, 2000.0)) < 1 - 1e-3


def test_the_test_catches_a_biased_sampler() -> None:
    # One row in fifty a tenth too likely.
    weights = np.ones(ROWS)
    weights[7] = 1.1
    rows = np.random.default_rng(0).choice(ROWS, 1_000_000, p=weights / weights.sum())
    assert p_value(np.bincount(rows, minlength=ROWS), np.full(ROWS, 20_000.0)) < 1e-6


@pytest.mark.parametrize("batch_size", [7, 40])
def test_draws_without_replacement_are_distinct_and_uniform_in_every_place(batch_size: int) -> None:
    drawn = numbered().sample((20_000, batch_size), replace=False).obs.astype(int)
    assert all(len(set(minibatch)) == batch_size for minibatch in drawn.tolist())
    for place in (0, batch_size // 2, batch_size - 1):
        observed = np.bincount(drawn[:, place], minlength=ROWS)
        assert 1e-3 < p_value(observed, np.full(ROWS, 400.0)) < 1 - 1e-3


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_prioritized_draws_are_in_proportion(alpha: float) -> None:
    memory = numbered(prioritized=True, alpha=alpha)
    priorities = np.arange(1.0, ROWS + 1)
    memory.update_priorities(np.arange(ROWS), priorities)
    expected = priorities**alpha / (priorities**alpha).sum()
    # Minibatches of one are not stratified, so their counts are multinomial.
    observed = counts(memory.sample((200_000, 1)))
    assert 1e-3 < p_value(observed, expected * 200_000) < 1 - 1e-3


def test_stratified_draws_have_the_same_probabilities() -> None:
    memory = numbered(prioritized=True, alpha=1.0)
    priorities = np.arange(1.0, ROWS + 1)
    memory.update_priorities(np.arange(ROWS), priorities)
    observed = counts(memory.sample((6_000, 32)))
    assert np.allclose(observed / observed.sum(), priorities / priorities.sum(), atol=5e-4)


def test_first_prioritized_draw_without_replacement_is_in_proportion() -> None:
    memory = numbered(prioritized=True, alpha=1.0)
    priorities = np.arange(1.0, ROWS + 1)
    memory.update_priorities(np.arange(ROWS), priorities)
    drawn = memory.sample((50_000, 4), replace=False).obs.astype(int)
    assert all(len(set(minibatch)) == 4 for minibatch in drawn.tolist())
    observed = np.bincount(drawn[:, 0], minlength=ROWS)
    assert 1e-3 < p_value(observed, priorities / priorities.sum() * 50_000) < 1 - 1e-3


def test_index_streams_are_pinned() -> None:
    # The same on every platform and in every release, or the format's version changes.
    assert numbered().sample(8).indices.tolist() == [42, 40, 48, 30, 13, 35, 6, 1]


row = st.tuples(
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 9), st.integers(0, 2), st.sampled_from(["", "", "", "t", "c"])
)


class Plain:
    """The naive model: a list of all that was ever pushed, for each environment."""

    def __init__(self, size: int, num_envs: int) -> None:
        self.size = size
        self.rows: list[list[tuple[int, int, int, str]]] = [[] for _ in range(num_envs)]

    def ids(self) -> list[int]:
        num_envs = len(self.rows)
        return [
            place * num_envs + env
            for env, rows in enumerate(self.rows)
            for place in range(max(0, len(rows) - self.size), len(rows))
        ]

    def expected(self, index: int, n_step: int, gamma: float) -> tuple[float, float, float, float, bool]:
        place, env = divmod(index, len(self.rows))
        rows = self.rows[env]
        obs, reward, next_obs, end = rows[place]
        total, power = float(reward), gamma
        for following in rows[place + 1 : place + n_step]:
            if end or following[0] != next_obs:
                break
            _, reward, next_obs, end = following
            total += power * reward
            power *= gamma
        return obs, total, next_obs, 0.0 if end == "t" else power, end == "t"


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 5), st.integers(1, 3), st.lists(st.lists(row, max_size=5), max_size=12), st.booleans())
def test_a_memory_agrees_with_plain_lists(size: int, num_envs: int, pieces: list[Any], prioritized: bool) -> None:
    memory = ReplayMemory(size * num_envs, (), num_envs=num_envs, prioritized=prioritized)
    plain = Plain(size, num_envs)
    for piece in pieces:
        envs, obs, rewards, next_obs, ends = ([line[k] for line in piece] for k in range(5))
        envs = [env % num_envs for env in envs]
        flags = np.array([end == "t" for end in ends], bool), np.array([end == "c" for end in ends], bool)
        memory.extend(obs, np.zeros(len(piece), int), rewards, next_obs, *flags, envs=np.array(envs, int))
        for env, *line in zip(envs, obs, rewards, next_obs, ends, strict=True):
            plain.rows[env].append(tuple(line))
        ids = plain.ids()
        assert len(memory) == len(ids)
        if not ids:
            continue
        for n_step in (1, 3):
            batches = [memory.gather(ids, n_step=n_step, gamma=0.5), memory.sample(9, n_step=n_step, gamma=0.5)]
            assert batches[0].indices.tolist() == ids
            for batch in batches:
                columns = (batch.obs, batch.rewards, batch.next_obs, batch.discounts, batch.terminated)
                found = list(zip(*(column.tolist() for column in columns), strict=True))
                assert found == [plain.expected(index, n_step, 0.5) for index in batch.indices.tolist()]
