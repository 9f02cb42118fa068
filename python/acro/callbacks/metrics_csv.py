"""`metrics.csv`: a row per evaluation, the same after a resume as without one."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger

from acro.storage.files import replacing

logger = logging.getLogger(__name__)


class MetricsCSV(CSVLogger):
    """Lightning's CSVLogger, but a resumed run keeps the rows it had, and the file is whole at every instant.

    Args:
        save_dir: As CSVLogger's, like `name` and `version`: the file is `<save_dir>/<name>/<version>/metrics.csv`.
        name: The run's name.
        version: The run's version.
        resume_step: Keep the file's rows up to this environment step; None starts a new file.
    """

    def __init__(self, save_dir: str | Path, name: str, version: str, *, resume_step: int | None = None) -> None:
        super().__init__(save_dir, name=name, version=version)
        self._resume_step = resume_step
        self._rows: _Rows | None = None

    @property
    def experiment(self) -> Any:
        """The rows of the file, in place of CSVLogger's writer, which would delete them."""
        if self._rows is None:
            self._rows = _Rows(Path(self.log_dir) / "metrics.csv", self._resume_step)
        return self._rows

    def save(self) -> None:
        """Write the file anew if there is a new row."""
        self.experiment.save()


class _Rows:
    def __init__(self, path: Path, resume_step: int | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._changed = False
        if resume_step is not None and path.exists():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_step]
            self._changed = True

    def log_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        # What the held-out episodes returned is in result.json: here it would be one more row.
        if any(name.startswith("test/") for name in metrics):
            return
        # Lightning's metrics are 32-bit numbers: more digits would be noise. Times differ from run to run.
        kept = {name: str(np.float32(value)) for name, value in metrics.items() if not name.startswith("time/")}
        self.rows.append({"step": step, **kept})
        self._changed = True

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Nothing: the run's config.yaml holds every setting."""

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
            # The next save has these rows too.
            logger.warning("cannot write %s, and training goes on: %s", self.path, error)
            return
        self._changed = False
