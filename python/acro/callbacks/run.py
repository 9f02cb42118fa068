"""What callbacks need of a run: its experience, its last evaluation, its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from acro.callbacks.metrics_csv import MetricsCSV
from acro.evaluation import Evaluation
from acro.experience.datamodule import Experience


def experience_of(trainer: L.Trainer) -> Experience:
    """Return the run's data module."""
    return cast(Experience, cast(Any, trainer).datamodule)


def evaluation_of(module: L.LightningModule) -> Evaluation:
    """Return the module's last evaluation."""
    return cast(Evaluation, module.last_evaluation)


def is_training(trainer: L.Trainer) -> bool:
    """Whether the current evaluation belongs to training, not to `validate` or a sanity check."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def is_dry_run(trainer: L.Trainer) -> bool:
    """Whether the run must leave no files (Lightning's `fast_dev_run`)."""
    return bool(cast(Any, trainer).fast_dev_run)


def run_folder(trainer: L.Trainer) -> Path:
    """Return the folder of the run's files, and make it if it is missing.

    It is the folder of `MetricsCSV`, else of another logger that has one for each run, else the Trainer's.
    """
    # Not `trainer.log_dir`: if W&B is the first logger, that folder is shared by all runs.
    loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger | TensorBoardLogger)]
    loggers.sort(key=lambda logger: not isinstance(logger, MetricsCSV))
    folder = Path(loggers[0].log_dir if loggers else trainer.default_root_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
