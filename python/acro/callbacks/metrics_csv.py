"""Writes `metrics.csv`: a row per evaluation, the same whether the run was resumed or not."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger

from acro.storage.files import replacing
from acro.storage.run_folder import RunFolder

logger = logging.getLogger(__name__)


class MetricsCSV(CSVLogger):
    """Lightning's CSVLogger, but a resumed run keeps its rows, and the file is whole at every instant.

    Args:
        save_dir: The root folder; the file is `<save_dir>/<name>/<version>/metrics.csv`.
        name: The run's name.
        version: The run's version.
        resume_step: Keep the file up to the last evaluation before or at this environment step; None starts a new file.
        resume_round: Keep what a subclass's `training_step` has logged after that, and before this round.
    """

    def __init__(
        self, save_dir: str | Path, name: str, version: str, *, resume_step: int | None = None, resume_round: int = 0
    ) -> None:
        super().__init__(save_dir, name=name, version=version)
        self._resume_step, self._resume_round = resume_step, resume_round
        self._rows: _Rows | None = None

    @property
    def experiment(self) -> Any:
        """The rows of the file; CSVLogger's own writer would delete them."""
        if self._rows is None:
            self._rows = _Rows(RunFolder(Path(self.log_dir)).metrics, self._resume_step, self._resume_round)
        return self._rows

    def save(self) -> None:
        """Rewrite the file if there is a new row."""
        self.experiment.save()


class _Rows:
    def __init__(self, path: Path, resume_step: int | None, resume_round: int) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._changed = False
        if resume_step is not None and path.exists():
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            kept = [i for i, row in enumerate(rows) if row.get("eval/return") and int(row["step"]) <= resume_step]
            # In the order in which they were logged: all until that evaluation, and what was logged since.
            end = kept[-1] + 1 if kept else 0
            since = (row for row in rows[end:] if not row.get("eval/return") and int(row["step"]) < resume_round)
            self.rows = [*rows[:end], *since]
            self._changed = True

    def log_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        # The held-out episodes are in result.json; here they would add a row.
        if any(name.startswith("test/") for name in metrics):
            return
        # Lightning's metrics are 32-bit, so more digits are noise. Times differ between equal runs.
        kept = {name: str(np.float32(value)) for name, value in metrics.items() if not name.startswith("time/")}
        self.rows.append({"step": step, **kept})
        self._changed = True

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Do nothing: the run's config.yaml has every setting."""

    def save(self) -> None:
        if not self._changed:
            return
        names = sorted({name for row in self.rows for name in row} - {"step"})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=["step", *names], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                file.write(text.getvalue().encode())
        except OSError as error:
            # The next save writes these rows too.
            logger.warning("cannot write %s, and training goes on: %s", self.path, error)
            return
        self._changed = False
