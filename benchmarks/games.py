"""How far games were learned, read from run folders: `python -m benchmarks.games RUNS [RUNS ...]`.

RUNS is the folder of a preset with its runs, such as `runs/pong`. Nothing is trained here: make the runs with
`python -m acro.fit --preset NAME --seed_everything SEED`, and stop them when their time is over.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import yaml

from benchmarks import results

NOTES = (
    "As far as the runs went: ten minutes for Breakout and Space Invaders, an hour for seed 0 of Pong, whose step is "
    "four frames. Beside a run on one core, another program ran on the other one.",
    "Breakout by MinAtar's own examples/dqn.py (Young and Tian 2019; the paper has no table), run by others with all "
    "six actions, ten episodes each (github.com/kenjyoung/MinAtar): 5.8 ± 1.7 after 500,000 frames, 11.1 ± 2.4 after "
    "1,000,000 frames.",
)


def evaluations(run: Path) -> list[tuple[int, float]]:
    """Return the environment steps and the mean return of every evaluation of a run."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("eval/return")]
    return [(int(float(row["step"])), float(row["eval/return"])) for row in rows]


def learning_table(runs: Path) -> tuple[results.Table, dict[str, Any]]:
    """Return a table of a preset's runs with a row for each seed, and their learning curves."""
    rows: list[tuple[Any, ...]] = []
    curves: dict[str, Any] = {}
    folders = sorted(path.parent for path in runs.glob("version_*/metrics.csv"))
    if not folders:
        raise SystemExit(f"{runs} has no runs: expected version_*/metrics.csv in it")
    for run in folders:
        config = yaml.safe_load((run / "config.yaml").read_text())
        seed, episodes, cores = config["seed_everything"], config["data"]["eval_episodes"], config["torch_threads"]
        curve = curves[f"seed {seed}"] = evaluations(run)
        steps, last = curve[-1]
        best = max(mean for _, mean in curve)
        rows.append((seed, cores, f"{steps:,}", f"{last:.1f}", f"{best:.1f}"))
    columns = ("seed", "cores", "steps", "last return", "best return")
    return results.Table(f"{runs.name}: mean greedy returns of {episodes} episodes", columns, sorted(rows)), curves


def main() -> None:
    """Read the runs, show and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of presets")
    parser.add_argument("--note", action="append", default=[], help="more to say of the runs, such as their commits")
    arguments = parser.parse_args()
    tables, data = [], {}
    for runs in arguments.runs:
        table, data[runs.name] = learning_table(runs)
        results.show(table)
        tables.append(table)
    results.save("games", "Games", tables, notes=[*NOTES, *arguments.note], data=data)


if __name__ == "__main__":
    main()
