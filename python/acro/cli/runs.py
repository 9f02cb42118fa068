"""Run folders: `<root>/<name>/version_N`, one for each run, written by one process."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from acro.storage.run_folder import RunFolder

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"version_(\d+)")
_LOCK = ".lock"
# The seed, and settings that do not change what a run computes: runs of one experiment may differ in them.
_INCOMPARABLE = {
    "ckpt_path",
    "data.collectors",
    "config",
    "debug",
    "gif",
    "name",
    "preset",
    "seed_everything",
    "torch_threads",
    "trust_config",
    "trainer.callbacks",
    "trainer.default_root_dir",
    "trainer.enable_checkpointing",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.profiler",
}


@dataclass(frozen=True)
class Run(RunFolder):
    """A run's folder, as commands make and lock it."""

    made: tuple[Path, ...] = ()
    """Folders above the run's own that were made for it."""

    @property
    def root(self) -> Path:
        """The folder of all runs."""
        return self.folder.parent.parent

    @property
    def name(self) -> str:
        """The name that the run shares with others."""
        return self.folder.parent.name

    @property
    def version(self) -> str:
        """The name of the run's own folder."""
        return self.folder.name

    @classmethod
    def new(cls, root: Path, name: str) -> Run:
        """Make the folder of the next run under `root`; no other process can get the same one.

        Raises:
            OSError: The folder cannot be made.
        """
        parent = root / name
        made = tuple(path for path in (parent, *parent.parents) if not path.exists())
        while True:
            run = cls(parent / f"version_{max(_versions(parent), default=-1) + 1}", made)
            try:
                run.folder.mkdir(parents=True)
            except FileExistsError:
                if not parent.is_dir():
                    raise
            else:
                return run

    @classmethod
    def newest(cls, root: Path, name: str) -> Run:
        """Return the newest run under `root` that has a checkpoint to continue from.

        Raises:
            FileNotFoundError: There is no such run.
        """
        for version in sorted(_versions(root / name), reverse=True):
            run = cls(root / name / f"version_{version}")
            if run.last_checkpoint.is_file():
                return run
        raise FileNotFoundError(f"--ckpt_path last: no run under {root / name} has a checkpoint; start one without it")

    @classmethod
    def of_checkpoint(cls, path: Path) -> Run | None:
        """Return the run whose `checkpoints/` folder has `path` in it; None if it is elsewhere."""
        run = cls(path.resolve().parent.parent)
        return run if run.config.is_file() and path.resolve().parent.name == "checkpoints" else None

    def lock(self) -> BaseFileLock:
        """Lock the folder against other processes until the lock is released or this process ends.

        Raises:
            BlockingIOError: Another process has the lock.
        """
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise BlockingIOError(f"another process trains in {self.folder}; wait for it or stop it first") from error
        except NotImplementedError:
            logger.warning("%s: this filesystem knows no locks; take care that one process writes here", self.folder)
        return lock

    def discard(self) -> None:
        """Remove the folder if it is empty, and the folders above that were made for it."""
        if {path.name for path in self.folder.glob("*")} <= {_LOCK}:
            with contextlib.suppress(OSError):
                (self.folder / _LOCK).unlink(missing_ok=True)
                for folder in (self.folder, *self.made):
                    folder.rmdir()

    def clear(self) -> None:
        """Delete the files of an attempt that never saved a checkpoint; the lock must be held."""
        for path in self.folder.glob("*"):
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove_leftovers(self) -> None:
        """Delete the temporary files of saves that a killed process did not finish."""
        for leftover in self.folder.glob("**/.*.tmp"):
            leftover.unlink()


def folder_name(env_id: str) -> str:
    """Return an environment's id as a folder's name: acro/Acrobot-v1 -> acro-Acrobot-v1."""
    return env_id.replace("/", "-").replace(":", "-")


def comparable_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by dotted name, the settings that are the same for all seeds of an experiment."""
    return {name: value for name, value in _flat(config).items() if name not in _INCOMPARABLE}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(match[1]) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name)) and path.is_dir()]
