"""Writes `seconds.csv`: the seconds of training before each evaluation."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import lightning as L

from acro.callbacks.run import experience_of, is_training
from acro.storage.files import replacing


class TrainingClock(L.Callback):
    """Write the seconds of training before each evaluation; the time of evaluations does not count.

    Seconds are not part of checkpoints, which are the same to the bit on every machine. A resumed run continues
    from the file.

    Args:
        path: The file.
        resume_step: Keep its rows up to this environment step; None starts a new file.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        self.path = path
        self._rows = [] if resume_step is None else [row for row in read_seconds(path) if row[0] <= resume_step]
        self._seconds = self._rows[-1][1] if self._rows else 0.0
        self._began = 0.0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clock, so that making the environments counts."""
        self._began = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        if is_training(trainer):
            self._seconds += time.perf_counter() - self._began

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the evaluation's row, and start the clock again."""
        if not is_training(trainer):
            return
        self._rows.append((experience_of(trainer).env_steps, self._seconds))
        text = "".join(f"{step},{seconds:.3f}\n" for step, seconds in self._rows)
        with replacing(self.path) as file:
            file.write(f"step,seconds\n{text}".encode())
        self._began = time.perf_counter()


def read_seconds(path: Path) -> list[tuple[int, float]]:
    """Return, for a run's evaluations, the environment steps and the seconds of training before them."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [(int(row["step"]), float(row["seconds"])) for row in csv.DictReader(file)]
