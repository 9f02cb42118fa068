"""Memory that cannot be had: an error, never the end of the process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acro.replay import ReplayMemory
from acro.replay import file as replay_file

LIMITED = """
import resource
import numpy as np
from acro.envs.acrobot import AcrobotVectorEnv
from acro.replay import ReplayMemory

def limit(megabytes):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), resource.RLIM_INFINITY))

def refused(call):
    try:
        call()
    except MemoryError as error:
        print("refused:", error)
    else:
        raise SystemExit("it was not refused")
"""


def limited(code: str) -> list[str]:
    """What a process with little memory prints; it must live to its end."""
    script = LIMITED + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")


def test_a_limit_of_the_process_counts_as_memory_that_is_not_there() -> None:
    (line,) = limited("limit(100); refused(lambda: ReplayMemory(10**8, (2,)))")
    assert line.startswith("refused: the replay memory needs ")


@pytest.mark.parametrize(
    "call",
    [
        "memory.state_dict()",
        "memory.sample(2**21)",
        "memory.sample((2**20, 2))",
        "memory.gather(ids)",
        "memory.update_priorities(ids, priorities)",
        "memory.sample(2**20, replace=False)",
        "memory.extend(*columns, envs=envs)",
        "AcrobotVectorEnv(10**6)",
    ],
)
def test_calls_that_find_no_memory_are_memory_errors(call: str) -> None:
    lines = limited(f"""
        memory = ReplayMemory(2**20, (2,), prioritized=True)
        obs, many = np.zeros((2**20, 2), np.float32), np.zeros(2**20)
        flags, envs = np.zeros(2**20, bool), np.zeros(2**20, np.int64)
        columns = (obs, envs, many, obs, flags, flags)
        memory.extend(*columns, envs=envs)
        ids, priorities = np.zeros(2**22, np.int64), np.ones(2**22)
        limit(1)
        refused(lambda: {call})
        limit(1000)
        batch = memory.sample(10)
        print(len(memory), batch.obs.shape)
        """)
    assert lines[-1] == f"{2**20} (10, 2)"


def forged(change: dict[str, object], *, capacity: int = 10) -> bytes:
    """The file of a small memory that says something else."""
    memory = ReplayMemory(10, (2,), prioritized=True)
    memory.push([1, 1], 0, 0.0, [2, 2], terminated=False)
    file = io.BytesIO()
    replay_file.write(file, memory.state_dict())
    content = file.getvalue()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    values = {**json.loads(header["__metadata__"]["values"]), "capacity": capacity}
    header["__metadata__"]["values"] = json.dumps(values)
    header |= change
    text = json.dumps(header).encode()
    head = len(text).to_bytes(8, "little") + text + content[8 + length : -4]
    return head + zlib.crc32(head).to_bytes(4, "little")


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], ReplayMemory]:
    """Load a file of these bytes."""

    def load(content: bytes) -> ReplayMemory:
        (tmp_path / "memory").write_bytes(content)
        return ReplayMemory.load(tmp_path / "memory")

    return load


UNTRUE = "its head does not describe what follows it: it is damaged"


@pytest.mark.parametrize(
    "change",
    [
        {"rewards": {"dtype": "F32", "shape": [2], "data_offsets": [88, 92]}},
        {"rewards": {"dtype": "F32", "shape": [10**12], "data_offsets": [88, 88 + 4 * 10**12]}},
        {"rewards": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"rewards": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"rewards": {"dtype": "F33", "shape": [1], "data_offsets": [88, 92]}},
        {"rewards": [1]},
        {"more": {"dtype": "U8", "shape": [0], "data_offsets": [7, 7]}},
    ],
    ids=["shape", "beyond the end", "negative", "overlap", "dtype", "list", "gap"],
)
def test_a_header_that_does_not_describe_the_bytes_is_an_error(
    change: dict[str, object], read: Callable[[bytes], ReplayMemory]
) -> None:
    with pytest.raises(ValueError, match=UNTRUE):
        read(forged(change))


def test_bytes_behind_the_end_are_an_error(read: Callable[[bytes], ReplayMemory]) -> None:
    content = forged({})
    assert len(read(content)) == 1
    with pytest.raises(ValueError, match="its checksum is wrong"):
        read(content + b"\0")


def test_a_file_without_an_end_is_an_error() -> None:
    if sys.platform == "linux":
        with pytest.raises(ValueError, match="it is not a replay memory's file"):
            ReplayMemory.load("/dev/zero")


@pytest.mark.parametrize("nested", ["[" * 60_000, '{"a":' * 10_000, "[" * 3_000_000])
def test_lists_without_end_are_an_error(nested: str, read: Callable[[bytes], ReplayMemory]) -> None:
    content = len(nested).to_bytes(8, "little") + nested.encode()
    with pytest.raises(ValueError, match="it is not a replay memory's file"):
        read(content)


def test_a_small_file_takes_little_memory_whatever_it_says(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(forged({}, capacity=10**8))
    code = """
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = ReplayMemory.load({path!r})
        print(memory.capacity, len(memory), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    capacity, rows, grown = limited(code.format(path=str(tmp_path / "memory")))[-1].split()
    assert (int(capacity), int(rows)) == (10**8, 1)
    assert int(grown) < 100_000


def test_a_file_of_more_environments_than_it_has_counts_for_is_an_error(read: Callable[[bytes], ReplayMemory]) -> None:
    memory = ReplayMemory(10, (2,))
    state = memory.state_dict() | {"capacity": 2 * 10**9, "num_envs": 2 * 10**9}
    file = io.BytesIO()
    replay_file.write(file, state)
    with pytest.raises(ValueError, match="it has 1 counts for 2000000000 environments"):
        read(file.getvalue())


def test_states_are_copied_while_other_threads_run() -> None:
    memory = ReplayMemory(20_000, (4096,), obs_dtype=np.uint8)
    row = np.zeros(4096, np.uint8)
    for _ in range(20_000):
        memory.push(row, 0, 0.0, row, terminated=False)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    memory.state_dict()
    ended = time.perf_counter()
    stop.set()
    thread.join()
    longest = np.diff([time for time in ticks if began <= time <= ended]).max()
    assert longest < 0.7 * (ended - began)
