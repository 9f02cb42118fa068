"""Seconds until Acrobot is solved, the preset beside Stable-Baselines3 with its zoo's settings, seed by seed."""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import Any

import lightning as L

from acro.evaluation import evaluate
from benchmarks import presets
from benchmarks.results import Table, save, show
from benchmarks.same_work import zoo_dqn

THRESHOLD = -100.0
EPISODES = 100
# SB3 is asked as often as acro's preset asks itself.
EVALUATE_EVERY_STEPS = 1_024
SB3_STEPS = 100_000


def main() -> None:
    """Train both on every seed, in turn, print and store."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    arguments.add_argument("--quick", action="store_true", help="one seed, few steps")
    given = arguments.parse_args()
    presets.prepare()
    settings = presets.read_preset("acrobot")
    seeds, sb3_steps = (given.seeds[:1], 2_048) if given.quick else (given.seeds, SB3_STEPS)

    data: list[dict[str, Any]] = []
    for seed in seeds:
        outcome = presets.train(settings, seed)
        sb3_step, sb3_seconds = solve_with_sb3(seed, sb3_steps)
        data.append(
            {
                "seed": seed,
                "acro_step": outcome.solved_step,
                "acro_seconds": outcome.solved_seconds,
                "sb3_step": sb3_step,
                "sb3_seconds": sb3_seconds,
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
    show(table)
    notes = [
        f"Both are evaluated every {EVALUATE_EVERY_STEPS:,} steps, by the same code; evaluations are left out of the "
        "seconds. One process, one thread, the two in turn. acro: `--preset acrobot`; Stable-Baselines3: DQN with "
        f"rl-zoo's settings for Acrobot-v1, stopped once solved, or after {sb3_steps:,} steps.",
        "The last row holds medians, over the seeds that solved it, and their ratio.",
    ]
    print(save("time_to_solve", "Time to solve Acrobot", [table], notes=notes, data=data))


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
