"""What Lightning's Trainer costs: the same run under `Trainer.fit` and in a bare loop over the same module and data."""

from __future__ import annotations

import argparse
import statistics
import time
from types import SimpleNamespace
from typing import Any

import lightning as L
import torch

from acro import DQN, Experience
from benchmarks.results import Table, save, show
from benchmarks.training import bare_trainer


def main() -> None:
    """Measure both in turn, many times over, and check that they end with the same weights."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer repeats, shorter runs")
    is_quick = arguments.parse_args().quick
    repeats, epochs = (4, 3) if is_quick else (20, 8)
    torch.set_num_threads(1)

    seconds: dict[str, list[float]] = {"Trainer.fit": [], "bare loop": []}
    for repeat in range(repeats + 1):
        # Each goes first every other turn: the second of two finds the machine in another state.
        if repeat % 2:
            under_trainer, trained = under_the_trainer(epochs)
            in_loop, looped = in_a_bare_loop(epochs)
        else:
            in_loop, looped = in_a_bare_loop(epochs)
            under_trainer, trained = under_the_trainer(epochs)
        for left, right in zip(trained.parameters(), looped.parameters(), strict=True):
            assert torch.equal(left, right), "the two runs did not learn the same"
        # The first turn warms caches up and does not count.
        if repeat:
            seconds["Trainer.fit"].append(under_trainer)
            seconds["bare loop"].append(in_loop)

    ratios = [fit / loop for fit, loop in zip(*seconds.values(), strict=True)]
    rounds = experience().rounds_per_epoch * epochs
    per_round = statistics.median(
        (fit - loop) / rounds for fit, loop in zip(seconds["Trainer.fit"], seconds["bare loop"], strict=True)
    )
    rows = [(name, f"{statistics.median(found):.3f}") for name, found in seconds.items()]
    rows.append(("overhead of the Trainer", f"{100 * (statistics.median(ratios) - 1):.1f} %"))
    rows.append(("overhead of a round", f"{1e6 * per_round:.0f} µs"))
    table = Table(f"{epochs} epochs of 1,024 environment steps", ["", "seconds"], rows)
    show(table)
    path = save(
        "overhead",
        "The Trainer",
        [table],
        notes=[
            "No evaluation, logger, progress bar or checkpoint in either; both end with the same weights, which is "
            f"checked. Medians over {repeats} turns, one turn before them not counted; the overhead is the median of "
            "the ratios within a turn.",
        ],
        data=seconds,
    )
    print(path)


def experience() -> Experience:
    """Return the experience of both runs."""
    return Experience(n_step=3)


def module(source: Experience) -> DQN:
    """Return the module of both runs, with the same weights."""
    L.seed_everything(0, verbose=False)
    return DQN(source.observation_size, source.num_actions)


def under_the_trainer(epochs: int) -> tuple[float, DQN]:
    """Return the seconds between the start and the end of training, and the module."""
    source = experience()
    dqn = module(source)
    clock = Clock()
    trainer = bare_trainer(epochs, clock)
    trainer.fit(dqn, source)
    return clock.seconds, dqn


class Clock(L.Callback):
    """Takes the time from the first round to the last: making a Trainer is no cost of training."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start."""
        self._start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._start


def in_a_bare_loop(epochs: int) -> tuple[float, DQN]:
    """Return the seconds of the rounds, and the module."""
    source = experience()
    dqn = module(source)
    source.setup("fit")
    stand_in: Any = SimpleNamespace(lightning_module=dqn)
    source.trainer = stand_in
    dqn.configure_optimizers()
    start = time.perf_counter()
    for _ in range(epochs * source.rounds_per_epoch):
        batch = source.round()
        if len(batch.rewards):
            dqn.learn(batch)
    return time.perf_counter() - start, dqn


if __name__ == "__main__":
    main()
