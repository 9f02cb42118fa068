"""Pictures land where the other files of the run are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from acro.callbacks.metrics_csv import MetricsCSV
from acro.callbacks.run import run_folder


def wandb(folder: Path) -> Logger:
    return WandbLogger(save_dir=folder / "all_runs", offline=True)


def metrics(folder: Path) -> Logger:
    return MetricsCSV(folder, name="run", version="version_0")


def tensorboard(folder: Path) -> Logger:
    return TensorBoardLogger(folder / "logs", name="own", version="version_3")


def plain_csv(folder: Path) -> Logger:
    return CSVLogger(folder / "logs", name="own", version="version_3")


@pytest.mark.parametrize(
    ("makers", "expected"),
    [
        ((), "root"),
        ((wandb,), "root"),
        ((tensorboard,), "logs/own/version_3"),
        ((wandb, plain_csv), "logs/own/version_3"),
        ((tensorboard, metrics), "run/version_0"),
    ],
)
def test_pictures_land_in_the_run_folder_whatever_the_loggers(
    makers: tuple[Callable[[Path], Logger], ...], expected: str, tmp_path: Path
) -> None:
    loggers = [make(tmp_path) for make in makers]
    trainer: Any = SimpleNamespace(loggers=loggers, default_root_dir=str(tmp_path / "root"))

    assert run_folder(trainer) == tmp_path / expected
    assert (tmp_path / expected).is_dir()
