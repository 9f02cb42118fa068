"""Shows a running sweep: a table in a terminal, otherwise a line for each change."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from acro.cluster.trials import Trial
from acro.formatting import format_mean

_REFRESH_SECONDS = 0.5
# Lines of the terminal that stay free above the table.
_SPARE_LINES = 6


@dataclass
class _Row:
    trial: Trial
    state: str = "waiting"
    steps: int | None = None
    mean: float | None = None
    changed: int = 0

    @property
    def name(self) -> str:
        return f"{self.trial.group}/{self.trial.run.folder.name}"


class TrialTable:
    """Shows the steps, the last evaluation and the state of every trial.

    Args:
        trials: The trials that are known beforehand; those of a search are added when they begin.
        stream: The output; None for stderr.
    """

    def __init__(self, trials: Sequence[Trial] = (), stream: TextIO | None = None) -> None:
        # Tune pickles its callbacks, and a stream cannot be pickled.
        self._own_stream = stream
        self._live = self._stream.isatty()
        self._rows: dict[str, _Row] = {}
        self._changes = 0
        self._drawn_lines = 0
        self._drawn_at = 0.0
        for trial in trials:
            self._row(trial).state = trial.end or "waiting"

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._own_stream is None else self._own_stream

    @property
    def running(self) -> int:
        """The number of running trials."""
        return sum(row.state == "running" for row in self._rows.values())

    def start(self, trial: Trial) -> None:
        """Show that a trial begins, or continues on another machine."""
        if trial.end != "finished":
            self._change(trial, "running")

    def evaluate(self, trial: Trial, steps: int, mean: float) -> None:
        """Show a trial's evaluation."""
        row = self._row(trial)
        row.steps, row.mean = steps, mean
        self._draw()

    def lose(self, trial: Trial) -> None:
        """Show that a trial's process or machine was lost; it will continue from its checkpoint."""
        self._change(trial, "lost, goes on")

    def end(self, trial: Trial) -> None:
        """Show that a trial has ended."""
        self._change(trial, trial.end or "stopped")

    def close(self) -> None:
        """Show the last state."""
        self._draw(force=True)
        self._drawn_lines = 0

    def _row(self, trial: Trial) -> _Row:
        return self._rows.setdefault(f"{trial.group}/{trial.seed}", _Row(trial))

    def _change(self, trial: Trial, state: str) -> None:
        row = self._row(trial)
        if row.state == state:
            return
        self._changes += 1
        row.state, row.changed = state, self._changes
        if self._live:
            self._draw()
        else:
            self._print(f"{row.name} · {_steps(row)} · {_mean(row)} · {state}\n")

    def _draw(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not self._live or (now - self._drawn_at < _REFRESH_SECONDS and not force):
            return
        columns, lines = shutil.get_terminal_size()
        text = self.text(max(lines - _SPARE_LINES, 3))
        shown = [line[: columns - 1] for line in text.splitlines()]
        # Move the cursor up, and clear the last drawing.
        back = f"\x1b[{self._drawn_lines}A\x1b[J" if self._drawn_lines else ""
        self._print(back + "".join(f"{line}\n" for line in shown))
        self._drawn_lines, self._drawn_at = len(shown), now

    def text(self, most: int) -> str:
        """Return the table with at most `most` trials: the running ones first, then the last changed ones."""
        order = {"running": 0, "lost, goes on": 0, "waiting": 2}
        rows = sorted(self._rows.values(), key=lambda row: (order.get(row.state, 1), -row.changed))[:most]
        kept = [row for row in self._rows.values() if row in rows]
        width = max((len(row.name) for row in kept), default=5)
        lines = [f"{'trial':<{width}}  {'steps':>9}  {'evaluation':>10}  state"]
        for row in kept:
            steps = "" if row.steps is None else f"{row.steps:,}"
            mean = "" if row.mean is None else format_mean(row.mean)
            lines.append(f"{row.name:<{width}}  {steps:>9}  {mean:>10}  {row.state}")
        counts: dict[str, int] = {}
        for row in self._rows.values():
            counts[row.state] = counts.get(row.state, 0) + 1
        lines.append(f"{len(self._rows)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
        return "\n".join(lines)

    def _print(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The output was closed; the trials continue.
            self._live = False


def _steps(row: _Row) -> str:
    return "not begun" if row.steps is None else f"step {row.steps:,}"


def _mean(row: _Row) -> str:
    return "not evaluated yet" if row.mean is None else f"eval {format_mean(row.mean)}"
