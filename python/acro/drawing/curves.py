"""Draws learning curves of one run or several."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acro.formatting import format_mean
from acro.storage.files import replacing
from acro.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches at 100 dots are a README's pixels; the file has twice as many for high-resolution screens.
_SIZE_INCHES = (8.0, 4.5)
_DOTS_PER_INCH = 200
# Of the legend's text; a longer legend makes the figure higher.
_ROW_INCHES, _MOST_ROWS, _LETTERS_SIDE_BY_SIDE = 0.2, 3, 96
_SUFFIXES = (".png", ".svg", ".pdf")
_RESAMPLES = 2_000
_MEAN, _TRAINING, _THRESHOLD, _BEST = "tab:blue", "0.6", "tab:green", "tab:red"


class CurvePoint(NamedTuple):
    """The undiscounted returns of an evaluation's episodes, after `step` environment steps."""

    step: int
    mean: float
    p10: float
    p90: float


# A window short enough to show learning that takes a few hundred episodes.
RUNNING_MEAN_EPISODES = 20


def draw_run(
    points: Sequence[CurvePoint],
    *,
    title: str,
    threshold: float | None = None,
    training: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> Figure:
    """Draw one run: its evaluations with a band and the best one marked, and training episodes with a running mean.

    Args:
        points: The evaluations, in order of their steps.
        title: The picture's title.
        threshold: The mean return from which on the task counts as solved.
        training: Environment steps at which training episodes ended, and their returns.
    """
    figure, axes = _axes(title)
    steps, mean, low, high = np.array(points, dtype=np.float64).reshape(-1, 4).T
    if len(training[0]):
        axes.plot(*training, ".", color=_TRAINING, alpha=0.4, markersize=3, rasterized=True, label="training episodes")
        axes.plot(
            training[0],
            _running_mean(training[1]),
            color=_TRAINING,
            linewidth=1.2,
            label=f"training, mean of the last {RUNNING_MEAN_EPISODES} episodes",
        )
    axes.fill_between(
        steps, low, high, color=_MEAN, alpha=0.25, linewidth=0, label="evaluation, 10th to 90th percentile"
    )
    axes.plot(steps, mean, color=_MEAN, marker=_marker(points), label="evaluation, mean")
    _mark_threshold(axes, threshold)
    if points:
        # Of equal ones the last, whose weights best.ckpt has.
        best = max(reversed(points), key=lambda point: point.mean)
        label = f"best mean: {format_mean(best.mean)} at step {best.step:,}"
        axes.plot(best.step, best.mean, "*", color=_BEST, markersize=11, linestyle="none", label=label)
    _add_legend(figure, axes)
    return figure


def _running_mean(returns: Sequence[float]) -> NDArray[np.float64]:
    """Return the running mean over up to 20 episodes."""
    sums = np.cumsum(np.concatenate([[0.0], returns]))
    last = np.arange(1, len(sums))
    first = np.maximum(last - RUNNING_MEAN_EPISODES, 0)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def draw_runs(groups: Mapping[str, Sequence[Sequence[CurvePoint]]], *, title: str, threshold: float | None) -> Figure:
    """Draw the mean over the runs of each group, with a bootstrap interval of that mean.

    Args:
        groups: By name, runs that only differ in their seeds.
        title: Above the picture.
        threshold: The mean return from which on the task counts as solved.
    """
    figure, axes = _axes(title)
    interval = "95% bootstrap interval over runs"
    for color, (name, runs) in zip(_colors(len(groups)), groups.items(), strict=True):
        steps, returns = _on_common_steps(runs)
        label = f"{name}: mean of {len(runs)} runs" if len(runs) > 1 else f"{name}: 1 run"
        axes.plot(steps, returns.mean(axis=0), color=color, marker=_marker(steps), label=label)
        if len(runs) > 1:
            low, high = bootstrap_interval(returns)
            axes.fill_between(steps, low, high, color=color, alpha=0.25, linewidth=0, label=interval)
            # Once in the legend.
            interval = ""
    _mark_threshold(axes, threshold)
    _add_legend(figure, axes)
    return figure


def _colors(count: int) -> Sequence[Any]:
    """Return colours that differ."""
    import matplotlib

    few = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined] # of a listed map
    return few[:count] if count <= len(few) else list(matplotlib.colormaps["turbo"](np.linspace(0.0, 1.0, count)))


def _marker(points: Sized) -> str | None:
    """Return the marker of a line that would hardly be seen without one."""
    return "." if len(points) < 3 else None


def bootstrap_interval(returns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 2.5th and 97.5th percentile, (points,), of the mean over resampled rows of (runs, points).

    The resampling is seeded: the same runs always give the same interval.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    draws = generator.integers(len(returns), size=(_RESAMPLES, len(returns)))
    # How often each run was drawn: resampled rows would need memory for runs x points x resamples.
    counts = np.stack([(draws == run).sum(axis=1) for run in range(len(returns))], axis=1)  # (resamples, runs)
    low, high = np.percentile(counts @ returns / len(returns), [2.5, 97.5], axis=0)
    return low, high


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write `figure` as PNG, SVG or PDF, by the suffix of `path`, completely or not at all.

    Raises:
        ValueError: `path` has another suffix.
        OSError: The file cannot be written.
    """
    import matplotlib

    check_picture(path)
    suffix = Path(path).suffix.lower()
    # Without a date and without random ids, so that the same curve gives the same file.
    metadata = {"CreationDate": None} if suffix == ".pdf" else {"Date": None} if suffix == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "acro"}), replacing(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=_DOTS_PER_INCH, metadata=metadata)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise a ValueError unless `path` ends in .png, .svg or .pdf."""
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{os.fspath(path)}: the names of pictures end in one of {', '.join(_SUFFIXES)}")


def read_run(folder: str | os.PathLike[str]) -> list[CurvePoint]:
    """Read the evaluations of a run from its metrics.csv.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or has no evaluation yet.
    """
    path = RunFolder(Path(folder)).metrics
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a run folder: it has no metrics.csv")
    names = ("step", "eval/return", "eval/return_p10", "eval/return_p90")
    with path.open(newline="") as file:
        try:
            rows = [[float(row[name]) for name in names] for row in csv.DictReader(file) if row.get("eval/return")]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged or not of acro: {error}") from error
    if not rows:
        raise ValueError(f"{path} holds no evaluation yet")
    return [CurvePoint(int(step), *returns) for step, *returns in rows]


def _on_common_steps(runs: Sequence[Sequence[CurvePoint]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steps (points,) that all runs have reached, and the runs' means at them (runs, points)."""
    first, last = max(run[0].step for run in runs), min(run[-1].step for run in runs)
    if first > last:
        raise ValueError(f"the runs share no environment steps: one begins at {first}, another ends at {last}")
    steps = np.unique([point.step for run in runs for point in run if first <= point.step <= last]).astype(np.float64)
    means = [np.interp(steps, [point.step for point in run], [point.mean for point in run]) for run in runs]
    return steps, np.array(means)


def _axes(title: str) -> tuple[Figure, Axes]:
    # Not pyplot, which keeps a global list of figures and chooses a window system.
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return of an episode (sum of rewards)")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Add a legend below the axes, where it covers no curve."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(3, len(labels), _LETTERS_SIDE_BY_SIDE // (max(map(len, labels)) + 5)))
    rows = -(-len(labels) // columns)
    width, height = _SIZE_INCHES
    figure.set_size_inches(width, height + _ROW_INCHES * max(0, rows - _MOST_ROWS))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9)


def _mark_threshold(axes: Axes, threshold: float | None) -> None:
    if threshold is not None:
        axes.axhline(threshold, color=_THRESHOLD, linestyle="--", linewidth=1, label=f"solved: {threshold:g}")
