"""Slow environments stepped by collectors: `python -m benchmarks.collectors [--quick]`.

Steps a second of an environment that takes 5 ms a step, in 16 environments, for several numbers of collectors, with the
weights that each run ends with; a run through kills; and what a learner loses to collecting when it is one round
behind. Stored as `benchmarks/results/collectors.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import torch

from acro import DQN, Experience
from benchmarks import results
from benchmarks.training import bare_trainer

NUM_ENVS, STEPS_PER_ROUND = 16, 256
SLOW_SECONDS, FAST_SECONDS = 0.005, 0.0001


class Simulator(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CartPole that takes `seconds` for a step: it waits for them, or computes where they are too few to sleep."""

    def __init__(self, env: gymnasium.Env[Any, Any], seconds: float) -> None:
        super().__init__(env)
        self._seconds = seconds

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take the step, and the time."""
        if self._seconds >= 0.001:
            time.sleep(self._seconds)
        else:
            end = time.perf_counter() + self._seconds
            while time.perf_counter() < end:
                pass
        return super().step(action)


def make_env(seconds: float) -> gymnasium.Env[Any, Any]:
    """Make one."""
    return Simulator(gymnasium.make("CartPole-v1"), seconds)


class Watch(L.Callback):
    """Seconds of each round from the end of the one before, and how many of them were spent on waiting for steps.

    The first round of an epoch is left out: with a lag it is stepped while the evaluation plays.
    """

    def __init__(self) -> None:
        self.rounds: list[float] = []
        self.waited: list[float] = []
        self._ended: float | None = None
        self._waiting = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Time the calls to the runner."""
        experience: Any = trainer.datamodule  # type: ignore[attr-defined] # set where fit is given one
        runner = experience.collector.runner
        for name in ("start", "finish"):
            setattr(runner, name, self._timed(getattr(runner, name)))

    def _timed(self, call: Any) -> Any:
        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                self._waiting += time.perf_counter() - start

        return timed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the epoch before."""
        self._ended = None

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Count the round."""
        now = time.perf_counter()
        if self._ended is not None:
            self.rounds.append(now - self._ended)
            self.waited.append(self._waiting)
        self._ended, self._waiting = now, 0.0


def train(
    seconds: float, collectors: int, lag: int, epochs: int, rounds: int, *, num_envs: int = NUM_ENVS, kills: int = 0
) -> tuple[Watch, str, int]:
    """Train; return the times, a hash of the weights, and how many collectors were killed."""
    torch.set_num_threads(1)
    experience = Experience(
        "benchmarks.collectors:make_env",
        num_envs=num_envs,
        steps_per_round=STEPS_PER_ROUND,
        steps_per_epoch=rounds * STEPS_PER_ROUND,
        learning_starts_steps=STEPS_PER_ROUND,
        updates_per_step=0.5,
        eval_episodes=1,
        env_kwargs={"seconds": seconds},
        collectors=collectors,
        lag=lag,
    )
    module, watch = DQN(experience.observation_size, experience.num_actions), Watch()
    over = threading.Event()
    struck: list[int] = []
    killer = threading.Thread(target=_kill_now_and_then, args=(kills, over, struck))
    with tempfile.TemporaryDirectory() as folder:
        trainer = bare_trainer(epochs, watch, limit_val_batches=None, default_root_dir=folder)
        killer.start()
        try:
            trainer.fit(module, experience)
        finally:
            over.set()
            killer.join()
    weights = b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())
    return watch, hashlib.sha256(weights).hexdigest()[:12], len(struck)


def _kill_now_and_then(kills: int, over: threading.Event, struck: list[int]) -> None:
    draw = random.Random(0)
    while len(struck) < kills and not over.wait(draw.uniform(0.2, 1.5)):
        actors = _actors()
        if actors:
            chosen = draw.choice(actors)
            os.kill(chosen, signal.SIGKILL)
            struck.append(chosen)


def _actors() -> list[int]:
    """Return the collectors' processes, which Ray names so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Actor"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def main() -> int:
    """Measure, print and store; return 1 where weights differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="collectors 0 and 2, two epochs, one kill")
    arguments = parser.parse_args()
    numbers, epochs, rounds, kills = ([0, 2], 2, 3, 1) if arguments.quick else ([0, 1, 2, 4, 8], 2, 8, 20)
    tables, all_same = [], True
    for lag in (0, 1):
        rates, hashes = {}, {}
        for collectors in numbers:
            watch, hashes[collectors], _ = train(SLOW_SECONDS, collectors, lag, epochs, rounds)
            rates[collectors] = STEPS_PER_ROUND / float(np.median(watch.rounds))
        all_same &= len({*hashes.values()}) == 1
        rows = [
            [collectors, f"{rate:.0f}", f"{rate / rates[0]:.2f}", hashes[collectors]]
            for collectors, rate in rates.items()
        ]
        columns = ["collectors", "steps/s", "times as many as 0", "SHA-256 of the weights"]
        caption = f"5 ms a step, 16 environments, lag {lag}"
        tables.append(results.Table(caption, columns, rows))
    # Long enough for every kill, and for the starts of those that take their places.
    long = epochs * (1 if arguments.quick else 3)
    _, straight, _ = train(SLOW_SECONDS, 4, 0, long, rounds)
    _, killed, struck = train(SLOW_SECONDS, 4, 0, long, rounds, kills=kills)
    columns = ["collectors killed", "weights without", "weights with"]
    tables.append(results.Table("A run through kills", columns, [[struck, straight, killed]]))
    watch, _, _ = train(FAST_SECONDS, 1, 1, epochs, 4 * rounds, num_envs=8)
    share = sum(watch.waited) / sum(watch.rounds)
    caption = "0.1 ms a step, 1 collector, lag 1"
    tables.append(results.Table(caption, ["share of the learner's time lost"], [[f"{share:.1%}"]]))
    for table in tables:
        results.show(table)
    notes = [
        f"Medians over rounds, the first of an epoch left out. {STEPS_PER_ROUND} steps a round, an update every second "
        "step.",
        "Lost is the time in which the learner sends weights and waits for steps.",
    ]
    print(results.save("collectors", "Collectors on Ray", tables, notes=notes))
    return 0 if all_same and straight == killed else 1


if __name__ == "__main__":
    sys.exit(main())
