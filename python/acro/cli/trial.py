"""Trains one trial of a sweep, the same run as `acro.fit`, in a process that may have trained others before."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any, cast

import lightning as L
import yaml
from lightning.pytorch.utilities.exceptions import SIGTERMException

from acro.callbacks.clock import TrainingClock
from acro.callbacks.curve import LearningCurve
from acro.callbacks.run import experience_of
from acro.cli.parser import FitCLI, prepared
from acro.cli.result import play_held_out
from acro.cli.runs import Run
from acro.cluster.outcomes import read_outcome
from acro.cluster.trials import SETTINGS, Report, Trial
from acro.storage.files import replacing

# A lost machine may hold the lock of its run until its processes notice.
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.2


def run_trial(trial: Trial, report: Report, is_stopping: Callable[[], bool]) -> None:
    """Train `trial` to its end, from its last checkpoint if it has one; of a finished trial, report the result again.

    A run that fails leaves `error.txt` with a traceback. This can be called in any thread.

    Args:
        trial: The trial to train.
        report: Called after each epoch; it raises SystemExit to stop a run that does worse than others.
        is_stopping: Called between rounds; when it returns True, the run saves and ends.
    """
    run = Run(trial.run.folder)
    if is_stopping():
        return
    if run.result.is_file():
        # A search may draw the same settings again, and then learns from the same result.
        best = read_outcome(trial, []).best_point
        if best is not None:
            report(best.step, best.mean, best.mean)
        return
    arguments = [*trial.arguments, f"--seed_everything={trial.seed}"]
    if run.last_checkpoint.is_file():
        # The folder's names come from the sweep's own arguments, which `acro.sweep --resume` checks.
        arguments += [f"--ckpt_path={run.last_checkpoint}", "--trust_config"]
    run.folder.mkdir(parents=True, exist_ok=True)
    with replacing(run.folder.parent / SETTINGS) as file:
        file.write(yaml.safe_dump(dict(trial.settings), sort_keys=False).encode())
    run.error.unlink(missing_ok=True)
    run.stopped_early.unlink(missing_ok=True)
    try:
        _wait_for_lock(run)
        with prepared(arguments, run) as cli:
            _train(cli, Follower(cli.curve, report, is_stopping))
    except SIGTERMException:
        return
    except SystemExit:
        run.stopped_early.touch()
        raise
    except Exception:  # Environments run other people's code; the other trials continue.
        run.folder.mkdir(parents=True, exist_ok=True)
        run.error.write_text(traceback.format_exc())


class Follower(L.Callback):
    """Reports a run's epochs, and stops the run between rounds when `is_stopping` says so."""

    def __init__(self, curve: LearningCurve, report: Report, is_stopping: Callable[[], bool]) -> None:
        self._curve = curve
        self._report = report
        self._is_stopping = is_stopping
        self._asked_at = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Stop as after SIGTERM, which only the main thread can handle."""
        now = time.monotonic()
        if now - self._asked_at > _POLL_SECONDS:
            self._asked_at = now
            if self._is_stopping():
                trainer._signal_connector.received_sigterm = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epoch, after its checkpoint was saved."""
        means = [mean for _, mean in self._curve.evaluations]
        if means:
            self._report(experience_of(trainer).env_steps, means[-1], max(means))


def _train(cli: FitCLI, follower: Follower) -> None:
    if cli.resumed_step is None:
        cli.run.clear()
    cli.run.remove_leftovers()
    # The clock comes first, so that saving checkpoints counts as training; the reports come after the save.
    callbacks = cast(Any, cli.trainer).callbacks
    callbacks.insert(0, TrainingClock(cli.run.seconds, cli.resumed_step))
    callbacks.append(follower)
    started = time.monotonic()
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.ckpt_path, weights_only=True)
    play_held_out(cli, time.monotonic() - started)


def _wait_for_lock(run: Run) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            run.lock().release()
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return
