"""Run folders: `<root>/<name>/version_N`, one a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"version_(\d+)")


@dataclass(frozen=True)
class Run:
    """Where a run's files are."""

    root: Path
    name: str
    version: str

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.root / self.name / self.version

    @property
    def config(self) -> Path:
        """Every setting of the run."""
        return self.folder / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """What a resumed run continues from."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The weights of the best evaluation so far, without the replay memory."""
        return self.folder / "checkpoints" / "best.ckpt"

    @classmethod
    def new(cls, root: Path, name: str) -> Run:
        """Return the run after the newest under `root`; nothing is created."""
        return cls(root, name, f"version_{max(_versions(root / name), default=-1) + 1}")

    @classmethod
    def all(cls, root: Path, name: str) -> list[Run]:
        """Return the runs under `root`, the newest first."""
        return [cls(root, name, f"version_{version}") for version in sorted(_versions(root / name), reverse=True)]

    @classmethod
    def newest(cls, root: Path, name: str) -> Run:
        """Return the newest run under `root` that has a checkpoint to continue from.

        Raises:
            FileNotFoundError: There is none.
        """
        for run in cls.all(root, name):
            if run.last_checkpoint.is_file():
                return run
        raise FileNotFoundError(f"--ckpt_path last: no run under {root / name} has a checkpoint; start one without it")

    @classmethod
    def of_checkpoint(cls, path: Path) -> Run | None:
        """Return the run whose `checkpoints/` folder holds `path`; None where it stands somewhere else."""
        folder = path.resolve().parent.parent
        run = cls(folder.parent.parent, folder.parent.name, folder.name)
        return run if run.config.is_file() and path.resolve().parent.name == "checkpoints" else None

    def remove_leftovers(self) -> None:
        """Delete the temporary files of saves that a killed process did not finish."""
        for leftover in self.folder.glob("**/.*.tmp"):
            leftover.unlink()


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(match[1]) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name)) and path.is_dir()]
