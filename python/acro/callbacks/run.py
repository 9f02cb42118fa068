"""What callbacks ask of a run: its experience, its last evaluation, its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from acro.callbacks.metrics_csv import MetricsCSV
from acro.evaluation import Evaluation
from acro.experience import Experience


def experience_of(trainer: L.Trainer) -> Experience:
    """Return the run's data module."""
    return cast(Experience, cast(Any, trainer).datamodule)


def evaluation_of(module: L.LightningModule) -> Evaluation:
    """Return the module's last evaluation."""
    return cast(Evaluation, module.last_evaluation)


def is_training(trainer: L.Trainer) -> bool:
    """Whether an evaluation that ended is one of training, not of `validate` or of a sanity check."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def is_dry_run(trainer: L.Trainer) -> bool:
    """Whether the run is to leave no files: Lightning's `fast_dev_run`."""
    return bool(cast(Any, trainer).fast_dev_run)


def run_folder(trainer: L.Trainer) -> Path:
    """Return the folder of the run's files, created if it was missing.

    It is where a logger writes that keeps files a run, `MetricsCSV` before any other; else the Trainer's own.
    """
    # Not `trainer.log_dir`: with W&B first that is a folder of all runs, and often the current one.
    loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger | TensorBoardLogger)]
    loggers.sort(key=lambda logger: not isinstance(logger, MetricsCSV))
    folder = Path(loggers[0].log_dir if loggers else trainer.default_root_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
