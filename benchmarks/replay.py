"""The replay memory beside its peers, warm and cold: `python -m benchmarks.replay [--quick]`.

Warm: each repeats its own call, so that its rows are in the caches. Cold: all take short turns in one process, so that
each begins with its rows evicted, as after a real update.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acro.replay import ReplayMemory
from benchmarks import results
from benchmarks.replay_peers import (
    BATCH_SIZES,
    Acro,
    AcroReused,
    Cpprb,
    Deque,
    Rlox,
    StableBaselines3,
    TorchRL,
    acrobot_stream,
)

ROOT = Path(__file__).parent.parent
STORERS = (Acro, Rlox, Cpprb, StableBaselines3, TorchRL, Deque)
SAMPLERS = (Acro, AcroReused, *STORERS[1:])
COLD_SAMPLES = 300


def main() -> None:
    """Measure every table and store them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, and no file: does the script still work?")
    quick: bool = parser.parse_args().quick
    torch.set_num_threads(1)
    measure = Measure(repeats=3 if quick else 15, seconds=0.005 if quick else 0.03)

    tables = [
        *sampling_tables(measure, 20_000 if quick else 100_000, "100,000"),
        *([] if quick else sampling_tables(measure, 1_000_000, "1,000,000")),
        *cold_tables(measure, 20_000 if quick else 100_000, "100,000"),
        storing_table(measure),
        prioritized_table(measure, 20_000 if quick else 1_000_000),
        images_table(measure, 500 if quick else 5_000),
    ]
    floor = floor_table(measure)
    for table in [*tables, floor]:
        results.show(table)
    if not quick:
        notes = [
            "Medians of interleaved repeats on one thread, each after half as many calls that do not count; cold: "
            f"in turns of {COLD_SAMPLES} samples, every one counted.",
            "A sample of acro has 7 columns: obs, actions, rewards, next_obs, discounts, terminated, indices.",
            "acro, out=: the arrays, and the tensors that share them, are made once and overwritten by every sample; "
            "no peer offers it. The deque, which tutorials use, stores references and copies nothing.",
            "TorchRL gets its TensorDict ready-made when it stores; rlox is given a new seed for every sample.",
        ]
        results.save("replay", "Replay memory", [*tables, floor], notes=notes, data=measure.raw)


class Measure:
    """Times several works in turns, so that what else runs on the machine meets all of them."""

    def __init__(self, *, repeats: int, seconds: float) -> None:
        self.repeats = repeats
        self.seconds = seconds
        self.raw: dict[str, dict[str, list[float]]] = {}

    def __call__(self, caption: str, works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Return each work's median microseconds a call."""
        counts = {name: self._count(work) for name, work in works.items()}
        times: dict[str, list[float]] = {name: [] for name in works}
        gc.disable()
        for _ in range(self.repeats):
            for name, work in works.items():
                # The work before left other rows in the caches.
                _microseconds(work, counts[name] // 2)
                times[name].append(_microseconds(work, counts[name]))
        gc.enable()
        self.raw[caption] = {name: [round(value, 4) for value in values] for name, values in times.items()}
        return {name: statistics.median(values) for name, values in times.items()}

    def cold(self, caption: str, works: Mapping[str, Callable[[], object]], count: int) -> dict[str, float]:
        """Return each work's median microseconds a call in turns of `count` calls, none of them left out."""
        times: dict[str, list[float]] = {name: [] for name in works}
        gc.disable()
        for turn in range(2 * self.repeats + 1):
            for name, work in works.items():
                microseconds = _microseconds(work, count)
                # The first turn makes what each library makes once.
                if turn:
                    times[name].append(microseconds)
        gc.enable()
        self.raw[caption] = {name: [round(value, 4) for value in values] for name, values in times.items()}
        return {name: statistics.median(values) for name, values in times.items()}

    def _count(self, work: Callable[[], object]) -> int:
        """How many calls take about `seconds`."""
        work()
        return max(1, min(100_000, int(self.seconds * 1e6 / _microseconds(work, 3))))


def _microseconds(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) * 1e6 / max(1, count)


def comparison(caption: str, medians: Mapping[str, float]) -> results.Table:
    """Return a table of medians and of their ratios to each of acro's."""
    own = [name for name in medians if name.startswith(Acro.name)]
    rows = [
        (name, f"{value:.2f}", *(f"{value / medians[other]:.2f}" for other in own)) for name, value in medians.items()
    ]
    return results.Table(caption, ("", "µs", *(f"ratio to {name}" for name in own)), rows)


def sampling_tables(measure: Measure, capacity: int, words: str) -> list[results.Table]:
    """Samples of three sizes as tensors and, where a peer offers them, as NumPy arrays."""
    memories = filled_memories(capacity)
    tables = []
    for batch_size in BATCH_SIZES:
        caption = f"Sample {batch_size} of {words} into tensors"
        works = {memory.name: _sampling(memory.sample_tensors, batch_size) for memory in memories}
        tables.append(comparison(caption, measure(caption, works)))
        caption = f"Sample {batch_size} of {words} into NumPy arrays"
        arrays = [memory for memory in memories if hasattr(memory, "sample_numpy")]
        works = {memory.name: _sampling(memory.sample_numpy, batch_size) for memory in arrays}
        tables.append(comparison(caption, measure(caption, works)))
    return tables


def cold_tables(measure: Measure, capacity: int, words: str) -> list[results.Table]:
    """Samples of 256 in short turns, as tensors and, where a peer offers them, as NumPy arrays."""
    memories, tables = filled_memories(capacity), []
    for kind, method in (("tensors", "sample_tensors"), ("NumPy arrays", "sample_numpy")):
        caption = f"Cold: sample 256 of {words} into {kind}"
        works = {memory.name: _sampling(getattr(memory, method), 256) for memory in memories if hasattr(memory, method)}
        tables.append(comparison(caption, measure.cold(caption, works, COLD_SAMPLES)))
    return tables


def filled_memories(capacity: int) -> list[Any]:
    """Return every memory that samples, full."""
    stream, memories = acrobot_stream(capacity), []
    for kind in SAMPLERS:
        # A deque of a million rows is past what anyone would wait for.
        if kind is Deque and capacity > 100_000:
            continue
        memory: Any = kind(capacity)
        memory.fill(stream)
        memories.append(memory)
    return memories


def _sampling(sample: Callable[[int], object], batch_size: int) -> Callable[[], object]:
    return lambda: sample(batch_size)


def storing_table(measure: Measure) -> results.Table:
    """Storing one transition, and one step of eight environments."""
    capacity, stream = 100_000, acrobot_stream(64)
    one: list[Any] = [kind(capacity) for kind in STORERS]
    eight: list[Any] = [
        Acro(capacity, num_envs=8),
        Rlox(capacity),
        Cpprb(capacity),
        StableBaselines3(capacity, num_envs=8),
        TorchRL(capacity),
        Deque(capacity),
    ]
    pushes = measure("Push one", {memory.name: memory.pushing(stream) for memory in one})
    extends = measure("Extend by 8", {memory.name: memory.extending(stream) for memory in eight})
    rows = [
        (name, f"{push:.2f}", f"{push / pushes['acro']:.2f}", f"{extend:.2f}", f"{extend / extends['acro']:.2f}")
        for (name, push), extend in zip(pushes.items(), extends.values(), strict=True)
    ]
    columns = ("", "push one: µs", "ratio to acro", "extend by one step of 8: µs", "ratio to acro")
    return results.Table("Storing Acrobot transitions", columns, rows)


def prioritized_table(measure: Measure, capacity: int) -> results.Table:
    """A sample of 256 by priorities, and 256 new priorities."""
    stream = acrobot_stream(capacity)
    priorities = np.random.default_rng(1).random(256)
    memories: Sequence[Any] = (Acro(capacity, prioritized=True), Cpprb(capacity, prioritized=True))
    works: dict[str, Callable[[], object]] = {}
    for memory in memories:
        memory.fill(stream)
        works[memory.name] = _prioritized(memory, priorities)
        # Priorities as training leaves them: all different.
        for _ in range(2_000 if capacity > 100_000 else 200):
            memory.prioritized_step(priorities)
    caption = f"Prioritized: sample 256 of {capacity:,} and update 256"
    return comparison(caption, measure(caption, works))


def _prioritized(memory: Any, priorities: Any) -> Callable[[], object]:
    return lambda: memory.prioritized_step(priorities)


def images_table(measure: Measure, capacity: int) -> results.Table:
    """Stacked frames: a sample of 32, and the bytes held."""
    shape = (4, 84, 84)
    path = np.random.default_rng(0).integers(256, size=(257, *shape), dtype=np.uint8)
    memory = ReplayMemory(capacity, shape, obs_dtype=np.uint8)
    peer = StableBaselines3(capacity, shape=shape, dtype=np.uint8)
    for step in range(capacity):
        obs, next_obs = path[step % 256], path[step % 256 + 1]
        memory.push(obs, 1, 1.0, next_obs, False, step % 1000 == 999)
        peer.buffer.add(obs, next_obs, np.array([1]), np.array([1.0]), np.array([False]), [{}])
    held = peer.buffer.observations.nbytes + peer.buffer.next_observations.nbytes
    frames = np.resize(path, (capacity + 1, *shape))
    rng = np.random.default_rng(1)
    starts = itertools.cycle(range(0, capacity - 63, 64))
    warm = frames[:64].copy()

    def copy_piece() -> object:
        start = next(starts)
        return frames[start : start + 64].copy()

    def copy_rows() -> object:
        rows = rng.integers(capacity, size=32)
        return frames[rows], frames[rows + 1]

    caption = f"({', '.join(map(str, shape))}) uint8, {capacity:,} transitions: sample 32"
    works: dict[str, Callable[[], object]] = {
        "acro": lambda: memory.sample(32),
        "NumPy copy of as many bytes, the next piece of all frames": copy_piece,
        "NumPy copy of as many bytes, always the same": warm.copy,
        "NumPy copy of as many random rows": copy_rows,
        "stable-baselines3": lambda: peer.buffer.sample(32),
    }
    medians = measure(caption, works)
    sizes = {"acro": f"{memory.nbytes:,}", "stable-baselines3": f"{held:,}"}
    rows = [
        (name, f"{value:.1f}", f"{value / medians['acro']:.2f}", sizes.get(name, "")) for name, value in medians.items()
    ]
    return results.Table(caption, ("", "µs", "ratio to acro", "bytes held"), rows)


def floor_table(measure: Measure) -> results.Table:
    """What `cargo bench` says of the gather itself, beside the same call from Python."""
    cargo = shutil.which("cargo")
    caption = "Sample 256 of 100,000 into NumPy arrays, beside a bare gather of plain columns"
    if cargo is None:
        return results.Table(caption, ("",), [("cargo is not installed",)])
    memory = Acro(100_000)
    memory.fill(acrobot_stream(100_000))
    reused = AcroReused(100_000)
    reused.fill(acrobot_stream(100_000))
    works: dict[str, Callable[[], object]] = {
        "acro, Python": lambda: memory.sample_numpy(256),
        "acro, Python, out=": lambda: reused.sample_numpy(256),
    }
    python = [measure(caption, works)]
    command = [cargo, "bench", "-p", "acro-replay", "--bench", "sample", "--", "100000", "--warm-up-time", "0.5"]
    subprocess.run([*command, "--measurement-time", "2"], cwd=ROOT, check=True, capture_output=True)
    python.append(measure(caption, works))
    native = {name: _criterion(name) for name in ("floor_100000", "sample_100000_envs_1_steps_1")}
    floor = native["floor_100000"]
    rows = [
        ("bare gather of plain columns, Rust", floor),
        ("acro's draw and gather, Rust", native["sample_100000_envs_1_steps_1"]),
        *((name, statistics.mean(medians[name] for medians in python)) for name in works),
    ]
    return results.Table(
        caption, ("", "µs", "ratio to the floor"), [(name, f"{us:.2f}", f"{us / floor:.2f}") for name, us in rows]
    )


def _criterion(name: str) -> float:
    estimates = json.loads((ROOT / "target" / "criterion" / name / "new" / "estimates.json").read_text())
    return float(estimates["median"]["point_estimate"]) / 1000


if __name__ == "__main__":
    main()
