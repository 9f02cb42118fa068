"""Runs with the same seed are identical; what only looks on changes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from runs import differences, last_checkpoint, train

from acro.callbacks.checkpointing import Interrupts, SaveBest
from acro.callbacks.curve import LearningCurve
from acro.callbacks.metrics_csv import MetricsCSV
from acro.callbacks.progress import TrainingProgress
from acro.evaluation import evaluate

EPOCHS = 2
LEARNED = ("state_dict", "optimizer_states", "lr_schedulers", "Experience", "global_step")


class Draw(L.Callback):
    """Draw from every global stream of randomness, all the time."""

    def _draw(self, *_: Any) -> None:
        torch.rand(3)
        np.random.random(3)  # noqa: NPY002
        random.random()

    on_train_start: Any = _draw
    on_train_epoch_start: Any = _draw
    on_train_batch_start: Any = _draw
    on_train_batch_end: Any = _draw
    on_validation_start: Any = _draw


class Evaluate(L.Callback):
    """Play an evaluation of one's own in the middle of an epoch."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx == 5:
            experience: Any = trainer.datamodule  # type: ignore[attr-defined] # set where fit is given one
            pl_module.eval()
            evaluate(pl_module, *experience.held_out_episodes())
            pl_module.train()


def learned(folder: Path) -> dict[str, Any]:
    """Return all of the last checkpoint that training goes on from."""
    checkpoint = last_checkpoint(folder)
    return {name: checkpoint[name] for name in LEARNED} | {"updates": checkpoint["dqn"]["updates"]}


@pytest.fixture(scope="module", params=[False, True], ids=["uniform", "prioritized"])
def prioritized(request: pytest.FixtureRequest) -> bool:
    """How the memory is sampled."""
    return bool(request.param)


@pytest.fixture(scope="module")
def plain(prioritized: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of nothing but training."""
    folder = tmp_path_factory.mktemp("plain")
    train(folder, epochs=EPOCHS, data={"prioritized": prioritized})
    return folder


def test_same_seed_gives_the_same_run(prioritized: bool, plain: Path, tmp_path: Path) -> None:
    train(tmp_path, epochs=EPOCHS, data={"prioritized": prioritized})

    assert differences(last_checkpoint(plain), last_checkpoint(tmp_path)) == []


ONLOOKERS: dict[str, Any] = {
    "metrics.csv": lambda folder: {"logger": [MetricsCSV(folder, "csv", "version_0")]},
    "TensorBoard": lambda folder: {"logger": [TensorBoardLogger(folder)]},
    "a progress bar": lambda folder: {"enable_progress_bar": True, "callbacks": (TrainingProgress(),)},
    "acro's callbacks": lambda folder: {
        "callbacks": (LearningCurve(), Interrupts(), SaveBest(folder / "best.ckpt")),
        "logger": [MetricsCSV(folder, "csv", "version_0")],
    },
    "Lightning's callbacks": lambda folder: {
        "callbacks": (Timer(), LearningRateMonitor()),
        "logger": [TensorBoardLogger(folder)],
    },
    "global draws": lambda folder: {"callbacks": (Draw(),)},
    "evaluation in mid-epoch": lambda folder: {"callbacks": (Evaluate(),)},
    "more episodes": lambda folder: {"data": {"eval_episodes": 7}},
    "fewer evaluations": lambda folder: {"check_val_every_n_epoch": 2},
    "no evaluation": lambda folder: {"limit_val_batches": 0},
    "a sanity check": lambda folder: {"num_sanity_val_steps": 1},
    "a profiler": lambda folder: {"profiler": "simple"},
}


@pytest.mark.parametrize("name", ONLOOKERS)
def test_onlooker_changes_nothing(name: str, prioritized: bool, plain: Path, tmp_path: Path) -> None:
    settings = ONLOOKERS[name](tmp_path)
    data = {"prioritized": prioritized, **settings.pop("data", {})}
    train(tmp_path, epochs=EPOCHS, data=data, log_every_n_steps=1, **settings)

    assert differences(learned(plain), learned(tmp_path)) == []


def test_seed_of_the_experience_alone_reproduces_a_run(tmp_path: Path) -> None:
    ends: list[dict[str, Any]] = []
    for global_seed in (1, 2):
        folder = tmp_path / str(global_seed)
        folder.mkdir()
        train(folder, epochs=EPOCHS, seed=global_seed, data={"seed": 3})
        ends.append(last_checkpoint(folder))

    first, second = ends
    assert differences(first, second) == []
