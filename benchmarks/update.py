"""One gradient update: the bare matrix products it cannot do without, acro, plain JAX, SBX and Stable-Baselines3.

`python -m benchmarks.update [--quick]`; JAX and SBX run in an environment of their own (`make .venv-jax/.installed`).
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from acro import DQN, Batch, ReplayMemory
from benchmarks.jax_peer import JaxProcess
from benchmarks.results import Table, pin_to_one_core, save, show

OBSERVATION_SIZE, NUM_ACTIONS = 6, 3
# Updates in one round, and in one measured stretch.
ROUND = 32
BARE = "bare matrix products"
# acro's ways of making a round: what each adds to DQN's arguments.
ACRO: dict[str, dict[str, Any]] = {"acro, rust": {"backend": "rust"}, "acro, torch": {"backend": "torch"}}


class Size(NamedTuple):
    """One table: two hidden layers of `width`; `num_quantiles` 0 is the value head."""

    width: int
    batch_size: int
    num_quantiles: int = 0

    def __str__(self) -> str:
        head = f"{self.num_quantiles} quantiles" if self.num_quantiles else "value head"
        return f"{self.width}-{self.width}, batch {self.batch_size}, {head}"


SIZES = (Size(128, 128), Size(256, 128), Size(128, 32), Size(256, 128, num_quantiles=25))

Turn = Callable[[], float]


def main() -> None:
    """Measure every size, all contestants in turn, many times over."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    repeats = 10 if arguments.parse_args().quick else 100
    torch.set_num_threads(1)
    pin_to_one_core()
    tables, compile_rows, data = [], [], {}
    for size in SIZES:
        with ExitStack() as stack:
            contestants = {BARE: timed(bare_products(size))}
            contestants.update({name: timed(acro_update(size, **extra)) for name, extra in ACRO.items()})
            try:
                jax = stack.enter_context(JaxProcess())
                given = {"width": size.width, "batch_size": size.batch_size, "updates": ROUND}
                contestants["JAX, lax.scan"] = turn = jax.make("jax update", num_quantiles=size.num_quantiles, **given)
                compile_rows.append((f"JAX, {size}", f"{turn.first_seconds:.1f}"))
                # SBX has no quantile head in its DQN, nor has Stable-Baselines3.
                if not size.num_quantiles:
                    contestants["SBX"] = jax.make("sbx update", **given)
            except ImportError as error:
                print(f"JAX and SBX are left out: {error}")
            if not size.num_quantiles:
                try:
                    contestants["stable-baselines3"] = timed(sb3_train(size))
                except ImportError:
                    print("stable-baselines3 is not installed: left out")
            seconds = measure(contestants, repeats)
        tables.append(table(size, seconds))
        show(tables[-1])
        data[str(size)] = seconds
    if compile_rows:
        tables.append(Table("Before JAX's first round: making and compiling it", ["", "seconds"], compile_rows))
        show(tables[-1])
    path = save(
        "update",
        "One gradient update",
        tables,
        notes=[
            "Double DQN, Huber loss, gradient clipping and Adam on Acrobot transitions; one thread, one core. "
            "Stable-Baselines3's and SBX's DQN are not double, and SBX does not clip gradients.",
            "The bare products are the online network's forward for obs and next_obs, the target network's for "
            "next_obs, and the backward pass, each a torch.mm into memory that is there already.",
            f"JAX runs {ROUND} minibatches in one jitted lax.scan over donated state, without fresh batches. SBX and "
            "Stable-Baselines3 cannot be asked for an update alone: their figures include sampling. acro's and JAX's "
            "do not: see the replay memory's table.",
            f"Each figure is the median over {repeats} stretches of {ROUND} updates, the contestants taking turns; "
            "ratios are the medians of the ratios within a turn.",
        ],
        data=data,
    )
    print(path)


def timed(stretch: Callable[[], None]) -> Turn:
    """Return the turns of a contestant in this process: each returns its seconds."""

    def turn() -> float:
        start = time.perf_counter()
        stretch()
        return time.perf_counter() - start

    return turn


def measure(contestants: dict[str, Turn], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of one update, for every turn of every contestant."""
    for turn in contestants.values():
        for _ in range(3):
            turn()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, turn in contestants.items():
            seconds[name].append(turn() / ROUND)
    return seconds


def table(size: Size, seconds: dict[str, list[float]]) -> Table:
    """Return medians, and medians of the ratios to the bare products and to JAX."""

    def ratio(own: Sequence[float], name: str) -> str:
        if name not in seconds:
            return ""
        return f"{statistics.median(a / b for a, b in zip(own, seconds[name], strict=True)):.2f}"

    rows = [
        (name, f"{1e6 * statistics.median(own):.0f}", ratio(own, BARE), ratio(own, "JAX, lax.scan"))
        for name, own in seconds.items()
    ]
    return Table(str(size), ["", "µs an update", "ratio to the bare products", "ratio to JAX"], rows)


def bare_products(size: Size) -> Callable[[], None]:
    """Return a stretch of nothing but the matrix products of updates."""
    width, batch_size, outputs = size.width, size.batch_size, NUM_ACTIONS * max(1, size.num_quantiles)
    both, one = torch.randn(2 * batch_size, OBSERVATION_SIZE), torch.randn(batch_size, OBSERVATION_SIZE)
    first = torch.randn(width, OBSERVATION_SIZE)
    second, last = torch.randn(width, width), torch.randn(outputs, width)
    hidden_both, hidden = torch.randn(2 * batch_size, width), torch.randn(batch_size, width)
    gradient = torch.randn(batch_size, outputs)

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


def acro_update(size: Size, **extra: Any) -> Callable[[], None]:
    """Return a round of updates of acro's DQN."""
    head = {"head": "quantile", "num_quantiles": size.num_quantiles} if size.num_quantiles else {}
    dqn = DQN(OBSERVATION_SIZE, NUM_ACTIONS, (size.width, size.width), **{**head, **extra})
    dqn.configure_optimizers()
    batch = random_batch(size.batch_size)

    def stretch() -> None:
        dqn.learn(batch)

    return stretch


def random_batch(batch_size: int) -> Batch:
    """Return a round of minibatches out of a memory of random transitions."""
    memory = ReplayMemory(10_000, (OBSERVATION_SIZE,), num_envs=8)
    generator = np.random.default_rng(0)
    for _ in range(1_250):
        obs = generator.standard_normal((8, OBSERVATION_SIZE)).astype(np.float32)
        actions = generator.integers(NUM_ACTIONS, size=8)
        memory.extend(obs, actions, -np.ones(8), obs, np.zeros(8, bool), generator.random(8) < 0.01)
    return memory.sample((ROUND, batch_size), n_step=3).as_tensors()


def sb3_train(size: Size) -> Callable[[], None]:
    """Return a stretch of SB3's `DQN.train`.

    Raises:
        ImportError: Stable-Baselines3 is not installed.
    """
    import stable_baselines3
    from stable_baselines3.common.logger import configure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stable_baselines3.DQN(
            "MlpPolicy",
            "Acrobot-v1",
            policy_kwargs={"net_arch": [size.width, size.width]},
            buffer_size=10_000,
            device="cpu",
        )
        model.set_logger(configure(format_strings=[]))
        model.learn(1_000)
    return lambda: model.train(gradient_steps=ROUND, batch_size=size.batch_size)


if __name__ == "__main__":
    main()
