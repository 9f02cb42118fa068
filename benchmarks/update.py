"""A gradient update beside the bare matrix products that it cannot do without, and beside SB3's `train`."""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from acro import DQN, Batch, ReplayMemory
from benchmarks.results import Table, save, show

OBSERVATION_SIZE, NUM_ACTIONS, BATCH_SIZE = 6, 3, 128
# Updates in one round, and in one measured stretch.
ROUND = 32


def main() -> None:
    """Measure every width, all contestants in turn, many times over."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    repeats = 10 if arguments.parse_args().quick else 100
    torch.set_num_threads(1)
    tables, data = [], {}
    for width in (128, 256):
        contestants = {"bare matrix products": bare_products(width), "acro": acro_update(width)}
        try:
            contestants["stable-baselines3"] = sb3_train(width)
        except ImportError:
            print("stable-baselines3 is not installed: left out")
        seconds = measure(contestants, repeats)
        tables.append(table(width, seconds))
        show(tables[-1])
        data[str(width)] = seconds
    path = save(
        "update",
        "One gradient update",
        tables,
        notes=[
            "Double DQN, Huber loss, gradient clipping and Adam; batches of 128 Acrobot transitions; one thread.",
            "The bare products are the online network's forward for obs and next_obs, the target network's for "
            "next_obs, and the backward pass, each a torch.mm into memory that is there already.",
            f"Each figure is the median over {repeats} stretches of {ROUND} updates, the contestants taking turns; "
            "ratios are the medians of the ratios within a turn. Sampling is included in SB3's figure, which cannot be "
            "asked for an update alone, and not in acro's: see the replay memory's table.",
        ],
        data=data,
    )
    print(path)


def measure(contestants: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of one update, for every turn of every contestant."""
    for contestant in contestants.values():
        for _ in range(3):
            contestant()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            seconds[name].append((time.perf_counter() - start) / ROUND)
    return seconds


def table(width: int, seconds: dict[str, list[float]]) -> Table:
    """Return medians, and medians of the ratios to the bare products."""
    bare = seconds["bare matrix products"]
    rows = [
        (
            name,
            f"{1e6 * statistics.median(found):.0f}",
            f"{statistics.median(own / floor for own, floor in zip(found, bare, strict=True)):.2f}",
        )
        for name, found in seconds.items()
    ]
    return Table(f"{width}-{width} network", ["", "µs an update", "ratio to the bare products"], rows)


def bare_products(width: int) -> Callable[[], None]:
    """Return a stretch of nothing but the matrix products of updates."""
    both, one = torch.randn(2 * BATCH_SIZE, OBSERVATION_SIZE), torch.randn(BATCH_SIZE, OBSERVATION_SIZE)
    first = torch.randn(width, OBSERVATION_SIZE)
    second, last = torch.randn(width, width), torch.randn(NUM_ACTIONS, width)
    hidden_both, hidden = torch.randn(2 * BATCH_SIZE, width), torch.randn(BATCH_SIZE, width)
    gradient = torch.randn(BATCH_SIZE, NUM_ACTIONS)

    def into(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return left, right, torch.empty(left.shape[0], right.shape[1])

    products = [
        *(into(both, first.t()), into(hidden_both, second.t()), into(hidden_both, last.t())),
        *(into(one, first.t()), into(hidden, second.t()), into(hidden, last.t())),
        *(into(gradient.t(), hidden), into(gradient, last)),
        *(into(hidden.t(), hidden), into(hidden, second), into(hidden.t(), one)),
    ]

    def stretch() -> None:
        for _ in range(ROUND):
            for left, right, out in products:
                torch.mm(left, right, out=out)

    return stretch


def acro_update(width: int) -> Callable[[], None]:
    """Return a round of updates of acro's DQN."""
    dqn = DQN(OBSERVATION_SIZE, NUM_ACTIONS, (width, width))
    dqn.configure_optimizers()
    batch = random_batch()

    def stretch() -> None:
        dqn.update(batch)

    return stretch


def random_batch() -> Batch:
    """Return a round of minibatches out of a memory of random transitions."""
    memory = ReplayMemory(10_000, (OBSERVATION_SIZE,), num_envs=8)
    generator = np.random.default_rng(0)
    for _ in range(1_250):
        obs = generator.standard_normal((8, OBSERVATION_SIZE)).astype(np.float32)
        actions = generator.integers(NUM_ACTIONS, size=8)
        memory.extend(obs, actions, -np.ones(8), obs, np.zeros(8, bool), generator.random(8) < 0.01)
    return memory.sample((ROUND, BATCH_SIZE), n_step=3).as_tensors()


def sb3_train(width: int) -> Callable[[], None]:
    """Return a stretch of SB3's `DQN.train`.

    Raises:
        ImportError: Stable-Baselines3 is not installed.
    """
    import stable_baselines3
    from stable_baselines3.common.logger import configure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stable_baselines3.DQN(
            "MlpPolicy", "Acrobot-v1", policy_kwargs={"net_arch": [width, width]}, buffer_size=10_000, device="cpu"
        )
        model.set_logger(configure(format_strings=[]))
        model.learn(1_000)
    return lambda: model.train(gradient_steps=ROUND, batch_size=BATCH_SIZE)


if __name__ == "__main__":
    main()
