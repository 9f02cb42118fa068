"""`last.ckpt`, and stops that lose nothing."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

logger = logging.getLogger(__name__)


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
    """Ctrl-C stops training as SIGTERM does, after the round in flight; a second Ctrl-C stops it at once.

    Attributes:
        received: `signal.SIGINT` once Ctrl-C was pressed, else None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over SIGINT; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._stop)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give SIGINT back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(signum)
        logger.info("Stopping after this round, then saving; Ctrl-C again leaves at once, without saving.")
        # The Trainer polls SIGTERM between rounds, where every part of the state belongs together.
        signal.raise_signal(signal.SIGTERM)
