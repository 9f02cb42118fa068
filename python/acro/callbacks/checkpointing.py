"""Saves `best.ckpt`, `last.ckpt` and `config.yaml`, and turns signals into stops that lose nothing."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from acro.callbacks.run import evaluation_of, is_training
from acro.storage.files import replacing

logger = logging.getLogger(__name__)


class SaveBest(Checkpoint):
    """Save the weights to `path`, without the memory, after every evaluation whose mean return is the best so far.

    Ties keep the latest, which has trained longest. Lightning's ModelCheckpoint keeps the first,
    and forgets the best score when the run's folder is moved.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._best_mean = -math.inf

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if this is the best evaluation so far."""
        if not is_training(trainer):
            return
        evaluation = evaluation_of(pl_module)
        if not evaluation.mean >= self._best_mean:
            return
        previous, self._best_mean = self._best_mean, float(evaluation.mean)
        if not _try_to_save(trainer, self.path, weights_only=True):
            self._best_mean = previous

    def state_dict(self) -> dict[str, Any]:
        """Return the best mean so far."""
        return {"best_mean": self._best_mean}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best mean in `state`."""
        self._best_mean = state_dict["best_mean"]


class SaveLast(Checkpoint):
    """Save a checkpoint to `path` at the end of every epoch, and when SIGTERM stops the run.

    After any other exception nothing is saved: a round may be half done.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._saved_rounds = 0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save at the end of an epoch."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save if the Trainer stopped for SIGTERM, which it only does between rounds."""
        if isinstance(exception, SIGTERMException) and self._rounds(trainer) != self._saved_rounds:
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if _try_to_save(trainer, self.path):
            self._saved_rounds = self._rounds(trainer)

    @staticmethod
    def _rounds(trainer: L.Trainer) -> int:
        return trainer.fit_loop.total_batch_idx + 1


def _try_to_save(trainer: L.Trainer, path: Path, *, weights_only: bool = False) -> bool:
    """Save; return whether it worked. A full disk must not end hours of training."""
    try:
        trainer.save_checkpoint(path, weights_only=weights_only)
    except (OSError, RuntimeError) as error:
        # For a full disk torch.save raises a RuntimeError that hides the OSError.
        if isinstance(error, RuntimeError) and not isinstance(error.__context__, OSError):
            raise
        logger.warning("cannot save %s, and training goes on: %s", path, error)
        return False
    return True


class SaveConfig(L.Callback):
    """Write all settings into the run's folder, for resuming; a refused resume writes nothing."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file; the checkpoint has been checked by now."""
        with replacing(self.path) as file:
            file.write(self.text.encode())


class Interrupts(L.Callback):
    """Lets signals stop training between rounds, when the whole state is consistent.

    Ctrl-C, a closed terminal (SIGHUP) and SIGUSR1, which schedulers send as a warning, stop training as SIGTERM does,
    after the current round; a second Ctrl-C stops it at once. While the result is played, which can be done again,
    SIGTERM stops at once, too.

    Attributes:
        received: The signal that stopped the run; None if there was none.
        has_begun: Whether the checkpoint has been restored and training has begun.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.has_begun = False

    @property
    def exit_code(self) -> int:
        """The exit code of a stopped process: 130 after Ctrl-C, 143 after another signal."""
        return 130 if self.received is signal.SIGINT else 143

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install the signal handlers, in the main thread; the Trainer restores the old ones at its end."""
        self.has_begun = True
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGINT", "SIGHUP", "SIGUSR1"):
            signum = getattr(signal, name, None)
            # A signal that is ignored stays ignored: `nohup` asks for that.
            if signum is not None and signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._stop)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the Trainer's handler of SIGTERM, which it asks for in training only."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, signum: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(signum)
        raise SIGTERMException

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if signum == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.received = signal.Signals(signum)
        hint = "; Ctrl-C again leaves at once, without saving" if signum == signal.SIGINT else ""
        logger.info("Stopping after this round, then saving%s.", hint)
        # The Trainer polls SIGTERM between rounds.
        signal.raise_signal(signal.SIGTERM)
