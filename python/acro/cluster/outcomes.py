"""Reads the outcomes of a sweep's trials from their folders; makes tables and curves, finds the best configuration."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acro.cluster.statistics import interquartile_mean, interval
from acro.cluster.trials import Trial
from acro.drawing.curves import CurvePoint, draw_runs, read_run, save_figure
from acro.formatting import format_mean, format_return
from acro.storage.files import replacing


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial; None for what it has not reached.

    `mean` to `at_limit` are of the best checkpoint in held-out episodes.
    """

    trial: Trial
    state: str
    curve: list[CurvePoint] = field(default_factory=list)
    mean: float | None = None
    median: float | None = None
    worst: float | None = None
    at_limit: int | None = None
    solved_return: float | None = None
    solved_step: int | None = None
    solved_seconds: float | None = None
    training_seconds: float | None = None
    env_id: str = ""

    @property
    def best_point(self) -> CurvePoint | None:
        """The evaluation of the best checkpoint."""
        return max(self.curve, key=lambda point: (point.mean, point.step), default=None)


@dataclass(frozen=True)
class Group:
    """The outcomes of a configuration's seeds."""

    name: str
    settings: Mapping[str, str]
    outcomes: Sequence[Outcome]

    @property
    def finished(self) -> list[Outcome]:
        """The outcomes of finished trials."""
        return [outcome for outcome in self.outcomes if outcome.mean is not None]

    @property
    def score(self) -> float:
        """The score of a configuration: the mean over seeds of the best evaluation."""
        points = [outcome.best_point for outcome in self.outcomes]
        known = [point.mean for point in points if point is not None]
        return float(np.mean(known)) if known else -float("inf")


def read_outcome(trial: Trial, seconds: Sequence[tuple[int, float]]) -> Outcome:
    """Return the outcome of `trial`; `seconds` are the seconds of training before each evaluation (step, seconds)."""
    try:
        curve = read_run(trial.run.folder)
    except (FileNotFoundError, ValueError):
        curve = []
    if trial.end != "finished":
        return Outcome(trial, trial.end or "unfinished", curve)
    result: dict[str, Any] = json.loads(trial.run.result.read_text())
    solved_step = result["solved_step"]
    return Outcome(
        trial,
        "finished",
        curve,
        mean=result["mean"],
        median=result["median"],
        worst=result["worst"],
        at_limit=result["at_limit"],
        solved_return=result["solved_return"],
        solved_step=solved_step,
        solved_seconds=dict(seconds).get(solved_step),
        training_seconds=seconds[-1][1] if seconds else None,
        env_id=result["env_id"],
    )


def groups_of(outcomes: Sequence[Outcome]) -> list[Group]:
    """Return the outcomes by configuration, in order."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.trial.group, []).append(outcome)
    return [
        Group(name, found[0].trial.settings, sorted(found, key=lambda outcome: outcome.trial.seed))
        for name, found in by_name.items()
    ]


def best_of(groups: Sequence[Group]) -> Group | None:
    """Return the configuration with the largest score, out of those with a finished seed; None if there is none."""
    return max((group for group in groups if group.finished), key=lambda group: group.score, default=None)


COLUMNS = (
    "configuration",
    "seeds",
    "mean",
    "median",
    "IQM",
    "95% interval",
    "worst",
    "time-outs",
    "solved",
    "steps",
    "seconds",
)
EXPLANATION = (
    "Each seed's best checkpoint plays held-out episodes. Mean, median and IQM (the interquartile mean) are over the "
    "seeds' mean returns; the interval holds 95% of 10,000 stratified bootstrap resamples of the IQM. Worst is the "
    "worst episode of all seeds, time-outs counts their episodes that lasted to the limit. Steps and seconds are the "
    "medians of those until the first evaluation at the threshold; evaluations take no part in the seconds."
)


def table_of(groups: Sequence[Group]) -> list[list[str]]:
    """Return a row for each configuration, the best first, with the columns in `COLUMNS`."""
    return [_row(group) for group in sorted(groups, key=lambda group: -group.score)]


def _row(group: Group) -> list[str]:
    finished = group.finished
    seeds = f"{len(finished)}" if len(finished) == len(group.outcomes) else f"{len(finished)} of {len(group.outcomes)}"
    if not finished:
        states = ", ".join(dict.fromkeys(outcome.state for outcome in group.outcomes))
        return [group.name, seeds, states, *[""] * (len(COLUMNS) - 3)]
    means = np.array([outcome.mean for outcome in finished], dtype=np.float64)
    low, high = interval(means)
    solved = [outcome.solved_step for outcome in finished if outcome.solved_step is not None]
    seconds = [outcome.solved_seconds for outcome in finished if outcome.solved_seconds is not None]
    return [
        group.name,
        seeds,
        format_mean(float(means.mean())),
        format_mean(float(np.median(means))),
        format_mean(float(interquartile_mean(means))),
        f"{format_mean(low)} to {format_mean(high)}",
        format_return(min(outcome.worst for outcome in finished if outcome.worst is not None)),
        str(sum(outcome.at_limit or 0 for outcome in finished)),
        "" if finished[0].solved_return is None else f"{len(solved)} of {len(finished)}",
        f"{np.median(solved):,.0f}" if solved else "",
        f"{np.median(seconds):.1f}" if seconds else "",
    ]


def format_table(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    """Return a table in aligned columns."""
    cells = [list(columns), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def write_results(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a row for each trial to results.csv."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.trial.settings))
    fields = ("state", "mean", "median", "worst", "at_limit", "solved_step", "solved_seconds", "training_seconds")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["configuration", "seed", *names, *fields, "best_evaluation", "best_step", "folder"])
    for outcome in outcomes:
        trial, best = outcome.trial, outcome.best_point
        writer.writerow(
            [
                trial.group,
                trial.seed,
                *(trial.settings.get(name, "") for name in names),
                *(getattr(outcome, name) for name in fields),
                *(("", "") if best is None else (best.mean, best.step)),
                trial.run.folder.relative_to(trial.folder),
            ]
        )
    with replacing(path) as file:
        file.write(text.getvalue().encode())


# More lines cannot be told apart.
_MOST_CURVES = 8


def draw_curves(groups: Sequence[Group], title: str, paths: Sequence[Path]) -> bool:
    """Draw the learning curves of the best configurations; return False if there is nothing to draw."""
    ranked = sorted(groups, key=lambda group: -group.score)[:_MOST_CURVES]
    curves = {group.name: [outcome.curve for outcome in group.outcomes if outcome.curve] for group in ranked}
    curves = {name: found for name, found in curves.items() if found and _overlap(found)}
    if not curves:
        return False
    thresholds = [outcome.solved_return for group in groups for outcome in group.finished]
    figure = draw_runs(curves, title=title, threshold=thresholds[0] if thresholds else None)
    for path in paths:
        save_figure(figure, path)
    return True


def _overlap(curves: Sequence[Sequence[CurvePoint]]) -> bool:
    return max(curve[0].step for curve in curves) <= min(curve[-1].step for curve in curves)
