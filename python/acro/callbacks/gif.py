"""GIFs of the policy while it learns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from acro.callbacks.pictures import log_picture, run_folder
from acro.drawing.episodes import render_episodes
from acro.drawing.strip import join_side_by_side
from acro.evaluation import Episodes, Evaluation

logger = logging.getLogger(__name__)


class RenderGif(L.Callback):
    """Draw episodes of evaluations as `gifs/epoch_N.gif` in the run's folder, and how the policy improved.

    The first evaluation and the last are always drawn. At the end `progress.gif` shows the first, the middle and
    the last one side by side. The environment is one of its own, and training ends with the same weights without
    this callback. Where an environment cannot be drawn, one warning says why, and training goes on.

    Args:
        every_n_epochs: Epochs between GIFs.
        episodes: Of one evaluation in one GIF, one after another: the median one; or from the worst to the best.
        fps: Steps shown in a second; None takes the environment's own time step.
    """

    def __init__(self, every_n_epochs: int = 10, episodes: int = 1, fps: float | None = None) -> None:
        for name, value in {"every_n_epochs": every_n_epochs, "episodes": episodes}.items():
            if value < 1:
                raise ValueError(f"RenderGif({name}={value}): {name} must be at least 1, got {value}")
        if fps is not None and not fps > 0:
            raise ValueError(f"RenderGif(fps={fps}): fps must be above 0, got {fps}")
        self.every_n_epochs = every_n_epochs
        self.episodes = episodes
        self.fps = fps
        self._drawn_epochs: list[int] = []
        self._is_broken = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the evaluation, if it is its turn."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        epoch = trainer.current_epoch
        if not self._drawn_epochs or (epoch + 1) % self.every_n_epochs == 0:
            self._draw_epoch(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the last evaluation and the strip."""
        # `current_epoch` counts the finished ones now.
        if pl_module.last_evaluation is not None and trainer.current_epoch - 1 not in self._drawn_epochs:
            self._draw_epoch(trainer, pl_module, trainer.current_epoch - 1)
        self._draw_strip(trainer)

    def _draw_epoch(self, trainer: L.Trainer, pl_module: L.LightningModule, epoch: int | None = None) -> None:
        epoch = trainer.current_epoch if epoch is None else epoch
        experience: Any = trainer.datamodule  # type: ignore[attr-defined]
        evaluation: Any = pl_module.last_evaluation
        episodes = Episodes(experience.env_id, len(evaluation.returns), evaluation.seed, experience.env_kwargs)

        def draw() -> Path:
            path = _path(trainer, epoch)
            path.parent.mkdir(exist_ok=True)
            render_episodes(
                episodes,
                evaluation,
                choose_episodes(evaluation, self.episodes),
                path,
                caption=f"after {experience.env_steps:,} steps",
                fps=self.fps,
            )
            return path

        if self._try(trainer, "policy", experience.env_steps, draw):
            self._drawn_epochs.append(epoch)

    def _draw_strip(self, trainer: L.Trainer) -> None:
        # A resumed run may write into another folder than the one that has its first GIFs.
        existing = [epoch for epoch in self._drawn_epochs if _path(trainer, epoch).is_file()]
        if len(existing) < 2:
            return
        middle = min(existing, key=lambda epoch: abs(epoch - (existing[0] + existing[-1]) / 2))
        chosen = [_path(trainer, epoch) for epoch in sorted({existing[0], middle, existing[-1]})]

        def draw() -> Path:
            path = run_folder(trainer) / "progress.gif"
            join_side_by_side(chosen, path)
            return path

        self._try(trainer, "progress", trainer.datamodule.env_steps, draw)  # type: ignore[attr-defined]

    def _try(self, trainer: L.Trainer, name: str, step: int, draw: Callable[[], Path]) -> bool:
        """Draw and log a picture unless drawing has failed before; return whether it was drawn."""
        if self._is_broken or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        try:
            path = draw()
        except (ImportError, OSError, ValueError) as error:
            self._is_broken = True
            logger.warning("RenderGif draws no GIFs: %s", error)
            return False
        log_picture(trainer, name, path, step)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs that have a GIF."""
        return {"drawn_epochs": list(self._drawn_epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the series of a resumed run."""
        self._drawn_epochs = list(state_dict["drawn_epochs"])


def choose_episodes(evaluation: Evaluation, count: int) -> list[int]:
    """Return the median episode for a count of 1, else `count` spread evenly from the worst to the best."""
    if count == 1:
        return [evaluation.median_episode]
    order = np.argsort(evaluation.returns, kind="stable")
    return [int(order[rank]) for rank in np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]


def _path(trainer: L.Trainer, epoch: int) -> Path:
    return run_folder(trainer) / "gifs" / f"epoch_{epoch + 1:04}.gif"
