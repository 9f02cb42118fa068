"""Shows the progress of a run."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from acro.callbacks.run import experience_of, is_training
from acro.formatting import format_mean


class TrainingProgress(ProgressBar):
    """Show environment steps, steps per second, epsilon and the last evaluation.

    In a terminal this is a bar; in a file or a pipe, one line per evaluation.
    """

    # Redrawing takes about as long as an update.
    REFRESH_SECONDS = 0.2

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm[Any] | None = None
        self._refreshed_at = 0.0
        self._started_at = 0.0
        self._started_steps = 0

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress again."""
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the bar at the run's current step."""
        experience = experience_of(trainer)
        self._started_at, self._started_steps = time.monotonic(), experience.env_steps
        if self._enabled and sys.stderr.isatty():
            total = None if trainer.max_epochs in (None, -1) else trainer.max_epochs * experience.steps_per_epoch
            self._bar = tqdm(
                total=total, initial=experience.env_steps, unit=" steps", dynamic_ncols=True, file=sys.stderr
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraw the bar, a few times a second."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._bar is not None and time.monotonic() - self._refreshed_at > self.REFRESH_SECONDS:
            self._draw(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the evaluation."""
        super().on_validation_end(trainer, pl_module)
        if not is_training(trainer):
            return
        if self._bar is not None:
            self._draw(trainer)
        elif self._enabled:
            experience = experience_of(trainer)
            seconds = time.monotonic() - self._started_at
            rate = (experience.env_steps - self._started_steps) / seconds if seconds > 0 else 0.0
            line = f"step {experience.env_steps:>7} · {rate:,.0f} steps/s · {_describe(trainer)}"
            try:
                print(line, file=sys.stderr, flush=True)
            except OSError:
                # The pipe was closed, or the terminal is gone.
                self._enabled = False

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._close(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Close the bar where the run stopped."""
        self._close(trainer)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self._bar is None:
            print(*args, **kwargs)
        else:
            self._bar.write(" ".join(map(str, args)))

    def _draw(self, trainer: L.Trainer) -> None:
        assert self._bar is not None
        self._refreshed_at = time.monotonic()
        self._bar.n = experience_of(trainer).env_steps
        self._bar.set_postfix_str(_describe(trainer), refresh=True)

    def _close(self, trainer: L.Trainer) -> None:
        if self._bar is not None:
            self._draw(trainer)
            self._bar.close()
            self._bar = None


def _describe(trainer: L.Trainer) -> str:
    evaluation = trainer.callback_metrics.get("eval/return")
    shown = "not evaluated yet" if evaluation is None else f"eval {format_mean(float(evaluation))}"
    return f"epsilon {experience_of(trainer).epsilon:.3f} · {shown}"
