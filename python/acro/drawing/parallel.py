"""Draws parallel coordinates, which show the settings of a search that did well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES_AN_AXIS, _HEIGHT_INCHES = 1.9, 4.2


class ParallelAxis(NamedTuple):
    """A setting and its value on each line, as typed."""

    name: str
    values: Sequence[str]
    is_logarithmic: bool


def draw_parallel(axes: Sequence[ParallelAxis], scores: Sequence[float]) -> Figure:
    """Draw a line for each configuration through its settings to its score; the best are in front and brightest.

    Args:
        axes: The settings, from left to right.
        scores: The score of each configuration.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    places = [_place(axis.values, axis.is_logarithmic) for axis in axes]
    drawn = np.array(scores, dtype=np.float64)
    low, high = float(drawn.min()), float(drawn.max())
    score_places = (drawn - low) / ((high - low) or 1.0)
    # Colours follow ranks: scores have long tails, and one bad trial would make all others look alike.
    ranks = np.argsort(np.argsort(drawn, kind="stable"), kind="stable") / max(len(drawn) - 1, 1)
    figure = Figure(figsize=(_INCHES_AN_AXIS * (len(axes) + 1), _HEIGHT_INCHES), layout="constrained")
    plot = figure.add_subplot()
    colours = ScalarMappable(Normalize(0.0, 1.0), "viridis")
    lines = np.stack([*(place.at for place in places), score_places], axis=1)  # (configurations, axes + 1)
    for index in np.argsort(drawn, kind="stable"):
        plot.plot(lines[index], color=colours.to_rgba(ranks[index]), alpha=0.35 + 0.65 * ranks[index], linewidth=1.5)
    for index, place in enumerate([*places, _Place(score_places, [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")])]):
        plot.axvline(index, color="0.7", linewidth=1, zorder=0)
        for height, text in place.ticks:
            plot.annotate(text, (index, height), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
    plot.set_xticks(range(len(axes) + 1), [*(axis.name.rpartition(".")[2] for axis in axes), "evaluation"])
    plot.set_yticks([])
    plot.set_ylim(-0.06, 1.06)
    plot.spines[["left", "right", "top", "bottom"]].set_visible(False)
    return figure


class _Place(NamedTuple):
    at: NDArray[np.float64]  # (configurations,), from 0 to 1
    ticks: list[tuple[float, str]]


def _place(values: Sequence[str], is_logarithmic: bool) -> _Place:
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        kinds = list(dict.fromkeys(values))
        span = max(len(kinds) - 1, 1)
        return _Place(
            np.array([kinds.index(value) / span for value in values], dtype=np.float64),
            [(index / span, kind) for index, kind in enumerate(kinds)],
        )
    scaled = np.log(numbers) if is_logarithmic and (numbers > 0).all() else numbers
    low, high = float(scaled.min()), float(scaled.max())
    at = (scaled - low) / ((high - low) or 1.0)
    ends = dict.fromkeys([(float(at.min()), f"{numbers.min():.3g}"), (float(at.max()), f"{numbers.max():.3g}")])
    return _Place(at, list(ends))
