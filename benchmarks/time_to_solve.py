"""Seconds until Acrobot is solved, seed by seed: the preset beside Stable-Baselines3 and SBX with rl-zoo's settings.

Warm: training seconds in a process that has imported everything. Cold: from the shell prompt to the first evaluation at
the threshold, imports and compilation included. `python -m benchmarks.time_to_solve [--quick]`; SBX runs in an
environment of its own (`make .venv-jax/.installed`).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from acro.cli.options import read_preset
from acro.evaluation import evaluate
from benchmarks import jax_peer, presets
from benchmarks.results import Table, pin_to_one_core, save, show
from benchmarks.same_work import zoo_dqn

THRESHOLD = -100.0
EPISODES = 100
# SB3 is asked as often as acro's preset asks itself.
EVALUATE_EVERY_STEPS = 1_024
SB3_STEPS = 100_000
# What acro.fit prints after an evaluation.
_EVALUATION = re.compile(r"step +\d+ .* eval (-?\d+\.\d)")


def main() -> None:
    """Train both on every seed, in turn, print and store."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    arguments.add_argument("--quick", action="store_true", help="one seed, few steps")
    given = arguments.parse_args()
    pin_to_one_core()
    warnings.simplefilter("ignore")
    epochs = read_preset("acrobot")["trainer"]["max_epochs"]
    seeds, sb3_steps = (given.seeds[:1], 2_048) if given.quick else (given.seeds, SB3_STEPS)

    data: list[dict[str, Any]] = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            (outcome,) = presets.train("acrobot", epochs, [seed], 1, Path(folder))
        sb3_step, sb3_seconds = solve_with_sb3(seed, sb3_steps)
        data.append(
            {
                "seed": seed,
                "acro_step": outcome.solved_step,
                "acro_seconds": outcome.solved_seconds,
                "sb3_step": sb3_step,
                "sb3_seconds": sb3_seconds,
                "cold": {
                    "acro": cold_acro(seed),
                    "stable-baselines3": cold_peer("sb3", sys.executable, seed, sb3_steps),
                    "SBX": cold_peer("sbx", jax_peer.PYTHON, seed, sb3_steps),
                },
            }
        )
        print(data[-1], flush=True)
    columns = ["acro_step", "acro_seconds", "sb3_step", "sb3_seconds"]
    rows = [[run["seed"], *(_cell(run[column]) for column in columns), _ratio(run)] for run in data]
    middle = {column: _median([run[column] for run in data]) for column in columns}
    rows.append(["median", *(_cell(value) for value in middle.values()), _ratio(middle)])
    table = Table(
        f"Until the mean of {EPISODES} greedy episodes is at least {THRESHOLD:g}",
        ["seed", "acro: step", "acro: s", "stable-baselines3: step", "stable-baselines3: s", "times acro's seconds"],
        rows,
    )
    cold = cold_table([run["cold"] for run in data], seeds)
    for shown in (table, cold):
        show(shown)
    notes = [
        f"Both are evaluated every {EVALUATE_EVERY_STEPS:,} steps, by the same code; evaluations are left out of the "
        "seconds. One process, one thread, the two in turn. acro: `--preset acrobot`; Stable-Baselines3: DQN with "
        f"rl-zoo's settings for Acrobot-v1, stopped once solved, or after {sb3_steps:,} steps.",
        "The last row holds medians, over the seeds that solved it, and their ratio.",
        "Cold: each in a fresh process on one core. acro's own evaluations count, as `python -m acro.fit` runs; the "
        "peers' evaluations, which no user is bound to make, are taken out of their time.",
    ]
    print(save("time_to_solve", "Time to solve Acrobot", [table, cold], notes=notes, data=data))


def cold_acro(seed: int) -> float | None:
    """Return the seconds from the start of `python -m acro.fit` to the first evaluation at the threshold."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "acro.fit",
            f"--seed_everything={seed}",
            f"--trainer.default_root_dir={folder}",
        ]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                evaluation = _EVALUATION.search(line)
                if evaluation and float(evaluation[1]) >= THRESHOLD:
                    seconds = time.perf_counter() - start
                    process.kill()
                    return seconds
    return None


def cold_peer(library: str, python: str | os.PathLike[str], seed: int, steps: int) -> float | None:
    """Return the seconds from the start of a peer's process until it is solved, less those of its evaluations.

    None if it is never solved in `steps` steps, or not installed.
    """
    start = time.perf_counter()
    try:
        # Not as a script: its folder would come first on the path, and has a profile.py as the standard library does.
        done = subprocess.run(
            [python, "-m", "benchmarks.solve_peer", library, str(seed), str(steps)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **jax_peer.ENVIRONMENT},
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        print(f"{library} is left out: {error}")
        return None
    seconds = time.perf_counter() - start
    result, *numbers = done.stdout.split()[-3:]
    return seconds - float(numbers[1]) if result == "solved" else None


def cold_table(runs: Sequence[dict[str, float | None]], seeds: Sequence[int]) -> Table:
    """Return the seconds of every seed and their medians, from cold."""
    names = list(runs[0])
    rows: list[list[object]] = [
        [seed, *(_cell(run[name]) for name in names)] for seed, run in zip(seeds, runs, strict=True)
    ]
    rows.append(["median", *(_cell(_median([run[name] for run in runs])) for name in names)])
    caption = f"Cold: seconds from the shell prompt to the first evaluation of at least {THRESHOLD:g}"
    return Table(caption, ["seed", *names], rows)


def solve_with_sb3(seed: int, steps: int) -> tuple[int | None, float | None]:
    """Return the step and the training seconds at which SB3 first passes the threshold; None for never.

    Raises:
        ImportError: Stable-Baselines3 is not installed.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    class UntilSolved(BaseCallback):
        """Evaluates, and stops training once the threshold is passed."""

        seconds = 0.0
        solved_step: int | None = None

        def _on_training_start(self) -> None:
            self._resumed_at = time.perf_counter()

        def _on_step(self) -> bool:
            if self.num_timesteps % EVALUATE_EVERY_STEPS:
                return True
            self.seconds += time.perf_counter() - self._resumed_at
            policy: Any = self.model.policy
            mean = evaluate(policy.q_net, "Acrobot-v1", EPISODES, seed=10_000 * seed + self.num_timesteps).mean
            self._resumed_at = time.perf_counter()
            if mean >= THRESHOLD:
                self.solved_step = self.num_timesteps
            return self.solved_step is None

    L.seed_everything(seed, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        callback = UntilSolved()
        zoo_dqn(seed=seed).learn(steps, callback=callback)
    return callback.solved_step, None if callback.solved_step is None else callback.seconds


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _cell(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.0f}" if value == int(value) and value > 100 else f"{value:.1f}"


def _ratio(run: dict[str, Any]) -> str:
    if not run["acro_seconds"] or not run["sb3_seconds"]:
        return ""
    return f"{run['sb3_seconds'] / run['acro_seconds']:.1f}"


if __name__ == "__main__":
    main()
