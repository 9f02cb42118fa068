"""Where the files of a run are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run's files."""

    folder: Path
    """The run's own folder."""

    @property
    def config(self) -> Path:
        """All settings of the run."""
        return self.folder / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint that a resumed run continues from."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint of the best evaluation so far, without the replay memory."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def metrics(self) -> Path:
        """A row for every evaluation."""
        return self.folder / "metrics.csv"

    @property
    def result(self) -> Path:
        """The returns of the held-out episodes; only a finished run has it."""
        return self.folder / "result.json"

    @property
    def seconds(self) -> Path:
        """In a sweep, the training time until each epoch's end."""
        return self.folder / "seconds.csv"

    @property
    def error(self) -> Path:
        """In a sweep, the traceback of a run that failed."""
        return self.folder / "error.txt"

    @property
    def stopped_early(self) -> Path:
        """In a sweep, the empty file that marks a run which did worse than others."""
        return self.folder / "stopped_early"
