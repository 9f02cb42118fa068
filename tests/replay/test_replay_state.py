"""Saving, copying and sharing a memory."""

from __future__ import annotations

import copy
import os
import pickle
import re
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acro.replay import Batch, ReplayMemory

FIXTURE = Path(__file__).parent / "fixtures" / "replay_v1.safetensors"
FIXTURE_OF_VERSION_2 = FIXTURE.with_name("replay_v2.safetensors")


def used(*, prioritized: bool = True) -> ReplayMemory:
    """A memory in the middle of things: wrapped, uneven, with ends, breaks and priorities."""
    memory = ReplayMemory(24, (2,), action_dtype=np.int32, num_envs=3, seed=4, prioritized=prioritized)
    for step in range(40):
        obs = np.full(2, step, np.float32)
        memory.push(obs, step % 4, step, obs + 3, step % 11 == 10, step % 7 == 6, env=(step % 5) % 3)
    if prioritized:
        batch = memory.sample(10)
        memory.update_priorities(batch.indices, np.arange(10.0))
    return memory


def stacked_and_used(*, prioritized: bool = True) -> ReplayMemory:
    """The same with stacks of frames: some slots are kept for their frames only."""
    memory = ReplayMemory(
        12, (2,), obs_dtype=np.uint8, num_envs=3, seed=4, prioritized=prioritized, frame_stack=4, padding="zero"
    )
    for step in range(60):
        frame = np.full(2, step)
        memory.push(frame, step % 4, step, frame + 3, step % 23 == 22, step % 17 == 16, env=step % 3)
    if prioritized:
        memory.update_priorities(memory.sample(5).indices, np.arange(5.0))
    return memory


def assert_equal(one: Batch, other: Batch) -> None:
    for column, same in zip(one, other, strict=True):
        assert column is same is None or np.array_equal(column, same)


def assert_same_future(one: ReplayMemory, other: ReplayMemory) -> None:
    for _ in range(30):
        assert_equal(one.sample((2, 4), n_step=2), other.sample((2, 4), n_step=2))
        for memory in (one, other):
            memory.push([0, 0], 1, 0.5, [0, 0], terminated=False, env=1)


@pytest.mark.parametrize("made", [used, stacked_and_used])
@pytest.mark.parametrize("prioritized", [True, False])
def test_a_saved_memory_goes_on_as_the_one_that_was_saved(
    tmp_path: Path, made: Callable[..., ReplayMemory], prioritized: bool
) -> None:
    memory = made(prioritized=prioritized)
    memory.save(tmp_path / "memory")
    assert_same_future(ReplayMemory.load(tmp_path / "memory"), memory)
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda memory: pickle.loads(pickle.dumps(memory))])
def test_copies_and_pickles_are_memories_of_their_own(clone: Callable[[Any], Any]) -> None:
    memory = used()
    other = clone(memory)
    memory.clear()
    assert len(memory) == 0
    assert_same_future(other, used())


class Named(ReplayMemory):
    """A memory with an attribute of its own."""

    name = "nobody's"


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda memory: pickle.loads(pickle.dumps(memory))])
def test_copies_and_pickles_keep_the_attributes_of_a_subclass(clone: Callable[[Any], Any]) -> None:
    memory = Named(4, (2,))
    memory.name = "one's own"
    other = clone(memory)
    assert (type(other), other.name) == (Named, "one's own")


def test_a_pickled_memory_has_its_stacks() -> None:
    assert_same_future(pickle.loads(pickle.dumps(stacked_and_used())), stacked_and_used())


def test_an_empty_memory_is_saved_too(tmp_path: Path) -> None:
    ReplayMemory(5, (2, 3), num_envs=2).save(tmp_path / "memory")
    loaded = ReplayMemory.load(tmp_path / "memory")
    assert (len(loaded), loaded.capacity, loaded.obs_shape) == (0, 4, (2, 3))


def test_a_state_is_trimmed_and_independent_of_the_memory() -> None:
    memory = ReplayMemory(1000, (2,))
    memory.push([1, 1], 1, 1.0, [2, 2], terminated=False)
    state = memory.state_dict()
    assert state["obs"].shape == (1, 2)
    memory.push([3, 3], 1, 1.0, [4, 4], terminated=False)
    assert state["obs"].tolist() == [[1, 1]]
    assert all(isinstance(value, np.ndarray | int | float | str | bool | None) for value in state.values())


def test_files_of_version_1_load() -> None:
    assert_same_future(ReplayMemory.load(FIXTURE), used())


def test_states_of_version_1_load() -> None:
    memory, other = used(), used()
    memory.clear()
    state = other.state_dict() | {"version": 1}
    memory.load_state_dict({name: state[name] for name in state.keys() - {"frame_stack", "padding"}})
    assert_same_future(memory, other)


def test_a_memory_is_written_as_version_2_was(tmp_path: Path) -> None:
    stacked_and_used().save(tmp_path / "memory")
    assert (tmp_path / "memory").read_bytes() == FIXTURE_OF_VERSION_2.read_bytes()


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, -5, -1])
def test_a_file_cut_short_is_an_error(tmp_path: Path, length: int) -> None:
    content = FIXTURE.read_bytes()
    (tmp_path / "memory").write_bytes(content[: length if length >= 0 else len(content) + length])
    with pytest.raises(ValueError, match=r"^cannot load '.*memory': .*(cut short|damaged)"):
        ReplayMemory.load(tmp_path / "memory")


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    content = FIXTURE.read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x20
        (tmp_path / "memory").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^cannot load "):
            ReplayMemory.load(tmp_path / "memory")


def test_a_foreign_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(pickle.dumps({"obs": 1}))
    message = "it is not a replay memory's file, or its head is damaged"
    with pytest.raises(ValueError, match=f"^cannot load '.*memory': {re.escape(message)}$"):
        ReplayMemory.load(tmp_path / "memory")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ReplayMemory.load(tmp_path / "memory")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "its version is 3, this memory's is 2"),
        ({"version": 1}, "its version is 1, this memory's is 2"),
        ({"frame_stack": 4}, "its frame_stack is 4, this memory's is None"),
        ({"padding": "zero"}, "its padding is 'zero', this memory's is 'reset'"),
        ({"capacity": 25}, "its capacity is 25, this memory's is 24"),
        ({"num_envs": 2}, "its num_envs is 2, this memory's is 3"),
        ({"alpha": None}, "its alpha is None, this memory's is 0.6"),
        ({"obs": np.zeros((24, 2))}, "its obs has dtype float64, expected float32"),
        ({"obs": np.zeros((24, 3), np.float32)}, "its obs has shape (24, 3), expected ('rows', 2)"),
        ({"obs": np.zeros((3, 2), np.float32)}, "obs has length 24, expected "),
        ({"rng": np.zeros(4, np.int64)}, "rng is all zeros"),
        ({"rng": np.zeros(3, np.int64)}, "its rng has 3 numbers, expected 4"),
        ({"heads": np.array([1, 9, 1])}, "environment 1 has count "),
        ({"last": None}, "its last has dtype object, expected bool"),
        ({"extra": 1}, "it has extra, which this version does not know"),
        ({"version": True}, "its version is True, this memory's is 2"),
        ({"capacity": np.zeros(2)}, "its capacity is array([0., 0.]), this memory's is 24"),
        ({"obs": [[1.0], [1.0, 2.0]]}, "its obs is not an array: "),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: dict[str, Any], message: str) -> None:
    memory, other = used(), used()
    with pytest.raises(ValueError, match=f"^cannot load this state: {re.escape(message)}"):
        memory.load_state_dict({**other.state_dict(), **change})
    assert_same_future(memory, other)


def test_a_state_that_is_no_dict_is_an_error() -> None:
    state: Any = [1]
    with pytest.raises(TypeError, match=r"^cannot load this state: it must be a dict, got list$"):
        used().load_state_dict(state)


def unaligned(array: np.ndarray) -> np.ndarray:
    """The same numbers, one byte further on."""
    content = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:]
    return content.view(array.dtype).reshape(array.shape)


def test_a_state_of_arrays_in_other_layouts_is_loaded() -> None:
    memory, other = used(), ReplayMemory(24, (2,), action_dtype=np.int32, num_envs=3, prioritized=True)
    state = memory.state_dict()
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            state[name] = unaligned(value) if name != "obs" else np.asfortranarray(value)
    other.load_state_dict(state)
    assert_same_future(other, memory)


def test_bools_of_other_bytes_than_0_and_1_are_true() -> None:
    memory, other = used(), used()
    state = memory.state_dict()
    for name in ("open", "last", "terminated"):
        state[name] = (state[name].view(np.uint8) * 2).view(np.bool_)
    other.load_state_dict(state)
    assert all(set(other.state_dict()[name].view(np.uint8)) <= {0, 1} for name in ("open", "last", "terminated"))
    assert_same_future(other, memory)


def test_a_state_that_lacks_something_names_it() -> None:
    state = used().state_dict()
    del state["rng"], state["obs"]
    with pytest.raises(ValueError, match=r"^cannot load this state: it has no obs, rng$"):
        used().load_state_dict(state)


def test_threads_never_see_half_a_row() -> None:
    # Large enough to be copied while other threads run.
    memory = ReplayMemory(64, (4096,), num_envs=2)
    row = np.zeros(4096, np.float32)
    memory.push(row, 0, 0.0, row, terminated=False)
    failures: list[str] = []
    start = threading.Barrier(4)

    def pushing(env: int) -> None:
        start.wait()
        for number in range(1000):
            obs = np.full(4096, number, np.float32)
            memory.push(obs, number, number, obs + 1, terminated=number % 9 == 0, env=env)

    def sampling() -> None:
        start.wait()
        for _ in range(200):
            batch = memory.sample(32)
            whole = (batch.obs == batch.rewards[:, None]).all() and (batch.actions == batch.rewards).all()
            if not whole or (batch.next_obs != batch.next_obs[:, :1]).any():
                failures.append("a torn row")

    threads = [threading.Thread(target=pushing, args=(env,)) for env in (0, 1)]
    threads += [threading.Thread(target=sampling) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_while_another_thread_samples_does_not_hang_the_child() -> None:
    # Batches so large that they are copied without the interpreter.
    memory = ReplayMemory(4096, (256,))
    for _ in range(64):
        memory.push(np.zeros(256), 0, 0.0, np.zeros(256), terminated=False)
    stop = threading.Event()

    def sampling() -> None:
        while not stop.is_set():
            memory.sample(2048)

    thread = threading.Thread(target=sampling)
    thread.start()
    try:
        for _ in range(30):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                signal.alarm(10)
                memory.sample(8)
                memory.sample(2048)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_a_memory_of_its_own() -> None:
    memory, other = used(), used()
    with warnings.catch_warnings():
        # Torch's threads are idle, and the child only uses the memory.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            assert_same_future(memory, used())
            memory.clear()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert_same_future(memory, other)
