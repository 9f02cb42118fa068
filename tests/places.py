"""What a process of a run is doing, told through one byte of a file: who stops it reads it, even after SIGKILL."""

from __future__ import annotations

import functools
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import lightning as L

from acro import fit
from acro.callbacks.curve import LearningCurve
from acro.callbacks.gif import RenderGif
from acro.cli import result
from acro.dqn.module import DQN
from acro.experience.collector import Collector
from acro.experience.datamodule import Experience
from acro.storage import files

FILES = ("last.ckpt", "best.ckpt", "metrics.csv", "config.yaml", "result.json", "a picture")
SAVING = ("writing", "flushing", "renaming", "after renaming")
PLACES = (
    "starting",
    "between",
    "restoring",
    "collecting",
    "sampling",
    "updating",
    "evaluating",
    "drawing a curve",
    "drawing a GIF",
    "gathering the state",
    "ending",
    "playing the result",
    *(f"{stage} {file}" for file in FILES for stage in SAVING),
)


class Moment(NamedTuple):
    """When a process is to be stopped: as it comes to `place` for the `visit`-th time, or to a certain evaluation.

    With `sent` it sends that signal to itself there and then; else it tells, and is stopped from outside.
    """

    place: str
    visit: int
    sent: signal.Signals | None = None
    last_evaluation: int = 0


# Is never reached.
NEVER = Moment("starting", 0)


class Here:
    """The place of this process; one byte, so that no stop finds half of it."""

    def __init__(self, path: Path, moment: Moment, tell: Callable[[], object]) -> None:
        with path.open("r+b") as file:
            self._byte = mmap.mmap(file.fileno(), 1)
        self.place = PLACES[0]
        self._moment: Moment | None = moment
        self._tell = tell
        self._visits = dict.fromkeys(PLACES, 0)

    def enter(self, place: str) -> None:
        """Be at `place`, and stop if it is the moment."""
        self.place = place
        self._byte[0] = PLACES.index(place)
        self._visits[place] += 1
        moment = self._moment
        if moment is None:
            return
        is_late = self._visits["evaluating"] == moment.last_evaluation and place == "evaluating"
        if is_late or (place == moment.place and self._visits[place] == moment.visit):
            self._moment = None
            if moment.sent is None:
                self._tell()
            else:
                os.kill(os.getpid(), moment.sent)

    def leave(self, place: str) -> None:
        """Be at `place` again."""
        self.place = place
        self._byte[0] = PLACES.index(place)

    def within(self, owner: Any, name: str, place: str) -> None:
        """Be at `place` while `owner.name` runs."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            before = self.place
            self.enter(place)
            try:
                return function(*arguments, **named)
            finally:
                self.leave(before)

        setattr(owner, name, wrapped)


def place_in(path: Path) -> str:
    """Return the place that a process left in `path`."""
    return PLACES[path.read_bytes()[0]]


def watch(path: Path, moment: Moment, tell: Callable[[], object]) -> None:
    """From now on keep this process's place in `path`."""
    here = Here(path, moment, tell)
    here.within(fit, "main", "starting")
    here.within(fit, "_train", "between")
    here.within(result, "play_held_out", "ending")
    here.within(Experience, "load_state_dict", "restoring")
    here.within(Collector, "collect", "collecting")
    here.within(Experience, "_sample", "sampling")
    here.within(DQN, "training_step", "updating")
    here.within(DQN, "validation_step", "evaluating")
    here.within(DQN, "test_step", "playing the result")
    here.within(LearningCurve, "_draw", "drawing a curve")
    here.within(RenderGif, "_try", "drawing a GIF")
    here.within(L.Trainer, "save_checkpoint", "gathering the state")
    _watch_files(here)


def _watch_files(here: Here) -> None:
    create, sync_folder = files._create_beside, files._sync_folder
    before, name = "", ""

    def created(path: Path) -> Any:
        nonlocal before, name
        before, name = here.place, path.name if path.name in FILES else "a picture"
        made = create(path)
        here.enter(f"writing {name}")
        return made

    def fsync(descriptor: int) -> None:
        if here.place == f"writing {name}":
            here.enter(f"flushing {name}")
        os.fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        here.enter(f"renaming {name}")
        os.replace(source, target)
        here.enter(f"after renaming {name}")

    def synced(folder: Path) -> None:
        sync_folder(folder)
        here.leave(before)

    names = {name: getattr(os, name) for name in dir(os)}
    own: Any = files
    own._create_beside, own._sync_folder = created, synced
    own.os = SimpleNamespace(**{**names, "fsync": fsync, "replace": replace})


def fit_watched(arguments: list[str], log: Path, path: Path, moment: Moment, told: Any) -> None:
    """Run the command in this process as `fit_logged` does, watched."""
    # As in a terminal, however the tests were started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        watch(path, moment, lambda: told.send_bytes(b"!"))
        fit_logged(arguments, log)
    except KeyboardInterrupt:
        # Before the command or after it, where Python ends itself by the signal.
        sys.exit(130)


def fit_logged(arguments: list[str], log: Path) -> None:
    """Run the command in this process, with its output in `log`, and leave with its exit code."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.exit(fit.main(arguments))


class Endless(L.Callback):
    """Never end the sixth round."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx == 5:
            print("waiting", flush=True)
            threading.Event().wait()
