"""Signals and exceptions: what is saved, and how the process ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from places import fit_logged
from runs import SMALL, last_checkpoint, train
from stops import fork_server

from acro import fit
from acro.callbacks.checkpointing import Interrupts
from acro.storage.checkpoints import read_checkpoint

ROUNDS_PER_EPOCH = SMALL["steps_per_epoch"] // SMALL["steps_per_round"]


HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
SETTINGS = [
    "--trainer.max_epochs=3",
    "--data.steps_per_epoch=256",
    "--data.learning_starts_steps=128",
    "--data.eval_episodes=3",
    "--model.hidden=[16,16]",
    "--data.env_kwargs={max_episode_steps: 40}",
    "--gif=false",
]


class Raise(L.Callback):
    """Raise a signal or an exception in the middle of a round, at the end of one, or during an evaluation."""

    def __init__(self, raised: signal.Signals | BaseException, *, at_round: int, hook: str = "batch_start") -> None:
        self.raised = raised
        self.at_round = at_round
        self.hook = hook

    def _raise(self, trainer: L.Trainer, hook: str) -> None:
        if hook != self.hook or trainer.fit_loop.total_batch_idx + 1 != self.at_round:
            return
        if isinstance(self.raised, BaseException):
            raise self.raised
        signal.raise_signal(self.raised)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._raise(trainer, "batch_start")

    def on_before_optimizer_step(self, trainer: L.Trainer, *_: Any) -> None:
        self._raise(trainer, "optimizer_step")

    def on_validation_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._raise(trainer, "validation")


def fit_with(callback: type[L.Callback], tmp_path: Path) -> int:
    """Train with a callback of this file, named as a user names one."""
    named = f"--trainer.callbacks+={__name__}.{callback.__name__}"
    return fit.main([*SETTINGS, f"--trainer.default_root_dir={tmp_path}", named])


class HangUp(Raise):
    """Raise SIGHUP in the sixth round."""

    def __init__(self) -> None:
        super().__init__(signal.SIGHUP, at_round=6)


class SendUser1(Raise):
    """Raise SIGUSR1 in the sixth round."""

    def __init__(self) -> None:
        super().__init__(signal.SIGUSR1, at_round=6)


@pytest.mark.parametrize(("callback", "is_slurm_job"), [(HangUp, False), (SendUser1, False), (SendUser1, True)])
def test_other_stops_save_like_sigterm(
    callback: type[L.Callback],
    is_slurm_job: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if is_slurm_job:
        for variable, value in {"NTASKS": 1, "JOB_ID": 1234, "JOB_NAME": "train", "PROCID": 0, "LOCALID": 0}.items():
            monkeypatch.setenv(f"SLURM_{variable}", str(value))

    assert fit_with(callback, tmp_path) == 143

    last = tmp_path / "acrobot" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"continue with: python -m acro.fit --ckpt_path {last}" in capsys.readouterr().err
    assert read_checkpoint(last)["Experience"]["collector"]["env_steps"] == 6 * 64


def test_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(tmp_path, epochs=1, callbacks=(Interrupts(), Raise(signal.SIGHUP, at_round=3)))
    finally:
        signal.signal(signal.SIGHUP, before)

    assert last_checkpoint(tmp_path)["Experience"]["collector"]["env_steps"] == SMALL["steps_per_epoch"]


def test_signals_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(signum) for signum in HANDLED]
    train(tmp_path, epochs=1, callbacks=(Interrupts(),))

    assert [signal.getsignal(signum) for signum in HANDLED] == before


# ---- exceptions


class PrunedError(Exception):
    """Stands for Optuna's TrialPruned, a plain exception too."""


@pytest.mark.parametrize("raised", [PrunedError("pruned"), KeyError("a bug"), SystemExit(3)])
def test_exception_saves_nothing_and_is_passed_on(raised: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(raised)) as caught:
        train(tmp_path, epochs=2, callbacks=(Raise(raised, at_round=ROUNDS_PER_EPOCH + 3), Interrupts()))

    assert caught.value is raised
    env_steps = last_checkpoint(tmp_path)["Experience"]["collector"]["env_steps"]
    assert env_steps == SMALL["steps_per_epoch"]


# ---- the command


def test_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log.txt"
    log.touch()
    arguments = [*SETTINGS, "--trainer.callbacks+=places.Endless", f"--trainer.default_root_dir={root}"]
    process = fork_server().Process(target=fit_logged, args=(arguments, log))
    process.start()
    for awaited in ("waiting", "Stopping after this round"):
        while awaited not in log.read_text():
            assert process.is_alive(), log.read_text()
            time.sleep(0.001)
        os.kill(process.pid or 0, signal.SIGINT)
    process.join()

    assert process.exitcode == 130
    last = root / "acrobot" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"left at once; continue with: python -m acro.fit --ckpt_path {last}" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert read_checkpoint(last)["Experience"]["collector"]["env_steps"] == 256


class Exit(Raise):
    """Leave in the sixth round, by an exit of its own."""

    def __init__(self) -> None:
        super().__init__(OWN_EXIT, at_round=6)


OWN_EXIT = SystemExit(3)


def test_exit_of_a_callback_is_no_interrupt(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        fit_with(Exit, tmp_path)

    assert caught.value is OWN_EXIT


class InterruptLate(L.Callback):
    """Press Ctrl-C after the last round."""

    def on_train_end(self, *_: Any) -> None:
        signal.raise_signal(signal.SIGINT)


class TerminateLate(L.Callback):
    """Send SIGTERM after the last round."""

    def on_train_end(self, *_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(("callback", "code"), [(InterruptLate, 130), (TerminateLate, 143)])
def test_stop_after_the_last_round_leaves_the_result_to_the_resumed_run(
    callback: type[L.Callback], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_with(callback, tmp_path) == code
    said = capsys.readouterr()
    assert "continue with" in said.err
    assert said.out == ""


class InterruptPlaying(L.Callback):
    """Press Ctrl-C while the best policy is played."""

    def on_test_start(self, *_: Any) -> None:
        signal.raise_signal(signal.SIGINT)


def test_interrupt_while_the_result_is_shown_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_with(InterruptPlaying, tmp_path) == 130
    assert "left at once; continue with" in capsys.readouterr().err
