"""Signals and exceptions: what is saved, and how the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from benchmarks.kill import compare
from runs import SMALL, differences, last_checkpoint, train

from acro import fit
from acro.callbacks.checkpointing import Interrupts
from acro.storage.checkpoints import read_checkpoint

ROUNDS_PER_EPOCH = SMALL["steps_per_epoch"] // SMALL["steps_per_round"]


SETTINGS = [
    "--trainer.max_epochs=3",
    "--data.steps_per_epoch=256",
    "--data.learning_starts_steps=128",
    "--data.eval_episodes=3",
    "--model.hidden=[16,16]",
    "--data.env_kwargs={max_episode_steps: 40}",
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


# ---- SLURM


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of SLURM whose `scontrol` writes down what it is asked; returns where."""
    asked = tmp_path / "asked"
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (programs / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name, value in {
        "NTASKS": 1,
        "JOB_ID": 1234,
        "JOB_NAME": "train",
        "PROCID": 0,
        "LOCALID": 0,
        "NODEID": 0,
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    return asked


@pytest.mark.parametrize(
    ("at_round", "hook"),
    [
        (ROUNDS_PER_EPOCH + 3, "optimizer_step"),
        (2 * ROUNDS_PER_EPOCH, "batch_start"),
        (2 * ROUNDS_PER_EPOCH, "validation"),
        (1, "batch_start"),
    ],
)
def test_requeued_run_ends_like_an_uninterrupted_one(at_round: int, hook: str, slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "straight").mkdir()
    train(tmp_path / "straight", epochs=4)

    folder = tmp_path / "requeued"
    folder.mkdir()
    # SLURM kills the job some time after it has requeued it: here three rounds later.
    killed = RuntimeError("killed")
    kill = Raise(killed, at_round=at_round + 3)
    callbacks = (Raise(signal.SIGUSR1, at_round=at_round, hook=hook), kill, Interrupts())
    with pytest.raises(RuntimeError, match="killed"):
        train(folder, epochs=4, callbacks=callbacks)
    assert slurm.read_text() == "requeue 1234\n"
    saved = read_checkpoint(folder / "hpc_ckpt_1.ckpt")
    assert saved["Experience"]["collector"]["env_steps"] == at_round * SMALL["steps_per_round"]

    train(folder, epochs=4)
    assert differences(last_checkpoint(tmp_path / "straight"), last_checkpoint(folder)) == []


def test_requeued_command_continues_its_own_run(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = ["--trainer.default_root_dir", str(tmp_path / "straight")]
    requeued = ["--trainer.default_root_dir", str(tmp_path / "requeued")]
    assert fit.main([*SETTINGS, *straight]) == 0
    assert fit.main([*SETTINGS, *requeued, "--seed_everything=1", "--trainer.max_epochs=1"]) == 0

    with monkeypatch.context() as patch:
        callbacks = fit.FitCLI._callbacks
        stops = [Raise(signal.SIGUSR1, at_round=6), Raise(RuntimeError("killed"), at_round=8)]
        patch.setattr(fit.FitCLI, "_callbacks", lambda cli: [*stops, *callbacks(cli)])
        with pytest.raises(RuntimeError, match="killed"):
            fit.main([*SETTINGS, *requeued])
    # Another run of the same job that is not requeued is nobody's continuation.
    assert fit.main([*SETTINGS, *requeued, "--seed_everything=1", "--trainer.max_epochs=1"]) == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert fit.main([*SETTINGS, *requeued]) == 0

    runs = tmp_path / "requeued" / "acrobot"
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1", "version_2"]
    assert compare(tmp_path / "straight" / "acrobot" / "version_0", runs / "version_1") == []
    assert (runs / "version_1" / "hpc_ckpt_1.ckpt").is_file()


def test_signals_are_given_back(slurm: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    train(tmp_path, epochs=1, callbacks=(Interrupts(),))

    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


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

# A round that never ends, the sixth one.
ENDLESS = """
import sys, threading
import lightning as L
from acro import fit

class Endless(L.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx == 5:
            print("waiting", flush=True)
            threading.Event().wait()

callbacks = fit.FitCLI._callbacks
fit.FitCLI._callbacks = lambda cli: [Endless(), *callbacks(cli)]
sys.exit(fit.main(sys.argv[1:]))
"""


def test_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, *SETTINGS, f"--trainer.default_root_dir={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        said = ""
        while "Stopping after this round" not in said:
            said = process.stderr.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert process.returncode == 130
    last = tmp_path / "acrobot" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"left at once; continue with: python -m acro.fit --ckpt_path {last}" in rest
    assert "Traceback" not in rest
    assert read_checkpoint(last)["Experience"]["collector"]["env_steps"] == 256


def fit_with(callback: L.Callback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    callbacks = fit.FitCLI._callbacks
    monkeypatch.setattr(fit.FitCLI, "_callbacks", lambda cli: [callback, *callbacks(cli)])
    return fit.main([*SETTINGS, f"--trainer.default_root_dir={tmp_path}"])


def test_exit_of_a_callback_is_no_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exit_code = SystemExit(3)
    with pytest.raises(SystemExit) as caught:
        fit_with(Raise(exit_code, at_round=6), tmp_path, monkeypatch)

    assert caught.value is exit_code


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stop_after_the_last_round_leaves_the_result_to_the_resumed_run(
    sent: signal.Signals,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class StopLate(L.Callback):
        def on_train_end(self, *_: Any) -> None:
            signal.raise_signal(sent)

    assert fit_with(StopLate(), tmp_path, monkeypatch) == code
    said = capsys.readouterr()
    assert "continue with" in said.err
    assert said.out == ""


def test_interrupt_while_the_result_is_shown_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "evaluate", lambda *_: signal.raise_signal(signal.SIGINT))

    assert fit_with(L.Callback(), tmp_path, monkeypatch) == 130
    assert "left at once; continue with" in capsys.readouterr().err
