"""Sampling into a batch that is there already."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from acro.replay import Batch, ReplayMemory


def filled(*, prioritized: bool = False) -> ReplayMemory:
    memory = ReplayMemory(50, (3,), prioritized=prioritized, seed=4)
    for step in range(60):
        memory.push([step] * 3, step, -1.0, [step + 1] * 3, terminated=step % 7 == 6)
    return memory


def equal(left: Batch, right: Batch) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(left, right, strict=True))


@pytest.mark.parametrize("batch_size", [16, (3, 5)])
@pytest.mark.parametrize("prioritized", [False, True])
def test_the_rows_are_those_of_a_fresh_batch(batch_size: int, prioritized: bool) -> None:
    fresh, reused = filled(prioritized=prioritized), filled(prioritized=prioritized)
    fresh.sample(batch_size)
    batch = reused.sample(batch_size)
    for _ in range(3):
        expected = fresh.sample(batch_size, n_step=3, replace=False)
        assert reused.sample(batch_size, n_step=3, replace=False, out=batch) is batch
        assert equal(batch, expected)


@pytest.mark.parametrize("is_prioritized", [False, True])
@pytest.mark.parametrize("frame_stack", [None, 2])
@pytest.mark.parametrize("batch_size", [16, (3, 5), (0, 5)])
def test_a_batch_that_was_made_empty_is_filled(
    batch_size: int | tuple[int, int], frame_stack: int | None, is_prioritized: bool
) -> None:
    kinds: dict[str, Any] = {"obs_dtype": np.uint8, "action_shape": (2,), "action_dtype": np.int32}
    memory, twin = (
        ReplayMemory(50, (4, 3), **kinds, frame_stack=frame_stack, prioritized=is_prioritized) for _ in range(2)
    )
    for own in (memory, twin):
        for step in range(60):
            own.push(np.full((4, 3), step), [step, 1], -1.0, np.full((4, 3), step + 1), terminated=step % 7 == 6)
    batch = memory.empty_batch(batch_size)
    assert memory.sample(batch_size, out=batch) is batch
    assert equal(batch, twin.sample(batch_size))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_page_locked_memory_needs_a_gpu() -> None:
    with pytest.raises(RuntimeError):
        filled().empty_batch(16, pin_memory=True)


def test_tensors_made_once_see_every_sample() -> None:
    memory, twin = filled(), filled()
    batch = memory.sample(16)
    tensors = batch.as_tensors()
    twin.sample(16)
    memory.sample(16, out=batch)
    assert equal(Batch(*(None if column is None else column.numpy() for column in tensors)), twin.sample(16))


def test_a_batch_above_the_size_that_lets_other_threads_run_is_written_too() -> None:
    memory, twin = filled(), filled()
    batch = memory.sample((100, 200))
    assert 2 * batch.obs.nbytes + batch.actions.nbytes > 256 << 10
    memory.sample((100, 200), out=batch)
    twin.sample((100, 200))
    assert equal(batch, twin.sample((100, 200)))


def test_a_sample_that_fails_leaves_the_batch_alone() -> None:
    memory = filled()
    batch = memory.sample(16)
    before = Batch(*(None if column is None else column.copy() for column in batch))
    memory.clear()
    with pytest.raises(ValueError, match="empty replay memory"):
        memory.sample(16, out=batch)
    assert equal(batch, before)


def read_only(column: np.ndarray) -> np.ndarray:
    column = column.copy()
    column.flags.writeable = False
    return column


ADVICE = "use a batch that this memory returned for the same batch_size"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            lambda batch: batch._replace(obs=batch.obs[:8]),
            ValueError,
            f"out.obs is float32 (8, 3), expected float32 (16, 3); {ADVICE}",
        ),
        (
            lambda batch: batch._replace(rewards=batch.rewards.astype(np.float64)),
            ValueError,
            f"out.rewards is float64 (16,), expected float32 (16,); {ADVICE}",
        ),
        (
            lambda batch: batch._replace(terminated=batch.terminated.astype(np.uint8)),
            ValueError,
            f"out.terminated is uint8 (16,), expected bool (16,); {ADVICE}",
        ),
        (
            lambda batch: batch._replace(next_obs=np.asfortranarray(batch.next_obs)),
            ValueError,
            f"out.next_obs must be writeable and in C order; {ADVICE}",
        ),
        (
            lambda batch: batch._replace(indices=read_only(batch.indices)),
            ValueError,
            f"out.indices must be writeable and in C order; {ADVICE}",
        ),
        (
            lambda batch: batch._replace(actions=batch.actions.tolist()),
            TypeError,
            f"out.actions must be an array, got list; {ADVICE}",
        ),
        (lambda batch: batch.as_tensors(), TypeError, f"out.obs must be an array, got Tensor; {ADVICE}"),
        (
            lambda batch: batch._replace(discounts=batch.rewards),
            ValueError,
            "two arrays of out share memory; each column needs its own",
        ),
        (tuple, TypeError, "out must be a Batch that sample returned, got tuple"),
    ],
)
def test_a_batch_that_cannot_be_written_is_an_error(
    change: Callable[[Batch], Any], kind: type[Exception], message: str
) -> None:
    memory = filled()
    batch = memory.sample(16)
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        memory.sample(16, out=change(batch))
    twin = filled()
    twin.sample(16)
    # Nothing was drawn.
    assert equal(memory.sample(16), twin.sample(16))


def test_a_batch_without_weights_is_none_for_a_prioritized_memory() -> None:
    memory = filled(prioritized=True)
    with pytest.raises(TypeError, match=re.escape(f"out.weights must be an array, got NoneType; {ADVICE}")):
        memory.sample(16, out=memory.gather(np.arange(16) + 40))


HELD: dict[str, Callable[[Any], Any]] = {
    "the array": lambda array: array,
    "a view": lambda array: array[1:],
    "a tensor": torch.from_numpy,
    "a view of a tensor": lambda array: torch.from_numpy(array)[1:],
    "a buffer": memoryview,
}


@pytest.mark.parametrize("hold", HELD.values(), ids=HELD)
def test_what_anybody_holds_of_a_batch_is_never_written_again(hold: Callable[[Any], Any]) -> None:
    memory = filled()
    held: list[list[Any]] = []
    expected: list[Any] = []
    addresses: set[int] = set()
    for _ in range(6):
        batch = memory.sample(16)
        held.append([hold(column) for column in batch[:-1]])
        expected.append(batch.actions.copy())
        addresses.add(batch.actions.ctypes.data)
    del batch

    assert len(addresses) == 6
    assert all(
        (np.asarray(columns[1]) == actions[-len(columns[1]) :]).all()
        for columns, actions in zip(held, expected, strict=True)
    )


def test_an_array_that_a_weak_reference_may_bring_back_is_not_written_again() -> None:
    memory = filled()
    batch = memory.sample(16)
    reference, expected = weakref.ref(batch.obs), batch.obs.copy()
    del batch
    for _ in range(3):
        memory.sample(16)
        assert (found := reference()) is None or (found == expected).all()


def test_a_batch_that_nobody_holds_is_written_again() -> None:
    memory = filled()
    addresses = {memory.sample(16).obs.ctypes.data for _ in range(6)}
    held = memory.sample(16)
    again = {(held := memory.sample(16)).obs.ctypes.data for _ in range(6)}

    assert len(addresses) == 1
    assert len(again) == 2
    assert memory.sample(8).obs.shape == (8, 3)
    assert held.obs.shape == (16, 3)


@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
def test_an_array_that_was_changed_is_not_written_again() -> None:
    memory = filled()
    memory.sample(16).obs.setflags(write=False)
    batch = memory.sample(16)
    batch.rewards.shape = (4, 4)
    del batch

    assert memory.sample(16).rewards.shape == (16,)
    assert memory.sample(16).obs.flags.writeable
