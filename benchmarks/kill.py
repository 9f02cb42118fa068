"""Stop runs a thousand times, let them end, and compare each with one that was not stopped, to the bit.

`python -m benchmarks.kill`; `--more` goes on where the stored result ends, and `--quick` stops eight times.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple

from places import PLACES
from stops import FRESH, Report, fork_server, run_straight, soak

from benchmarks import results

# By signal: how often it is sent.
WANTED = {signal.SIGKILL: 1_000, signal.SIGINT: 200, signal.SIGTERM: 200, signal.SIGHUP: 200}
FRESH_SHARE = 0.02
_NO_GIFS = "--gif=false"
_EVERY_GIF = "--trainer.callbacks=[{class_path: acro.callbacks.gif.RenderGif, init_args: {every_n_epochs: 1}}]"


class Variant(NamedTuple):
    """A run of some preset and options."""

    arguments: tuple[str, ...]
    epochs: int = 20
    stops: int = 15
    at_the_end: bool = False


VARIANTS = {
    "acrobot": Variant(("--preset=acrobot", _NO_GIFS)),
    "prioritized": Variant(("--preset=cartpole", "--data.prioritized=true", _NO_GIFS)),
    "lunarlander": Variant(("--preset=lunarlander", "--data.env_kwargs={max_episode_steps: 120}", _NO_GIFS), 32, 25),
    "quantile": Variant(("--preset=mountaincar", "--model.head=quantile", "--model.num_quantiles=7", _NO_GIFS)),
    "noisy, next-step autoreset": Variant(
        ("--preset=cartpole", "--model.noisy=true", "--data.autoreset_mode=NextStep", _NO_GIFS)
    ),
    "frame stacks": Variant(("--preset=cartpole", "--data.frame_stack=3", _NO_GIFS)),
    "a GIF an epoch": Variant(("--preset=cartpole", "--data.env_kwargs={max_episode_steps: 20}", _NO_GIFS, _EVERY_GIF)),
    "the end of a run": Variant(("--preset=cartpole",), epochs=2, stops=10, at_the_end=True),
}


def main() -> int:
    """Stop as often as wanted, in as many processes as asked, and store what happened; return 1 if a run differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--more", action="store_true", help="count the stops of the stored result as made")
    arguments = parser.parse_args()
    # The server of forks must have one thread.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = {signal.SIGKILL: 4, signal.SIGTERM: 4} if arguments.quick else WANTED
    most = 2 if arguments.quick else 1_000
    runs = _stored() if arguments.more else []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.processes) as pool:
        soaking = Soaking(fork_server(), Path(folder))
        while chains := _missing(wanted, runs, most):
            for done in as_completed([pool.submit(soaking.run, *chain) for chain in chains]):
                runs.append(done.result())
                print(f"{sum(len(run.report.struck) for run in runs)} stops, the last run: {runs[-1]}", flush=True)
                _store(runs)
    return 1 if any(run.report.problems for run in runs) else 0


class Run(NamedTuple):
    """One run that was stopped again and again."""

    variant: str
    sent: signal.Signals
    seed: int
    report: Report


class Soaking:
    """Stops runs, each beside one of the same variant that nobody stops."""

    def __init__(self, context: ForkServerContext, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._straight: dict[str, Path] = {}
        self._lock = threading.Lock()

    def run(self, variant: str, sent: signal.Signals, stops: int, seed: int) -> Run:
        """Stop a run until it is over; its files are gone then."""
        kind = VARIANTS[variant]
        given = [*kind.arguments, f"--trainer.max_epochs={kind.epochs}"]
        with self._lock:
            if variant not in self._straight:
                root = self._folder / f"straight {variant}"
                self._straight[variant] = run_straight(self._context, root, given)
        root = self._folder / f"stopped {seed}"
        try:
            report = soak(
                self._context,
                root,
                self._straight[variant],
                sent,
                stops,
                seed,
                given,
                at_the_end=kind.at_the_end,
                fresh_share=FRESH_SHARE,
            )
        except (OSError, RuntimeError) as error:
            report = Report(problems=[repr(error)])
        shutil.rmtree(root)
        return Run(variant, sent, seed, report)


def _missing(wanted: dict[signal.Signals, int], runs: list[Run], most: int) -> list[tuple[str, Any, int, int]]:
    """Return the runs (variant, signal, stops, seed) that make up for what was not stopped yet, signals mixed."""
    chains: list[tuple[float, str, Any, int]] = []
    for sent, count in wanted.items():
        mine = [run for run in runs if run.sent is sent]
        left = total = count - sum(len(run.report.struck) for run in mine)
        names = itertools.islice(itertools.cycle(VARIANTS), len(mine), None)
        while left > 0:
            name = next(names)
            stops = min(VARIANTS[name].stops, left, most)
            chains.append((1 - left / total, name, sent, stops))
            left -= stops
    chains.sort(key=lambda chain: chain[0])
    first = max((run.seed for run in runs), default=-1) + 1
    return [(name, sent, stops, seed) for seed, (_, name, sent, stops) in enumerate(chains, start=first)]


def _stored() -> list[Run]:
    """Return the runs of the stored result."""
    data = json.loads((results.FOLDER / "kill.json").read_text())["data"]
    return [
        Run(
            run["variant"],
            signal.Signals[run["signal"]],
            run["seed"],
            Report([data["places"][place] for place in run["struck"]], run.get("problems", [])),
        )
        for run in data["runs"]
    ]


def _store(runs: list[Run]) -> None:
    """Keep how often each signal struck, where, and every run with its seed and the places of its stops."""
    signals = [sent for sent in WANTED if any(run.sent is sent for run in runs)]
    struck = {
        sent: Counter(place for run in runs if run.sent is sent for place in run.report.struck) for sent in signals
    }
    places = [place for place in (*PLACES, FRESH) if any(place in counts for counts in struck.values())]
    columns = [sent.name for sent in signals]
    rows = [[place, *(struck[sent][place] for sent in signals)] for place in places]
    totals = ["**all**", *(struck[sent].total() for sent in signals)]
    variants = [
        [
            name,
            *(
                sum(len(run.report.struck) for run in runs if (run.variant, run.sent) == (name, sent))
                for sent in signals
            ),
        ]
        for name in VARIANTS
    ]
    problems = [f"{run.variant}, seed {run.seed}: {problem}" for run in runs for problem in run.report.problems]
    results.save(
        "kill",
        "Runs that are stopped",
        [
            results.Table("What the process was doing when the signal came", ["place", *columns], [*rows, totals]),
            results.Table("Stops by run", ["run", *columns], variants),
        ],
        notes=[
            f"{len(runs)} runs ended after their stops with the same weights, optimizer, memory, episodes, metrics, "
            f"pictures and result as runs that nobody stopped; differences, torn files and wrong exit codes: "
            f"{len(problems)}.",
            "Half of the stops are sent by the process itself as it comes to a place, the others from outside, within "
            "30 ms of it or at any time within 2 s of the start. After SIGKILL the place is exact; of the other "
            "signals it is where the process was when they were sent.",
            f"Processes are forked from one that has imported torch and Lightning, so they share its hash seed and "
            f"what it has imported. {FRESH_SHARE:.0%} of the stops strike a process started by the command line.",
        ],
        data={
            "places": places,
            "runs": [
                {
                    "variant": run.variant,
                    "signal": run.sent.name,
                    "seed": run.seed,
                    "struck": [places.index(place) for place in run.report.struck],
                    **({"problems": run.report.problems} if run.report.problems else {}),
                }
                for run in runs
            ],
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
