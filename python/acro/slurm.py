"""Runs of SLURM jobs: a job that was requeued continues its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from acro.cli.runs import Run
from acro.storage.files import replacing

# Beside the run's config.yaml: which job it is of, and its command line.
_MARK = "slurm_job.txt"


def mark(run: Run, argv: Sequence[str]) -> None:
    """Write down that `run` is of this SLURM job; outside of one, nothing."""
    if SLURMEnvironment.detect():
        with replacing(run.folder / _MARK) as file:
            file.write(_describe(argv).encode())


def requeued_run(root: Path, name: str, argv: Sequence[str]) -> Run | None:
    """Return the run that this command of this SLURM job began before it was requeued, if it saved anything."""
    # SLURM counts from 1 after a requeue; before, an equal command of the same job is a run of its own.
    if not SLURMEnvironment.detect() or not int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        return None
    for run in Run.all(root, name):
        path = run.folder / _MARK
        if path.is_file() and path.read_text() == _describe(argv) and newest_checkpoint(run) is not None:
            return run
    return None


def newest_checkpoint(run: Run) -> Path | None:
    """Return what was saved last: `last.ckpt`, or what Lightning saved when SLURM asked for the requeue."""
    saved = [path for path in (run.last_checkpoint, *run.folder.glob("hpc_ckpt_*.ckpt")) if path.is_file()]
    return max(saved, key=lambda path: path.stat().st_mtime, default=None)


def _describe(argv: Sequence[str]) -> str:
    return "\n".join([f"job {os.environ['SLURM_JOB_ID']}", *argv, ""])
