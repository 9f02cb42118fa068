"""`last.ckpt`, and stops that lose nothing."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

logger = logging.getLogger(__name__)


class SaveBest(Checkpoint):
    """Save the weights to `path`, without the memory, after every evaluation with the highest mean return so far.

    Lightning's ModelCheckpoint would forget the best score when the run's folder is moved.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._best_mean = -math.inf

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if this is the best."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        evaluation: Any = pl_module.last_evaluation
        if evaluation.mean > self._best_mean:
            self._best_mean = float(evaluation.mean)
            trainer.save_checkpoint(self.path, weights_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the best mean so far."""
        return {"best_mean": self._best_mean}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with it."""
        self._best_mean = state_dict["best_mean"]


class SaveLast(Checkpoint):
    """Save a checkpoint to `path` at every epoch's end, and when SIGTERM stops the run after a round.

    Any other exception saves nothing: it may have left a round half done.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._saved_rounds = 0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save where the Trainer stopped for SIGTERM, which it does between rounds only."""
        if isinstance(exception, SIGTERMException) and self._rounds(trainer) != self._saved_rounds:
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self._saved_rounds = self._rounds(trainer)
        trainer.save_checkpoint(self.path)

    @staticmethod
    def _rounds(trainer: L.Trainer) -> int:
        return trainer.fit_loop.total_batch_idx + 1


class Interrupts(L.Callback):
    """Signals take effect between rounds, where every part of the state belongs together.

    Ctrl-C stops training as SIGTERM does, after the round in flight; a second Ctrl-C stops it at once. The signal
    by which SLURM asks for a requeue is handed on after the round: Lightning's handler saves right where it is called.

    Attributes:
        received: `signal.SIGINT` once Ctrl-C was pressed, else None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._requeue: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals that the Trainer handles, and gives back at its end; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._take(signal.SIGINT, self._stop)
        cluster = trainer._accelerator_connector.cluster_environment
        if isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue and cluster.requeue_signal is not None:
            self._take(cluster.requeue_signal, self._requeue_later)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Hand on a requeue that was asked for during the round."""
        # After the epoch's last round the evaluation is still to come, and the Trainer would resume behind it.
        if batch_idx + 1 < trainer.num_training_batches:
            self._hand_on()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hand on a requeue that was asked for during the last round or the evaluation."""
        self._hand_on()

    def _take(self, signum: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> None:
        self._previous[signum] = signal.signal(signum, handler)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(signum)
        logger.info("Stopping after this round, then saving; Ctrl-C again leaves at once, without saving.")
        # The Trainer polls SIGTERM between rounds.
        signal.raise_signal(signal.SIGTERM)

    def _requeue_later(self, signum: int, frame: FrameType | None) -> None:
        self._requeue = signal.Signals(signum)

    def _hand_on(self) -> None:
        if self._requeue is not None:
            signum, self._requeue = self._requeue, None
            handler = self._previous[signum]
            if callable(handler):
                handler(signum, None)
