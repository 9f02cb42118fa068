"""Run the command in processes of their own, and stop them at random moments until the run is over."""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from pathlib import Path

from differences import compare
from places import NEVER, PLACES, Moment, fit_watched, place_in

from acro.cli.runs import Run
from acro.storage.checkpoints import read_checkpoint

SETTINGS = [
    "--data.capacity=2000",
    "--data.steps_per_epoch=128",
    "--data.learning_starts_steps=128",
    "--data.epsilon_decay_steps=4000",
    "--data.eval_episodes=3",
    "--data.batch_size=16",
    "--model.hidden=[16,16]",
    # Short episodes: playing and drawing them takes longer than training here.
    "--data.env_kwargs={max_episode_steps: 40}",
]
# What ends a process that is stopped: in training, and before it or after it.
EXIT_CODES = {
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGINT: (130, -signal.SIGINT),
    signal.SIGTERM: (143, -signal.SIGTERM),
    signal.SIGHUP: (143, -signal.SIGHUP),
}
# Places, and up to which of an attempt's visits.
_IN_TRAINING = {
    "collecting": 50,
    "sampling": 6,
    "updating": 6,
    "evaluating": 3,
    "gathering the state": 4,
    "restoring": 1,
    **{place: 2 for place in PLACES if place.endswith((".ckpt", "metrics.csv", "config.yaml"))},
}
_AT_THE_END = {
    "ending": 1,
    "playing the result": 1,
    "drawing a curve": 1,
    "drawing a GIF": 2,
    **{place: 2 for place in PLACES if place.endswith(("result.json", "a picture"))},
}
# An attempt is stopped at its fourth evaluation at the latest, so that a run lasts for many.
_LAST_EVALUATION = 4
_PATIENCE_SECONDS = 300.0
FRESH = "a fresh process"
_POLL_SECONDS = 0.002


@dataclass
class Report:
    """What a run went through.

    Attributes:
        struck: What the process was doing at each stop; of a fresh one nobody knows, but that it had begun to train.
        problems: Torn files, wrong exit codes, and every difference from the run that was not stopped.
    """

    struck: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def soak(
    context: ForkServerContext,
    root: Path,
    straight: Path,
    sent: signal.Signals,
    stops: int,
    seed: int,
    arguments: Sequence[str],
    *,
    at_the_end: bool = False,
    fresh_share: float = 0.0,
) -> Report:
    """Stop a run `stops` times, let it end, and compare it with the run in `straight`.

    Stop i follows from `seed` and i: half are sent by the process itself as it comes to a place, the others from
    outside, a little after it, or at any time.

    Args:
        context: Forks processes that have imported torch and Lightning already.
        root: A new folder for the run.
        straight: The folder of a run with the same arguments that was not stopped.
        sent: The signal.
        stops: How many; fewer if the run is over before.
        seed: Decides the moments.
        arguments: Of the command.
        at_the_end: Stop when training is over.
        fresh_share: Of processes that are started by the command line instead, and not watched.
    """
    report = Report()
    root.mkdir()
    while True:
        draw = random.Random(f"{seed}.{len(report.struck)}")
        given = [*SETTINGS, *arguments, f"--trainer.default_root_dir={root}"]
        given += ["--ckpt_path=last"] if _newest(root) else []
        if len(report.struck) == stops:
            code, place = _fork(context, given, root)
        elif draw.random() < fresh_share:
            code, place = _stop_fresh(given, root, sent, draw)
        else:
            code, place = _stop_forked(context, given, root, sent, draw, _AT_THE_END if at_the_end else _IN_TRAINING)
        report.problems.extend(_torn(root))
        if code == 0:
            break
        if code not in EXIT_CODES[sent]:
            report.problems.append(f"exit code {code} after {sent.name} {place}; the process said:\n{_said(root)}")
            return report
        report.struck.append(place)
    run = _newest(root)
    if run is None:
        report.problems.append("no checkpoint at the end")
        return report
    report.problems.extend(compare(straight, run.folder))
    report.problems.extend(f"left behind: {path.name}" for path in run.folder.glob("**/.*.tmp"))
    return report


def _stop_forked(
    context: ForkServerContext,
    arguments: list[str],
    root: Path,
    sent: signal.Signals,
    draw: random.Random,
    places: dict[str, int],
) -> tuple[int | None, str]:
    """Stop a process that was forked; return its exit code, and where it was."""
    place = draw.choice([*places])
    latest = 0 if places is _AT_THE_END else _LAST_EVALUATION
    moment = Moment(place, draw.randint(1, places[place]), sent if draw.random() < 0.5 else None, latest)
    delay = draw.choice([0.0, draw.uniform(0.0, 0.002), draw.uniform(0.0, 0.03)])
    if moment.sent is None and draw.random() < 0.2:
        moment, delay = Moment("starting", 1), draw.uniform(0.0, 0.5)
    code, place = _fork(context, arguments, root, moment, sent, delay)
    # Any other signal is answered a little later, and the process goes on to save.
    return code, place_in(root / "place") if sent is signal.SIGKILL else place or moment.place


def _fork(
    context: ForkServerContext,
    arguments: list[str],
    root: Path,
    moment: Moment = NEVER,
    sent: signal.Signals = signal.SIGKILL,
    delay: float = 0.0,
) -> tuple[int | None, str]:
    """Run the command until it ends; return its exit code, and where it was when it was stopped from outside."""
    there, place = root / "place", ""
    there.write_bytes(b"\0")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=fit_watched, args=(arguments, _new_log(root), there, moment, sender))
    process.start()
    sender.close()
    if receiver in wait([receiver, process.sentinel], _PATIENCE_SECONDS) and moment.sent is None:
        process.join(delay)
        place = place_in(there)
        with contextlib.suppress(ProcessLookupError):
            if process.is_alive():
                os.kill(process.pid or 0, sent)
    receiver.close()
    process.join(_PATIENCE_SECONDS)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"a process did not end; it said:\n{_said(root)}")
    return process.exitcode, place


def _stop_fresh(arguments: list[str], root: Path, sent: signal.Signals, draw: random.Random) -> tuple[int | None, str]:
    """Stop a process in training that was started as a user starts one; return its exit code."""
    with (
        _new_log(root).open("wb") as log,
        subprocess.Popen([sys.executable, "-m", "acro.fit", *arguments], stdout=log, stderr=log) as process,
    ):

        def until(happened: Callable[[], bool]) -> None:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while process.poll() is None and not happened():
                if time.monotonic() > deadline:
                    process.kill()
                    raise TimeoutError(f"nothing happened; the process said:\n{_said(root)}")
                time.sleep(_POLL_SECONDS)

        evaluations = draw.randint(0, 3)
        until(lambda: " steps" in _said(root))
        until(lambda: _said(root).count("\nstep ") >= evaluations)
        end = time.monotonic() + draw.uniform(0.0, 0.2)
        until(lambda: time.monotonic() > end)
        process.send_signal(sent)
        code = process.wait(_PATIENCE_SECONDS)
    return code, FRESH


def run_straight(context: ForkServerContext, root: Path, arguments: Sequence[str]) -> Path:
    """Return the folder of a run that was not stopped."""
    root.mkdir()
    code, _ = _fork(context, [*SETTINGS, *arguments, f"--trainer.default_root_dir={root}"], root)
    run = _newest(root)
    if code != 0 or run is None:
        raise RuntimeError(f"the run failed with {code}; it said:\n{_said(root)}")
    return run.folder


def _new_log(root: Path) -> Path:
    log = root / "log.txt"
    log.unlink(missing_ok=True)
    return log


def _said(root: Path) -> str:
    """Return what the process has printed so far."""
    log = root / "log.txt"
    return log.read_text(errors="replace") if log.exists() else ""


def _torn(root: Path) -> Iterator[str]:
    """Yield what is wrong with a file that must be whole at every instant."""
    for path in root.glob("*/*/checkpoints/*.ckpt"):
        try:
            read_checkpoint(path)
        except ValueError as error:
            yield f"torn: {error}"
    for path in root.glob("*/*/metrics.csv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        steps = [int(row["step"]) for row in rows]
        if steps != sorted(set(steps)) or any(None in row.values() for row in rows):
            yield f"torn: {path.name} has the steps {steps}"
    for path in root.glob("*/*/**/*.gif"):
        if not path.read_bytes().endswith(b";"):
            yield f"torn: {path.name}"
    for path in (*root.glob("*/*/config.yaml"), *root.glob("*/*/result.json")):
        if not path.read_text().endswith("\n"):
            yield f"torn: {path.name}"


def _newest(root: Path) -> Run | None:
    for folder in root.iterdir():
        if folder.is_dir():
            try:
                return Run.newest(root, folder.name)
            except FileNotFoundError:
                return None
    return None


def fork_server() -> ForkServerContext:
    """Return what starts processes that have imported torch and Lightning already."""
    # The server of Python 3.11 imports from nowhere else, and says nothing of what it did not find.
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    context = multiprocessing.get_context("forkserver")
    # All that a process imports of its own accord, this module among it: a fork makes the main module again.
    context.set_forkserver_preload(["stops", "matplotlib.pyplot", "torch.utils.tensorboard"])
    return context
