"""`LearningCurve` draws every evaluation of a run, and a resumed run's curve is an uninterrupted one's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from PIL import Image
from runs import SMALL, last_checkpoint, train

from acro import DQN, Batch
from acro.callbacks.curve import LearningCurve
from acro.callbacks.metrics_csv import MetricsCSV
from acro.cli.parser import env_steps_of, rounds_of

ENV: dict[str, Any] = {"env_id": "CartPole-v1"}


def test_curve_is_drawn_into_the_run_folder_as_png_and_svg(tmp_path: Path) -> None:
    train(tmp_path, epochs=2, callbacks=(LearningCurve(),), **ENV)

    with Image.open(tmp_path / "learning_curve.png") as image:
        assert image.size == (1600, 900)
    assert (tmp_path / "learning_curve.svg").read_text().startswith("<?xml")


def test_points_are_the_evaluations_that_were_logged(tmp_path: Path) -> None:
    curve = LearningCurve()
    logger = MetricsCSV(tmp_path, name="run", version="version_0")

    train(tmp_path, epochs=3, callbacks=(curve,), logger=logger, log_every_n_steps=1, **ENV)

    with (tmp_path / "run" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("step", "eval/return", "eval/return_p10", "eval/return_p90")
    logged = [[float(row[name]) for name in names] for row in rows]
    assert [list(point) for point in curve.points] == [pytest.approx(row, rel=1e-6) for row in logged]
    assert curve.evaluations == [(point.step, point.mean) for point in curve.points]
    assert [step for step, _ in curve.evaluations] == [SMALL["steps_per_epoch"] * epoch for epoch in (1, 2, 3)]


class Logs(DQN):
    def training_step(self, batch: Batch, batch_idx: int = 0) -> None:
        super().training_step(batch, batch_idx)
        self.log("mine", float(self.updates))


def test_rows_that_a_subclass_logs_are_there_once_after_a_resume(tmp_path: Path) -> None:
    def rows(name: str, stops: list[int | None]) -> list[dict[str, str]]:
        resumed: tuple[int | None, int] = (None, 0)
        for stop in stops:
            logger = MetricsCSV(tmp_path, name, "version_0", resume_step=resumed[0], resume_round=resumed[1])
            (tmp_path / name).mkdir(exist_ok=True)
            settings: dict[str, Any] = {"epochs": 3, "logger": logger, "log_every_n_steps": 1, "kind": Logs, **ENV}
            train(tmp_path / name, resume=resumed[0] is not None, stop_after=stop, **settings)
            checkpoint = last_checkpoint(tmp_path / name)
            resumed = (env_steps_of(checkpoint), rounds_of(checkpoint))
        with (tmp_path / name / "version_0" / "metrics.csv").open() as file:
            return list(csv.DictReader(file))

    straight, stopped = rows("straight", [None]), rows("stopped", [13, None])
    assert [row["step"] for row in stopped] == [row["step"] for row in straight]
    assert [row["mine"] for row in stopped] == [row["mine"] for row in straight]


def test_resumed_run_draws_the_curve_of_an_uninterrupted_one(tmp_path: Path) -> None:
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", epochs=4, callbacks=(LearningCurve(),), **ENV)
    train(tmp_path / "stopped", epochs=4, stop_after=20, callbacks=(LearningCurve(),), **ENV)
    train(tmp_path / "stopped", epochs=4, resume=True, callbacks=(LearningCurve(),), **ENV)

    for name in ("learning_curve.png", "learning_curve.svg"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


def test_stopped_run_leaves_the_curve_so_far(tmp_path: Path) -> None:
    train(tmp_path, epochs=4, stop_after=20, callbacks=(LearningCurve(),), **ENV)

    assert (tmp_path / "learning_curve.png").is_file()


def test_run_stopped_before_its_first_evaluation_draws_nothing(tmp_path: Path) -> None:
    train(tmp_path, epochs=4, stop_after=2, callbacks=(LearningCurve(),), **ENV)

    assert not (tmp_path / "learning_curve.png").exists()


def test_validating_on_its_own_adds_no_point(tmp_path: Path) -> None:
    curve = LearningCurve()
    module, experience = train(tmp_path, epochs=1, callbacks=(curve,), **ENV)

    trainer = L.Trainer(
        accelerator="cpu", logger=False, callbacks=[curve], enable_progress_bar=False, enable_model_summary=False
    )
    trainer.validate(module, experience, verbose=False)

    assert len(curve.points) == 1
