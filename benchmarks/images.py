"""Atari's frames in the replay memory, and where a run's time goes: `python -m benchmarks.images [--quick]`."""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from acro import DQN, Experience, envs
from acro.cli.options import read_preset
from acro.replay import ReplayMemory
from benchmarks import results

FRAME, STACK = (84, 84), 4
FRAME_BYTES = 84 * 84
BATCH = 32


class Frames(NamedTuple):
    """Transitions of a game as columns, in the order they happened."""

    obs: NDArray[np.uint8]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float32]
    next_obs: NDArray[np.uint8]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class Measure:
    """Times works in turns by the processor's time, which what else runs on the machine adds little to."""

    def __init__(self, repeats: int, calls: int) -> None:
        self.repeats = repeats
        self.calls = calls
        self.raw: dict[str, dict[str, list[float]]] = {}

    def __call__(self, caption: str, works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Return each work's median microseconds a call."""
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(self.repeats):
            for name, work in works.items():
                # The work before left other bytes in the caches.
                for _ in range(self.calls // 2):
                    work()
                start = time.process_time()
                for _ in range(self.calls):
                    work()
                times[name].append(round((time.process_time() - start) / self.calls * 1e6, 2))
        self.raw[caption] = times
        return {name: statistics.median(values) for name, values in times.items()}


def played(env_id: str, count: int) -> Frames:
    """Return `count` transitions of random play."""
    env, rng = envs.make(env_id), np.random.default_rng(0)
    columns = Frames(
        np.empty((count, *FRAME), np.uint8),
        rng.integers(int(cast(Discrete, env.action_space).n), size=count),
        np.empty(count, np.float32),
        np.empty((count, *FRAME), np.uint8),
        np.empty(count, np.bool_),
        np.empty(count, np.bool_),
    )
    arrays: tuple[NDArray[Any], ...] = columns
    obs, _ = env.reset(seed=0)
    for step in range(count):
        next_obs, reward, terminated, truncated, _ = env.step(columns.actions[step])
        for column, value in zip(arrays, (obs, None, reward, next_obs, terminated, truncated), strict=True):
            if value is not None:
                column[step] = value
        obs = env.reset()[0] if terminated or truncated else next_obs
    env.close()
    return columns


def resident_bytes() -> int:
    """Return the physical memory of this process."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def filled(capacity: int, frames: Frames) -> tuple[ReplayMemory, int]:
    """Return a memory full of the frames, again and again, and by how many bytes it made the process grow."""
    gc.collect()
    before = resident_bytes()
    memory = ReplayMemory(capacity, FRAME, obs_dtype=np.uint8, frame_stack=STACK)
    while not memory.is_full:
        rows = min(len(frames.actions), capacity - len(memory))
        memory.extend(*(column[:rows] for column in frames), envs=np.zeros(rows, np.int64))
    memory.sample(BATCH)
    return memory, resident_bytes() - before


def filled_cpprb(capacity: int, frames: Frames) -> tuple[Any, int]:
    """Return cpprb's buffer with one frame a step, full, and by how many bytes it made the process grow.

    Raises:
        ImportError: cpprb is not installed.
    """
    import cpprb

    gc.collect()
    before = resident_bytes()
    fields = {"obs": {"shape": (*FRAME, STACK), "dtype": np.uint8}, "act": {"dtype": np.int64}, "rew": {}, "done": {}}
    buffer = cpprb.ReplayBuffer(capacity, fields, next_of="obs", stack_compress="obs")
    # (steps, 84, 84, 4): where episodes begin has no part in what a sample costs.
    windows = np.lib.stride_tricks.sliding_window_view(frames.next_obs, STACK, axis=0)
    steps = len(windows) - 1
    while buffer.get_stored_size() < capacity:
        for start in range(0, steps, 500):
            obs, next_obs = windows[start : start + 500], windows[start + 1 : start + 501]
            rows = len(next_obs)
            buffer.add(
                obs=obs[:rows],
                act=frames.actions[start : start + rows],
                rew=frames.rewards[start : start + rows],
                next_obs=next_obs,
                done=frames.terminated[start : start + rows],
            )
    buffer.sample(BATCH)
    return buffer, resident_bytes() - before


def memory_table(capacity: int, measured: int, measured_cpprb: int | None) -> results.Table:
    """Say what each library needs for as many transitions."""
    stacked = STACK * FRAME_BYTES
    alone = f"{capacity * FRAME_BYTES / 1e9:.2f} GB"
    rows = [
        ("acro, frame_stack=4", f"{measured / 1e9:.2f} GB", "measured"),
        ("frames alone, as many bytes", alone, "computed"),
        (
            "cpprb, stack_compress and next_of",
            alone if measured_cpprb is None else f"{measured_cpprb / 1e9:.2f} GB",
            f"{'computed' if measured_cpprb is None else 'measured'}; one environment",
        ),
        ("Stable-Baselines3, optimize_memory_usage", f"{capacity * stacked / 1e9:.1f} GB", "computed"),
        ("TorchRL, stacked before storing", f"{2 * capacity * stacked / 1e9:.1f} GB", "computed"),
        ("Stable-Baselines3", f"{2 * capacity * stacked / 1e9:.1f} GB", "computed"),
    ]
    caption = f"Memory of {capacity:,} transitions of Pong, 84 x 84 bytes in stacks of 4"
    return results.Table(caption, ("memory", "bytes", ""), rows)


def timing_tables(measure: Measure, memory: ReplayMemory, frames: Frames) -> list[results.Table]:
    """Time samples and pushes beside copies of as many bytes by NumPy, at places as far apart."""
    count, rng = max(1_000, len(memory) // 15), np.random.default_rng(1)
    rows = np.ones((count, STACK * FRAME_BYTES), np.uint8)
    batch = memory.sample(BATCH)
    out = [np.empty((BATCH, STACK * FRAME_BYTES), np.uint8) for _ in range(2)]
    drawn = _draws(rng, count)

    def copy_fresh() -> object:
        obs, next_obs = next(drawn)
        return rows[obs], rows[next_obs]

    def copy_into() -> object:
        for target, index in zip(out, next(drawn), strict=True):
            np.take(rows, index, 0, out=target, mode="clip")
        return out

    sampled = measure(
        f"sample {BATCH}",
        {
            "NumPy": copy_fresh,
            "acro": lambda: memory.sample(BATCH),
            "NumPy, into arrays that are there": copy_into,
            "acro, out=": lambda: memory.sample(BATCH, out=batch),
        },
    )
    # Eight stretches of the same play, side by side. As a loop has it, the observation acted on is the one that came
    # last; slices are made before, since making one takes as long as storing a frame.
    steps = min(2_000, len(frames.actions) // 8)
    stretches = [column[: 8 * steps].reshape(8, steps, *column.shape[1:]).swapaxes(0, 1) for column in frames]
    stepped = [tuple(column[step].copy() for column in stretches) for step in range(steps)]
    stepped = [
        (step[0] if at == 0 or stepped[at - 1][4].any() else stepped[at - 1][3], *step[1:])
        for at, step in enumerate(stepped)
    ]
    many = ReplayMemory(8 * steps, FRAME, obs_dtype=np.uint8, frame_stack=STACK, num_envs=8)
    for step in stepped * 2:
        many.extend(*step)
    eight, next_eight = itertools.cycle(stepped), itertools.cycle([step[3] for step in stepped])
    single = [tuple(column[0] for column in step) for step in stepped]
    one, next_one = itertools.cycle(single), itertools.cycle([step[3] for step in single])
    frame_rows = rows.reshape(-1)[: rows.size // FRAME_BYTES * FRAME_BYTES].reshape(-1, *FRAME)
    places = itertools.cycle(list(frame_rows[: 16 * steps]))
    places_of_eight = itertools.cycle([frame_rows[8 * at : 8 * at + 8] for at in range(steps)])

    def copy_one() -> None:
        next(places)[:] = next(next_one)

    def push_one() -> None:
        obs, _, _, next_obs, terminated, _ = next(one)
        memory.push(obs, 1, 0.0, next_obs, terminated)

    def copy_eight() -> None:
        next(places_of_eight)[:] = next(next_eight)

    def extend_eight() -> None:
        many.extend(*next(eight))

    pushed = measure(
        "push",
        {
            "NumPy, 1 frame": copy_one,
            "acro, push": push_one,
            "NumPy, 8 frames": copy_eight,
            "acro, extend of 8 environments": extend_eight,
        },
    )
    return [
        _against(f"Sample {BATCH}, (32, 4, 84, 84) obs and next_obs, out of {len(memory):,}", sampled),
        _against("Store frames", pushed),
    ]


def _against(caption: str, times: dict[str, float], of: str = "of the copy") -> results.Table:
    """Every second work is measured against the one before it."""
    names = list(times)
    rows = [
        (name, f"{times[name]:.2f} us", f"{times[name] / times[names[place // 2 * 2]]:.2f}x")
        for place, name in enumerate(names)
    ]
    return results.Table(caption, ("", "time", of), rows)


def _draws(rng: np.random.Generator, count: int) -> Iterator[NDArray[np.int64]]:
    """Indices of obs and next_obs, many drawn at once: what is timed is the copy."""
    while True:
        yield from rng.integers(count, size=(1_000, 2, BATCH))


def share_table(rounds: int) -> results.Table:
    """Say what part of a run of preset minatar-breakout is acting and storing, and what part updates."""
    torch.set_num_threads(1)
    settings = read_preset("minatar-breakout")
    experience = Experience(**settings["data"])
    sizes: dict[str, Any] = {
        "observation_shape": experience.observation_shape,
        "observation_dtype": experience.observation_dtype,
    }
    dqn = DQN(experience.observation_size, experience.num_actions, **sizes, **settings["model"])
    experience.setup("fit")
    dqn.configure_optimizers()
    collector = experience.collector
    assert collector is not None
    steps = experience.steps_per_round // experience.num_envs
    updates = round(settings["data"]["updates_per_step"] * experience.steps_per_round)
    acting, learning = 0.0, 0.0
    for number in range(rounds + 2):
        start = time.process_time()
        for _ in range(steps):
            collector.collect(dqn, 0.1, 1)
        acted = time.process_time()
        dqn.learn(collector.memory.sample((updates, experience.batch_size), n_step=3).as_tensors())
        # The first rounds make what is made once.
        if number >= 2:
            acting, learning = acting + acted - start, learning + time.process_time() - acted
    experience.teardown("fit")
    every = rounds * experience.steps_per_round
    parts = {"acting and storing": acting, "sampling and updates": learning}
    rows = [
        (name, f"{seconds / every * 1e6:.0f} us", f"{seconds / (acting + learning):.0%}")
        for name, seconds in parts.items()
    ]
    return results.Table("MinAtar/Breakout-v1, 8 environments: where a run's time goes", ("", "a step", "share"), rows)


def main() -> None:
    """Measure, show and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames, and no file: does the script still work?")
    parser.add_argument("--capacity", type=int, default=1_000_000)
    parser.add_argument("--played", type=int, default=10_000, help="real transitions, stored again until it is full")
    arguments = parser.parse_args()
    capacity, count = (2_000, 500) if arguments.quick else (arguments.capacity, arguments.played)
    measure = Measure(repeats=3, calls=20) if arguments.quick else Measure(repeats=25, calls=100)
    frames = played("ALE/Pong-v5", count)
    memory, grown = filled(capacity, frames)
    peer, peer_grown = None, None
    try:
        peer, peer_grown = filled_cpprb(capacity, frames)
    except ImportError:
        print("cpprb is not installed: left out")
    tables = [memory_table(capacity, grown, peer_grown), *timing_tables(measure, memory, frames)]
    if peer is not None:
        works = {"acro": lambda: memory.sample(BATCH), "cpprb": lambda: peer.sample(BATCH)}
        caption = f"Sample {BATCH} of {len(memory):,} transitions, the library that can hold them too"
        tables.insert(2, _against(caption, measure("sample, beside cpprb", works), of="of acro's"))
    tables.append(share_table(2 if arguments.quick else 30))
    notes = [
        f"{count:,} transitions of random play, stored again and again until the memory is full. Libraries "
        "whose bytes are computed do not fit here.",
        "Medians of the process's own time, in turns. NumPy copies 64 rows of 28,224 bytes out of 1.9 GB, acro 5 "
        "frames for each of 32 transitions, of which it makes the same bytes.",
    ]
    data: dict[str, Any] = {"times": measure.raw, "resident_bytes": grown}
    for table in tables:
        results.show(table)
    if not arguments.quick:
        results.save("images", "Images", tables, notes=notes, data=data)


if __name__ == "__main__":
    main()
