"""Train a preset on many seeds: `python -m benchmarks.presets [--quick] [--preset NAME] [--jobs N]`.

For each seed: the environment steps and training seconds until it is solved, and the returns of its best checkpoint in
held-out episodes, and its last evaluation. The seeds are a sweep's, `python -m acro.sweep`.
Stored as `benchmarks/results/presets-NAME.json`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acro import Experience, load_agent, sweep
from acro.cli.options import preset_names, read_preset
from acro.cli.study import read_study
from acro.cli.sweep_folder import SweepFolder
from acro.cluster.outcomes import Outcome
from acro.cluster.statistics import RESAMPLES, interquartile_mean, interval
from acro.envs.facts import reward_threshold
from acro.evaluation import evaluate
from benchmarks import results

QUICK_EPOCHS = 8


def main() -> int:
    """Train every seed, print and store; return 1 if the sweep failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=preset_names(), default="acrobot")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--jobs", type=int, default=1, help="seeds trained side by side; their seconds suffer")
    parser.add_argument("--episodes", type=int, default=100, help="held-out episodes that the best checkpoint plays")
    parser.add_argument("--quick", action="store_true", help=f"two seeds, {QUICK_EPOCHS} epochs each")
    arguments = parser.parse_args()
    settings = read_preset(arguments.preset)
    seeds = arguments.seeds
    if arguments.quick:
        settings["trainer"]["max_epochs"], seeds = min(QUICK_EPOCHS, settings["trainer"]["max_epochs"]), seeds[:2]
    experience = Experience(**settings["data"])
    threshold = reward_threshold(experience.env_id)
    steps = settings["trainer"]["max_epochs"] * experience.steps_per_epoch
    with tempfile.TemporaryDirectory() as folder:
        outcomes = train(arguments.preset, settings["trainer"]["max_epochs"], seeds, arguments.jobs, Path(folder))
        if arguments.episodes != experience.eval_episodes:
            outcomes = [_played(outcome, experience, arguments.episodes) for outcome in outcomes]
    if not outcomes:
        return 1
    tables = [_seeds_table(outcomes, threshold), _summary_table(outcomes)]
    for table in tables:
        results.show(table)
    print(
        results.save(
            "presets",
            f"Preset {arguments.preset}: {experience.env_id}, {steps:,} steps",
            tables,
            notes=_notes(experience, threshold, arguments.jobs, arguments.episodes),
            data={"settings": settings, "outcomes": [_figures(outcome) for outcome in outcomes]},
            part=arguments.preset,
        )
    )
    return 0


def train(preset: str, epochs: int, seeds: Sequence[int], jobs: int, root: Path) -> list[Outcome]:
    """Return what the seeds came to, as a sweep trains them; nothing where one did not come to its end."""
    argv = [f"--preset={preset}", f"--trainer.max_epochs={epochs}", "--gif=false", f"--jobs={jobs}"]
    chosen = [str(seed) for seed in seeds] if len(seeds) > 1 else ["1", f"--seed_everything={seeds[0]}"]
    if sweep.main([*argv, f"--trainer.default_root_dir={root}", "--seeds", *chosen]):
        return []
    folder = root / f"{preset}-sweep" / "version_0"
    (group,) = SweepFolder(folder, read_study(folder / "study.yaml"), preset).groups()
    return group.finished if len(group.finished) == len(seeds) else []


def _played(outcome: Outcome, experience: Experience, episodes: int) -> Outcome:
    """Return the outcome with the returns of another number of held-out episodes."""
    module = load_agent(outcome.trial.run.folder).module
    own = Experience(**{**experience.hparams, "seed": outcome.trial.seed})
    found = evaluate(module, *own.held_out_episodes()._replace(episodes=episodes))
    return replace(
        outcome,
        mean=found.mean,
        median=float(np.median(found.returns)),
        worst=float(found.returns.min()),
        at_limit=int(found.truncated.sum()),
    )


def _figures(outcome: Outcome) -> dict[str, Any]:
    """Return the figures of an outcome that are stored."""
    assert outcome.best_point is not None
    return {
        "seed": outcome.trial.seed,
        "solved_step": outcome.solved_step,
        "solved_seconds": outcome.solved_seconds,
        "best_step": outcome.best_point.step,
        "mean": outcome.mean,
        "median": outcome.median,
        "worst": outcome.worst,
        "at_limit": outcome.at_limit,
        "last_mean": outcome.curve[-1].mean,
        "training_seconds": outcome.training_seconds,
        "curve": [(point.step, point.mean) for point in outcome.curve],
    }


def _notes(experience: Experience, threshold: float | None, jobs: int, held_out: int) -> list[str]:
    episodes = experience.hparams["eval_episodes"]
    notes = [
        f"One thread a seed, {jobs} at a time. Every {experience.steps_per_epoch:,} steps, {episodes} greedy episodes "
        "choose the best checkpoint, of equals the last; the columns from mean to at limit are that checkpoint's, "
        f"played from the starts of {held_out} held-out episodes. At limit: how many of them lasted until the time "
        "limit. Last: the mean of the run's last evaluation, which no choice has touched.",
        "Training seconds count from the environments' making on; evaluations are left out.",
        f"The interval holds 95% of {RESAMPLES:,} bootstrap resamples over seeds; IQM is the interquartile mean.",
    ]
    if threshold is not None:
        notes.insert(0, f"Solved: the first evaluation whose mean is at least {threshold:g}.")
    return notes


def _seeds_table(outcomes: Sequence[Outcome], threshold: float | None) -> results.Table:
    columns = [
        "seed",
        "solved at step",
        "training s",
        "best step",
        "mean",
        "median",
        "worst",
        "at limit",
        "last",
        "all training s",
    ]
    rows = [
        [
            found["seed"],
            "never" if found["solved_step"] is None else f"{found['solved_step']:,}",
            "never" if found["solved_seconds"] is None else f"{found['solved_seconds']:.1f}",
            f"{found['best_step']:,}",
            f"{found['mean']:.1f}",
            f"{found['median']:.0f}",
            f"{found['worst']:.0f}",
            found["at_limit"],
            f"{found['last_mean']:.1f}",
            f"{found['training_seconds']:.1f}",
        ]
        for found in map(_figures, outcomes)
    ]
    return results.Table("Every seed" if threshold is None else f"Every seed; solved: >= {threshold:g}", columns, rows)


def _summary_table(outcomes: Sequence[Outcome]) -> results.Table:
    found = [_figures(outcome) for outcome in outcomes]
    names = {
        "solved at step": "solved_step",
        "training seconds until then": "solved_seconds",
        "mean return of the best checkpoint": "mean",
        "its worst episode": "worst",
        "mean return of the last evaluation": "last_mean",
        "training seconds in all": "training_seconds",
    }
    rows = [[name, *_summary([figures[key] for figures in found])] for name, key in names.items()]
    return results.Table("Over seeds", ["", "mean", "median", "IQM", "interval", "least", "largest"], rows)


def _summary(values: Sequence[float | None]) -> list[str]:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if len(known) < len(values):
        return ["", "", "", "", "", f"{len(values) - len(known)} of {len(values)} never"]
    low, high = interval(known)
    digits = ",.0f" if known.max() > 1_000 else ".1f"
    middle = [known.mean(), np.median(known), interquartile_mean(known)]
    return [
        *(format(value, digits) for value in middle),
        f"{low:{digits}} to {high:{digits}}",
        *(format(value, digits) for value in (known.min(), known.max())),
    ]


if __name__ == "__main__":
    sys.exit(main())
