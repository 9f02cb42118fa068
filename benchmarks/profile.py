"""Where the wall time of `python -m acro.fit` goes, from the first round to the last, everything included."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from acro.cli.parser import prepared
from acro.experience import stepper as stepping
from benchmarks.results import Table, save, show

LABELS = (
    "environment",
    "acting",
    "storing",
    "rest of a round's steps",
    "sampling",
    "update: in Rust",
    "update: target values",
    "update: forward and loss",
    "update: optimizer",
    "update: rest",
    "evaluation",
    "logging",
    "checkpoints",
    "other callbacks",
    "Trainer",
)


class Profile:
    """Seconds by label; what runs inside a labelled call and has a label of its own does not count twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0

    def enter(self, label: str) -> None:
        """Count for `label` from now on."""
        self._charge()
        self._stack.append(label)

    def leave(self) -> None:
        """Count for what was entered before again."""
        self._charge()
        self._stack.pop()

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Put `owner.name` under a label: an instance's or a module's attribute."""
        function: Callable[..., Any] = getattr(owner, name)

        def labelled(*args: Any, **kwargs: Any) -> Any:
            self.enter(label)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, name, labelled)


class Attach(L.Callback):
    """Labels what exists only once training starts, and takes the time of all of it."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Label, and start."""
        wrap = self.profile.wrap
        experience: Any = trainer.datamodule  # type: ignore[attr-defined] # set where fit is given one
        wrap(experience.collector.runner.env, "step", "environment")
        wrap(experience.collector, "collect", "rest of a round's steps")
        wrap(experience, "_sample", "sampling")
        # The memory's methods are native and cannot be set on it: they are labelled where they are called.
        experience.collector.memory = Labelled(experience.collector.memory, self.profile)
        wrap(pl_module, "training_step", "update: rest")
        module: Any = pl_module
        if module.update_backend is not None:
            wrap(module, "update_backend", "update: in Rust")
        else:
            wrap(module, "td_target", "update: target values")
            wrap(module, "loss", "update: forward and loss")
            wrap(module.optimizer, "step", "update: optimizer")
        wrap(pl_module, "validation_step", "evaluation")
        for logger in trainer.loggers:
            wrap(logger, "log_metrics", "logging")
            wrap(logger, "save", "logging")
        wrap(trainer, "save_checkpoint", "checkpoints")
        self.profile.enter("Trainer")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.profile.leave()


class Labelled:
    """A replay memory whose `extend` is labelled."""

    def __init__(self, memory: Any, profile: Profile) -> None:
        self._memory = memory
        self.extend = memory.extend
        profile.wrap(self, "extend", "storing")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)


def main() -> None:
    """Profile several runs and store the medians."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one short run")
    arguments.add_argument("--preset", default="acrobot")
    given = arguments.parse_args()
    extra = ["--trainer.max_epochs=4"] if given.quick else []
    runs = [profiled([f"--preset={given.preset}", *extra]) for _ in range(1 if given.quick else 5)]

    seconds = {label: statistics.median(run.get(label, 0.0) for run in runs) for label in LABELS}
    total = sum(seconds.values())
    updating = sum(spent for label, spent in seconds.items() if label.startswith("update"))
    rows = [(label, f"{spent:.3f}", f"{100 * spent / total:.1f} %") for label, spent in seconds.items()]
    rows.append(("all", f"{total:.3f}", ""))
    rows.append(("outside the update", f"{total - updating:.3f}", f"{100 * (1 - updating / total):.1f} %"))
    table = Table(f"Preset {given.preset}", ["", "seconds", "share"], rows)
    show(table)
    notes = [f"Medians over {len(runs)} runs; the labels' own cost is within them. Making the run is not counted."]
    print(save("profile", "Where the time goes", [table], notes=notes, data=runs))


def profiled(arguments: list[str]) -> dict[str, float]:
    """Return the seconds by label of one run."""
    profile = Profile()
    greedy_actions = vars(stepping)["greedy_actions"]
    with tempfile.TemporaryDirectory() as root, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = [f"--trainer.default_root_dir={root}", "--trainer.enable_progress_bar=false"]
        with prepared([*arguments, *settings]) as cli:
            callbacks: list[L.Callback] = cli.trainer.callbacks  # type: ignore[attr-defined] # Lightning declares none
            for callback in callbacks:
                for hook in ("on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_validation_end"):
                    profile.wrap(callback, hook, "other callbacks")
            callbacks.insert(0, Attach(profile))
            profile.wrap(stepping, "greedy_actions", "acting")
            try:
                cli.trainer.fit(cli.model, cli.datamodule)
            finally:
                setattr(stepping, "greedy_actions", greedy_actions)  # noqa: B010 - it is imported there, not exported
    return dict(profile.seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
