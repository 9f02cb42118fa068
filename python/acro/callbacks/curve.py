"""Draws the learning curve of a run."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger

from acro import envs
from acro.callbacks.pictures import log_picture
from acro.callbacks.run import evaluation_of, experience_of, is_dry_run, is_training, run_folder
from acro.drawing.curves import CurvePoint, draw_run, save_figure
from acro.envs.facts import reward_threshold

_messages = logging.getLogger(__name__)


class LearningCurve(L.Callback):
    """Draw `learning_curve.png` and `.svg` in the run's folder, from time to time and when training ends.

    TensorBoard's hyper-parameters get the mean return of the held-out episodes, as `hp_metric`.
    """

    # Drawing takes about as long as an epoch of Acrobot.
    REDRAW_SECONDS = 30.0

    def __init__(self) -> None:
        self.points: list[CurvePoint] = []
        self._drawn_at = 0.0
        self._drawn_points = 0

    @property
    def evaluations(self) -> list[tuple[int, float]]:
        """The environment steps and the mean return of every evaluation so far."""
        return [(point.step, point.mean) for point in self.points]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, so that a short run is drawn only once."""
        self._drawn_at, self._drawn_points = time.monotonic(), 0

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the evaluation to the curve."""
        if not is_training(trainer):
            return
        evaluation = evaluation_of(pl_module)
        low, high = np.percentile(evaluation.returns, [10, 90])
        self.points.append(CurvePoint(experience_of(trainer).env_steps, evaluation.mean, float(low), float(high)))
        if time.monotonic() - self._drawn_at >= self.REDRAW_SECONDS:
            self._draw(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the whole curve and log it."""
        if not self.points or is_dry_run(trainer):
            return
        folder = self._draw(trainer)
        if folder is not None:
            log_picture(trainer, "learning_curve", folder / "learning_curve.png", self.points[-1].step)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the settings with the mean return of the held-out episodes."""
        hyperparameters = {**experience_of(trainer).hparams, **pl_module.hparams}
        mean = evaluation_of(pl_module).mean
        step = self.points[-1].step if self.points else 0
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(hyperparameters, {"hp_metric": mean}, step)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Draw the curve of a run that was stopped."""
        if self._drawn_points != len(self.points):
            self._draw(trainer)

    def _draw(self, trainer: L.Trainer) -> Path | None:
        """Draw the curve; return its folder, or None if there is nothing to draw or the disk fails."""
        experience = experience_of(trainer)
        if is_dry_run(trainer) or experience.collector is None:
            return None
        episodes = experience.collector.episodes
        figure = draw_run(
            self.points,
            title=envs.name_of(experience.eval_env),
            threshold=reward_threshold(experience.eval_env),
            training=(episodes.end_steps, episodes.returns),
        )
        try:
            folder = run_folder(trainer)
            for suffix in (".png", ".svg"):
                save_figure(figure, folder / f"learning_curve{suffix}")
        except OSError as error:
            _messages.warning("cannot draw the learning curve, and the run goes on: %s", error)
            return None
        finally:
            self._drawn_at, self._drawn_points = time.monotonic(), len(self.points)
        return folder

    def state_dict(self) -> dict[str, Any]:
        """Return the points as plain numbers."""
        return {"points": [list(point) for point in self.points]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curve of a resumed run."""
        self.points = [CurvePoint(int(step), *returns) for step, *returns in state_dict["points"]]
