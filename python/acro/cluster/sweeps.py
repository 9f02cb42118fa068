"""Trains the trials of a sweep with Ray Tune."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Repeater
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.repeater import TRIAL_INDEX

from acro.cluster.space import Dimension
from acro.cluster.table import TrialTable
from acro.cluster.trials import Report, Trial

# Trains a trial, given the report to call after each epoch and the function that says whether to stop.
RunTrial = Callable[[Trial, Report, Callable[[], bool]], None]
# Per trial: lost processes and machines. Errors that an environment raises are not retried.
_MOST_RESTARTS = 100
_METRIC, _STEPS = "best_evaluation", "steps"
# ASHA: a third of the trials continues, to three times the steps.
_REDUCTION_FACTOR = 3


@dataclass(frozen=True)
class Search:
    """The settings of a search.

    Attributes:
        space: The distributions of the settings.
        make_trials: Returns the trials of drawn settings, one for each seed.
        configurations: Number of configurations to try, without the known ones.
        seeds: Number of seeds per configuration.
        known: Settings that an earlier part of this search has drawn, as typed, and their scores.
        seed: The seed of the search itself.
    """

    space: Sequence[Dimension]
    make_trials: Callable[[Mapping[str, str]], Sequence[Trial]]
    configurations: int
    seeds: int
    known: Sequence[tuple[Mapping[str, str], float]] = ()
    seed: int = 0


@dataclass(frozen=True)
class Early:
    """Stop trials that do worse than others, by ASHA (Li et al. 2020).

    Attributes:
        longest_steps: Environment steps of a whole run.
        grace_steps: Steps that every trial gets.
    """

    longest_steps: int
    grace_steps: int


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs of a trial, and how many run at the same time (None for as many as fit)."""

    cpus: int = 1
    gpus: int = 0
    side_by_side: int | None = None


def run_grid(
    trials: Sequence[Trial],
    run_trial: RunTrial,
    table: TrialTable,
    *,
    folder: Path,
    resources: Resources,
    early: Early | None = None,
) -> signal.Signals | None:
    """Train `trials`; return the signal that stopped them, or None if all have ended.

    Ray must be connected. `folder` must be the same on every machine.
    """

    def trial_of(config: Mapping[str, Any]) -> Trial:
        index: int = config["index"]
        return trials[index]

    space = {"index": tune.grid_search(list(range(len(trials))))}
    return _tune(space, trial_of, run_trial, table, folder=folder, resources=resources, early=early)


def run_search(
    search: Search,
    run_trial: RunTrial,
    table: TrialTable,
    *,
    folder: Path,
    resources: Resources,
    early: Early | None = None,
) -> signal.Signals | None:
    """Train the trials that a search draws; returns the same as `run_grid`."""
    space, make_trials = search.space, search.make_trials

    def trial_of(config: Mapping[str, Any]) -> Trial:
        drawn = {dimension.name: dimension.typed(config[dimension.name]) for dimension in space}
        index: int = config[TRIAL_INDEX]
        return make_trials(drawn)[index]

    logging.getLogger("optuna").setLevel(logging.ERROR)
    optuna = OptunaSearch(
        {dimension.name: dimension.distribution() for dimension in space},
        metric=_METRIC,
        mode="max",
        # The same seed would draw the known ones again.
        seed=search.seed + len(search.known),
    )
    for settings, score in search.known:
        optuna.add_evaluated_point(
            {dimension.name: dimension.value(settings[dimension.name]) for dimension in space}, score
        )
    options = {
        "search_alg": Repeater(optuna, repeat=search.seeds, set_index=True),
        "num_samples": search.configurations * search.seeds,
    }
    return _tune({}, trial_of, run_trial, table, folder=folder, resources=resources, early=early, **options)


def _tune(
    space: Mapping[str, Any],
    trial_of: Callable[[Mapping[str, Any]], Trial],
    run_trial: RunTrial,
    table: TrialTable,
    *,
    folder: Path,
    resources: Resources,
    early: Early | None,
    **options: Any,
) -> signal.Signals | None:
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    stop, own = folder / ".stop", folder / ".tune"
    stop.unlink(missing_ok=True)

    def train(config: dict[str, Any]) -> None:
        # Runs in a worker: only its first trial has to import torch and Lightning.
        def report(steps: int, mean: float, best: float) -> None:
            tune.report({_STEPS: steps, "evaluation": mean, _METRIC: best})

        run_trial(trial_of(config), report, stop.exists)

    # None runs the trials in their order.
    scheduler: ASHAScheduler | None = None
    if early is not None:
        scheduler = ASHAScheduler(
            time_attr=_STEPS,
            metric=_METRIC,
            mode="max",
            # One more than there are: a trial that ASHA stops at its last step would play no held-out episodes.
            max_t=early.longest_steps + 1,
            grace_period=early.grace_steps,
            reduction_factor=_REDUCTION_FACTOR,
        )
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space=dict(space),
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            max_concurrent_trials=resources.side_by_side,
            # Workers are reused for further trials.
            reuse_actors=True,
            **options,
        ),
        run_config=tune.RunConfig(
            name=own.name,
            storage_path=str(folder),
            verbose=0,
            stop=_WhenStopped(stop, table),
            callbacks=[_Watcher(table, trial_of)],
            failure_config=tune.FailureConfig(max_failures=_MOST_RESTARTS),
        ),
    )
    with _signals_noted(stop) as received:
        try:
            tuner.fit()
        finally:
            stop.unlink(missing_ok=True)
            # Tune's own files are not needed: a sweep resumes from the run folders.
            shutil.rmtree(own, ignore_errors=True)
    return received[0] if received else None


@contextlib.contextmanager
def _signals_noted(stop: Path) -> Iterator[list[signal.Signals]]:
    """Yield the received signals; the first stops all trials after their round, a second Ctrl-C exits at once."""
    received: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(signum: int, frame: FrameType | None) -> None:
        if received:
            if signum == signal.SIGINT:
                raise KeyboardInterrupt
            return
        received.append(signal.Signals(signum))
        stop.touch()
        os.write(2, b"\nStopping every trial after its round, then saving; Ctrl-C again leaves at once.\n")

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in names}
    for signum, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(signum, note)
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class _Watcher(tune.Callback):  # type: ignore[misc,unused-ignore] # Any without Ray
    """Reports the trials' events to the table."""

    def __init__(self, table: TrialTable, trial_of: Callable[[Mapping[str, Any]], Trial]) -> None:
        self._table = table
        self._trial_of = trial_of

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._table.start(self._trial_of(trial.config))

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        if _STEPS in result:
            self._table.evaluate(self._trial_of(trial.config), result[_STEPS], result["evaluation"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._table.end(self._trial_of(trial.config))

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._table.lose(self._trial_of(trial.config))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._table.end(self._trial_of(trial.config))


class _WhenStopped(tune.Stopper):  # type: ignore[misc,unused-ignore] # Any without Ray
    """Ends the sweep after it was asked to stop and the last trial has ended."""

    def __init__(self, stop: Path, table: TrialTable) -> None:
        self._stop = stop
        self._table = table

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._table.running == 0 and self._stop.exists()
