"""What a memory takes, and what it says of what it does not take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import DTypeLike

from acro.replay import ReplayMemory

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


def refused(kind: type[Exception], message: str) -> pytest.RaisesExc[Exception]:
    """Expect an error with exactly this message; a note may say of which argument it is."""
    return pytest.raises(kind, match=rf"^{re.escape(message)}(\nwhile processing '\w+')?$")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (1, 2, 3)])
def test_rows_of_any_shape_and_dtype_come_back_the_same(dtype: str, shape: tuple[int, ...]) -> None:
    memory = ReplayMemory(10, shape, obs_dtype=dtype, action_shape=shape, action_dtype=dtype)
    rng = np.random.default_rng(0)
    obs, actions, next_obs = (rng.integers(0, 100, (6, *shape)).astype(dtype) for _ in range(3))
    for row in range(6):
        memory.push(obs[row], actions[row], 0.0, next_obs[row], terminated=False)
    batch = memory.gather([0, 1, 2, 3, 4, 5])
    for column, expected in ((batch.obs, obs), (batch.actions, actions), (batch.next_obs, next_obs)):
        assert column.dtype == expected.dtype
        assert column.flags.c_contiguous
        assert np.array_equal(column, expected)


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a[:, ::-1][:, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.float64),
        lambda a: a.astype(np.float16),
        lambda a: a.tolist(),
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
    ],
    ids=["reversed", "fortran", "strided", "big-endian", "float64", "float16", "list", "unaligned"],
)
def test_other_layouts_and_kindred_dtypes_are_converted(convert: Callable[[np.ndarray], Any]) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    memory = ReplayMemory(4, (6,), num_envs=2)
    memory.extend(convert(rows), np.array([1, 2], ">i4"), [1, 2], convert(rows + 1), [0, 1], np.array([False, False]))
    batch = memory.gather([0, 1])
    assert np.array_equal(batch.obs, rows)
    assert np.array_equal(batch.next_obs, rows + 1)
    assert batch.actions.tolist() == [1, 2]
    assert batch.terminated.tolist() == [False, True]


def test_batches_have_the_documented_dtypes_and_are_fresh() -> None:
    memory = ReplayMemory(4, (6,), prioritized=True)
    memory.push(np.zeros(6), 1, 1.0, np.ones(6), terminated=False)
    batch = memory.sample((2, 3))
    dtypes = ["float32", "int64", "float32", "float32", "float32", "bool", "int64", "float32"]
    assert [str(column.dtype) for column in batch] == dtypes
    assert [column.shape[:2] for column in batch] == [(2, 3)] * 8
    batch.obs[:] = 7
    assert not memory.sample(1).obs.any()


def test_tensors_share_the_batch_memory() -> None:
    memory = ReplayMemory(4, (6,))
    memory.push(np.zeros(6), 1, 1.0, np.ones(6), terminated=False)
    batch = memory.sample(2)
    tensors = batch.as_tensors()
    tensors.obs[:] = 5
    assert (batch.obs == 5).all()
    assert tensors.weights is None


def test_an_empty_round_has_no_rows() -> None:
    batch = ReplayMemory(4, (6,)).sample((0, 32))
    assert batch.obs.shape == (0, 32, 6)


def test_no_indices_name_an_empty_batch() -> None:
    made = memory()
    batch = made.gather([])
    assert (batch.obs.shape, batch.indices.dtype, batch.weights) == ((0, 3), np.int64, None)
    prioritized = ReplayMemory(4, (3,), prioritized=True)
    assert prioritized.update_priorities([], []) == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_sign_of_a_zero_does_not_break_an_episode(dtype: DTypeLike) -> None:
    made = ReplayMemory(8, (2,), obs_dtype=dtype)
    made.push([1, 1], 0, 1.0, [-0.0, 2], terminated=False)
    made.push([0.0, 2], 0, 1.0, [3, 3], terminated=False)
    made.push([-3, 3], 0, 1.0, [4, 4], terminated=False)
    batch = made.gather([0, 1], n_step=3, gamma=0.5)
    assert batch.rewards.tolist() == [1.5, 1.0]
    assert batch.next_obs.tolist() == [[3, 3], [3, 3]]


def test_the_highest_bit_of_an_integer_does_break_an_episode() -> None:
    made = ReplayMemory(8, (), obs_dtype=np.uint32)
    made.push(np.uint32(1), 0, 1.0, np.uint32(2**31), terminated=False)
    made.push(np.uint32(0), 0, 1.0, np.uint32(3), terminated=False)
    assert made.gather([0], n_step=2).next_obs.tolist() == [2**31]


def memory() -> ReplayMemory:
    """A memory of two environments with one transition."""
    made = ReplayMemory(8, (3,), num_envs=2)
    made.push([0, 0, 0], 0, 0.0, [1, 1, 1], terminated=False)
    return made


ROW = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda m: m.push(np.zeros(4), 0, 0.0, ROW, False), ValueError, "obs has shape (4,), expected (3,)"),
        (
            lambda m: m.push(ROW, 0, 0.0, np.zeros((1, 3)), False),
            ValueError,
            "next_obs has shape (1, 3), expected (3,)",
        ),
        (
            lambda m: m.push(ROW, 1.5, 0.0, ROW, False),
            TypeError,
            "action has dtype float64, which cannot be stored as int64; convert it first",
        ),
        (
            lambda m: m.push(ROW + 1j, 0, 0.0, ROW, False),
            TypeError,
            "obs has dtype complex64, which cannot be stored as float32; convert it first",
        ),
        (lambda m: m.push(ROW, 2**63, 0.0, ROW, False), ValueError, "action holds a value that does not fit int64"),
        (
            lambda m: m.push(ROW, 0, 0.0, ROW, False, env=2),
            ValueError,
            "there is no environment 2: this memory has 2, numbered from 0",
        ),
        (
            lambda m: m.extend(ROW, [0, 0], [0, 0], ROW, [False] * 2, [False] * 2),
            ValueError,
            "obs has shape (3,), expected (2, 3)",
        ),
        (lambda m: m.sample(0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda m: m.sample((-1, 2)), ValueError, "M of batch_size (M, B) must be at least 0, got -1"),
        (lambda m: m.sample("x"), TypeError, "batch_size must be an int or a pair of ints (M, B), got 'x'"),
        (lambda m: m.sample(1, n_step=0), ValueError, "n_step must be at least 1, got 0"),
        (lambda m: m.sample(1, n_step=1.5), TypeError, "n_step must be an int from 1 to 2**63 - 1, got 1.5"),
        (
            lambda m: m.sample(1, n_step=2**70),
            ValueError,
            f"n_step must be an int from 1 to 2**63 - 1, got {2**70}",
        ),
        (lambda m: m.push(ROW, 0, 0.0, ROW, False, env=2**70), ValueError, f"env must be an int, got {2**70}"),
        (lambda m: m.sample(1, gamma=1.5), ValueError, "gamma must be from 0 to 1, got 1.5"),
        (lambda m: m.sample(1, beta=-1), ValueError, "beta must be from 0 to 1, got -1"),
        (
            lambda m: m.sample(2, replace=False),
            ValueError,
            "cannot sample 2 distinct transitions from 1; "
            "ask for fewer, push more, or draw with replacement: replace=True",
        ),
        (
            lambda m: m.gather([4]),
            ValueError,
            "index 4 names no transition in the memory; it was overwritten, cleared or never given out",
        ),
        (
            lambda m: m.update_priorities([0], [1.0]),
            RuntimeError,
            "this replay memory has no priorities; make one that has them: prioritized=True",
        ),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_changes_nothing(
    call: Callable[[ReplayMemory], object], kind: type[Exception], message: str
) -> None:
    made = memory()
    with refused(kind, message):
        call(made)
    for name, value in memory().state_dict().items():
        assert np.array_equal(made.state_dict()[name], value)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"capacity": 0}, ValueError, "capacity must be at least 1, got 0"),
        (
            {"capacity": 3, "num_envs": 4},
            ValueError,
            "capacity must be at least 4, one transition for each environment, got 3",
        ),
        ({"num_envs": 0}, ValueError, "num_envs must be at least 1, got 0"),
        ({"capacity": 5.0}, TypeError, "capacity must be an int from 1 to 2**63 - 1, got 5.0"),
        ({"capacity": 2**70}, ValueError, f"capacity must be an int from 1 to 2**63 - 1, got {2**70}"),
        ({"num_envs": "2"}, TypeError, "num_envs must be an int from 1 to 2**63 - 1, got '2'"),
        ({"seed": -1}, ValueError, "seed must be an int from 0 to 2**64 - 1, got -1"),
        ({"seed": 1.5}, TypeError, "seed must be an int from 0 to 2**64 - 1, got 1.5"),
        ({"obs_shape": 3}, TypeError, "obs_shape must be a sequence of ints, got 3"),
        ({"obs_shape": (2.5,)}, TypeError, "obs_shape must be a sequence of ints, got (2.5,)"),
        ({"obs_shape": (3, 0)}, ValueError, "every length of obs_shape must be at least 1, got 0"),
        (
            {"obs_dtype": "U3"},
            ValueError,
            "obs_dtype must be a bool, integer or float dtype of at most 64 bits, got <U3",
        ),
        ({"prioritized": True, "alpha": -1.0}, ValueError, "alpha must be from 0 to 8, got -1"),
    ],
)
def test_a_memory_that_cannot_be_says_why(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with refused(kind, message):
        ReplayMemory(**{"capacity": 8, "obs_shape": (3,), **options})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.5])
def test_priorities_that_are_none_are_refused(bad: float) -> None:
    made = ReplayMemory(8, (3,), prioritized=True)
    made.push(ROW, 0, 0.0, ROW, terminated=False)
    with pytest.raises(
        ValueError, match=r"^priorities must be finite, at least 0 and at most .*e30\d, got .* at position 0$"
    ):
        made.update_priorities([0], [bad])


def test_a_memory_that_does_not_fit_is_a_memory_error() -> None:
    # 10**15, and up to the end of the last huge page.
    needed = 1_000_000_001_671_168
    message = rf"^the replay memory needs {needed} bytes, but only \d+ are available; ask for less$"
    with pytest.raises(MemoryError, match=message):
        ReplayMemory(1_000_000_000, (1_000_000 - 16,), obs_dtype=np.uint8)


def test_capacity_is_what_can_be_held() -> None:
    made = ReplayMemory(10, (3,), num_envs=4)
    assert (made.capacity, made.num_envs, made.is_full, made.prioritized) == (8, 4, False, False)


@pytest.mark.parametrize(
    "action_space",
    [
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Box(-1, 1, (2,), np.float64),
    ],
)
def test_spaces_decide_shapes_and_dtypes(action_space: spaces.Space[Any]) -> None:
    space = spaces.Box(0, 255, (2, 2), np.uint8, seed=0)
    made = ReplayMemory.from_spaces(4, space, action_space)
    action_space.seed(0)
    action = action_space.sample()
    made.push(space.sample(), action, 0.0, space.sample(), terminated=False)
    batch = made.gather([0])
    assert (batch.obs.shape, batch.obs.dtype) == ((1, 2, 2), np.uint8)
    assert batch.actions.dtype == action_space.dtype
    assert np.array_equal(batch.actions[0], action)


def test_other_spaces_are_refused() -> None:
    box = spaces.Box(0, 1, (2,))
    with refused(TypeError, "observation_space must be a Box, got Discrete(3); flatten it first"):
        ReplayMemory.from_spaces(4, spaces.Discrete(3), spaces.Discrete(3))
    with refused(
        TypeError, f"action_space must be a Discrete, MultiDiscrete, MultiBinary or Box, got {spaces.Dict(a=box)}"
    ):
        ReplayMemory.from_spaces(4, box, spaces.Dict(a=box))


def test_mask_is_not_read_as_numbers() -> None:
    memory, rows = ReplayMemory(16, (1,), num_envs=4, prioritized=True), np.zeros((4, 1), np.float32)
    mask, flags = np.array([True, True, False, False]), np.zeros(4, np.bool_)
    memory.extend(rows, np.zeros(4, np.int64), np.zeros(4), rows, flags, flags)

    with pytest.raises(TypeError, match="envs must be integers, got a mask of bools"):
        memory.extend(rows, np.zeros(4, np.int64), np.zeros(4), rows, flags, flags, envs=mask)
    with pytest.raises(TypeError, match="indices must be integers, got a mask of bools"):
        memory.gather(mask.tolist())
    with pytest.raises(TypeError, match="indices must be integers, got a mask of bools"):
        memory.update_priorities(mask, np.ones(4))
    assert len(memory) == 4


@pytest.mark.parametrize("reward", [1e300, -3.5e38])
def test_a_finite_reward_is_not_stored_as_an_infinite_one(reward: float) -> None:
    memory = ReplayMemory(4, (1,), num_envs=2)
    with pytest.raises(ValueError, match=r"^reward must fit float32, got -?\d"):
        memory.push([0], 0, reward, [1], terminated=False)
    with pytest.raises(ValueError, match=r"^rewards must fit float32, got -?\d"):
        memory.extend(np.zeros((2, 1)), [0, 0], np.array([0.0, reward]), np.ones((2, 1)), [False] * 2, [False] * 2)
    assert len(memory) == 0
