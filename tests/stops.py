"""Run the command in processes of their own, and stop them at random moments until the run is over."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from differences import compare

from acro.cli.runs import Run
from acro.storage.checkpoints import read_checkpoint

SETTINGS = [
    # Unlike Acrobot it learns something in a few hundred steps, so that there are several best checkpoints.
    "--data.env_id=CartPole-v1",
    "--data.steps_per_epoch=256",
    "--data.learning_starts_steps=128",
    "--data.eval_episodes=3",
    "--data.batch_size=16",
    "--data.prioritized=true",
    "--model.hidden=[16,16]",
    # Short episodes: drawing one takes longer than training here.
    "--data.env_kwargs={max_episode_steps: 80}",
]
# What ends a process that is stopped: in training, and before it or after it.
EXIT_CODES = {
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGINT: (130,),
    signal.SIGTERM: (143, -signal.SIGTERM),
}
_TEMPORARY = "*/*/**/.*.tmp"
_POLL_SECONDS = 0.0005
_PATIENCE_SECONDS = 120.0


@dataclass
class Report:
    """What a run went through.

    Attributes:
        struck: How many stops struck in which part of the run.
        late: Stops that came when the process was already done.
        problems: Torn files, wrong exit codes, and every difference from the run that was not stopped.
    """

    struck: Counter[str] = field(default_factory=Counter)
    late: int = 0
    problems: list[str] = field(default_factory=list)


class Attempt:
    """One process of a run, from its start or its last checkpoint to its end or the signal."""

    def __init__(self, context: ForkServerContext, root: Path, arguments: Sequence[str]) -> None:
        self.root = root
        self.log = root / "log.txt"
        self.log.unlink(missing_ok=True)
        self.leftovers = set(root.glob(_TEMPORARY))
        resume = ["--ckpt_path=last"] if _newest(root) else []
        given = [*SETTINGS, *arguments, f"--trainer.default_root_dir={root}", *resume]
        self.process: ForkServerProcess = context.Process(target=fit_logged, args=(given, self.log))
        self.process.start()

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a moment, or for the process to end."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.process.is_alive() and not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing happened in {_PATIENCE_SECONDS} s; the process said:\n{self.said()}")
            time.sleep(_POLL_SECONDS)

    def said(self) -> str:
        """Return what the process has printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    def lines(self) -> int:
        """Return the number of evaluations so far."""
        return self.said().count("\nstep ")

    def saving(self) -> list[str]:
        """Return the files that are being written."""
        return [path.name.split(".")[1] for path in self.root.glob(_TEMPORARY) if path not in self.leftovers]


def fit_logged(arguments: list[str], log: Path) -> None:
    """Run the command in this process, with its output in `log`, and leave with its exit code."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from acro import fit

    sys.exit(fit.main(arguments))


def _anywhere(attempt: Attempt, draw: random.Random) -> None:
    """Wait for a random time from the process's start."""
    end = time.monotonic() + draw.uniform(0.0, 1.5)
    attempt.until(lambda: time.monotonic() > end)


def _after_an_evaluation(attempt: Attempt, draw: random.Random) -> None:
    """Wait for an evaluation: the checkpoints are saved right after it."""
    evaluations = draw.randint(1, 3)
    attempt.until(lambda: attempt.lines() >= evaluations)
    end = time.monotonic() + draw.uniform(0.0, 0.03)
    attempt.until(lambda: time.monotonic() > end)


def _while_saving(attempt: Attempt, draw: random.Random) -> None:
    """Wait until a file is half written."""
    evaluations, wanted = draw.randint(0, 2), draw.choice(["last", "last", "best", "metrics"])
    # There may be no better one to come.
    attempt.until(
        lambda: attempt.lines() > evaluations + 3 or (attempt.lines() >= evaluations and wanted in attempt.saving())
    )


def soak(
    context: ForkServerContext,
    root: Path,
    straight: Path,
    sent: signal.Signals,
    stops: int,
    seed: int,
    arguments: Sequence[str],
) -> Report:
    """Stop a run `stops` times at random moments, let it end, and compare it with the run in `straight`."""
    report, draw = Report(), random.Random(seed)
    root.mkdir()
    while True:
        attempt = Attempt(context, root, arguments)
        is_last = report.struck.total() == stops
        if not is_last:
            draw.choice([_anywhere, _after_an_evaluation, _while_saving, _while_saving])(attempt, draw)
            if attempt.process.is_alive():
                os.kill(attempt.process.pid or 0, sent)
        attempt.process.join()
        code = attempt.process.exitcode
        report.problems.extend(_torn(root))
        if code == 0:
            if is_last:
                break
            report.late += 1
            if report.late > stops:
                report.problems.append("the run is over before it was stopped often enough: make it longer")
                break
        elif not is_last and code in EXIT_CODES[sent]:
            report.struck[_where(attempt)] += 1
        else:
            report.problems.append(f"exit code {code} after {sent.name}; the process said:\n{attempt.said()}")
            break
    run = _newest(root)
    report.problems.extend(["no checkpoint at the end"] if run is None else compare(straight, run.folder))
    return report


def run_straight(context: ForkServerContext, root: Path, arguments: Sequence[str]) -> Path:
    """Return the folder of a run that was not stopped."""
    root.mkdir()
    attempt = Attempt(context, root, arguments)
    attempt.process.join()
    run = _newest(root)
    if attempt.process.exitcode != 0 or run is None:
        raise RuntimeError(f"the run failed with {attempt.process.exitcode}; it said:\n{attempt.said()}")
    return run.folder


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


def _where(attempt: Attempt) -> str:
    """Return the part of the run that a signal struck."""
    if saving := attempt.saving():
        return f"while {saving[0]} was written"
    if not attempt.said():
        return "at the start"
    return "after training" if "playing" in attempt.said() else "in training"


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
    context = multiprocessing.get_context("forkserver")
    # The command itself imports them late.
    context.set_forkserver_preload(["acro.cli.parser"])
    return context
