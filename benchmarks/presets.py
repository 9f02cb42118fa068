"""Train a preset on many seeds: `python -m benchmarks.presets [--quick] [--preset NAME]`.

For each seed: the environment steps and training seconds until it is solved, the returns of its best checkpoint in
held-out episodes, and its last evaluation. Stored as `benchmarks/results/presets-NAME.json`.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from acro import DQN, Experience
from acro.callbacks.checkpointing import SaveBest
from acro.cli.options import PRESETS, preset_names
from acro.envs.facts import reward_threshold
from acro.evaluation import evaluate
from acro.storage.checkpoints import DurableCheckpointIO, read_checkpoint
from benchmarks import results

QUICK_EPOCHS = 8
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Outcome:
    """What one seed came to; a time or step to the threshold is None where it was not reached."""

    seed: int
    solved_step: int | None
    solved_seconds: float | None
    best_step: int
    mean: float
    median: float
    worst: float
    at_limit: int
    last_mean: float
    training_seconds: float
    total_seconds: float
    curve: list[tuple[int, float]]


class Stopwatch(L.Callback):
    """The curve of a run against its training seconds, without the evaluations'."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.points: list[tuple[int, float, float]] = []
        self._resumed_at = 0.0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start: making the environments counts."""
        self._resumed_at = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.seconds += time.perf_counter() - self._resumed_at

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the evaluation and go on."""
        evaluation: Any = pl_module.last_evaluation
        self.points.append((trainer.datamodule.env_steps, self.seconds, evaluation.mean))  # type: ignore[attr-defined]
        self._resumed_at = time.perf_counter()


def main() -> None:
    """Train every seed, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=preset_names(), default="acrobot")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--jobs", type=int, default=1, help="seeds trained side by side; their seconds suffer")
    parser.add_argument("--episodes", type=int, default=100, help="held-out episodes that the best checkpoint plays")
    parser.add_argument("--quick", action="store_true", help=f"two seeds, {QUICK_EPOCHS} epochs each")
    arguments = parser.parse_args()
    settings = read_preset(arguments.preset)
    seeds = arguments.seeds
    if arguments.quick:
        settings["trainer"]["max_epochs"], seeds = min(QUICK_EPOCHS, settings["trainer"]["max_epochs"]), seeds[:2]
    outcomes = []
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), initializer=prepare) as processes:
        for outcome in processes.map(partial(train, settings, episodes=arguments.episodes), seeds):
            outcomes.append(outcome)
            print(describe(outcome), flush=True)
    experience = Experience(**settings["data"])
    threshold = reward_threshold(experience.env_id)
    steps = settings["trainer"]["max_epochs"] * experience.steps_per_epoch
    tables = [_seeds_table(outcomes, threshold), _summary_table(outcomes)]
    for table in tables:
        results.show(table)
    data = {"settings": settings, "outcomes": [asdict(outcome) for outcome in outcomes]}
    title = f"Preset {arguments.preset}: {experience.env_id}, {steps:,} steps"
    print(
        results.save(
            "presets",
            title,
            tables,
            notes=_notes(experience, threshold, arguments.jobs, arguments.episodes),
            data=data,
            part=arguments.preset,
        )
    )


def _notes(experience: Experience, threshold: float | None, jobs: int, held_out: int) -> list[str]:
    episodes = experience.hparams["eval_episodes"]
    notes = [
        f"One thread a seed, {jobs} at a time. Every {experience.steps_per_epoch:,} steps, {episodes} greedy episodes "
        "choose the best checkpoint, of equals the last; the columns from mean to at limit are that checkpoint's, "
        f"played from the starts of {held_out} held-out episodes. At limit: how many of them lasted until the time "
        "limit. Last: the mean of the run's last evaluation, which no choice has touched.",
        "Training seconds count from the environments' making on; evaluations are left out.",
        f"The interval holds 95% of {_RESAMPLES:,} bootstrap resamples over seeds; IQM is the interquartile mean.",
    ]
    if threshold is not None:
        notes.insert(0, f"Solved: the first evaluation whose mean is at least {threshold:g}.")
    return notes


def prepare() -> None:
    """Make a process ready to train: one thread, no words of Lightning's own."""
    torch.set_num_threads(1)
    quieten()


def quieten() -> None:
    """Keep Lightning's advertisements and tips out of the output."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)


def read_preset(name: str) -> dict[str, Any]:
    """Return the preset's "trainer", "data" and "model" settings."""
    settings: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    return settings


def train(settings: dict[str, Any], seed: int, *, episodes: int = 100) -> Outcome:
    """Train once as `acro.fit` does, without its pictures and logs, and play the checkpoint that validation chose."""
    L.seed_everything(seed, verbose=False)
    experience = Experience(**settings["data"], seed=seed)
    module = DQN(
        experience.observation_size,
        experience.num_actions,
        return_range=experience.return_range,
        **settings["model"],
    )
    watch = Stopwatch()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.ckpt"
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=settings["trainer"]["max_epochs"],
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            plugins=[DurableCheckpointIO()],
            # `watch` first: what the checkpoint costs is training's.
            callbacks=[watch, SaveBest(path)],
        )
        trainer.fit(module, experience)
        module.load_state_dict(read_checkpoint(path)["state_dict"])
    module.eval()
    held_out = evaluate(module, *experience.held_out_episodes()._replace(episodes=episodes))
    total_seconds = time.perf_counter() - start
    threshold = reward_threshold(experience.env_id)
    solved = [point for point in watch.points if threshold is not None and point[2] >= threshold]
    return Outcome(
        seed=seed,
        solved_step=solved[0][0] if solved else None,
        solved_seconds=solved[0][1] if solved else None,
        best_step=max(watch.points, key=lambda point: (point[2], point[0]))[0],
        mean=held_out.mean,
        median=float(np.median(held_out.returns)),
        worst=float(held_out.returns.min()),
        at_limit=int((held_out.lengths >= _step_limit(str(experience.env_id))).sum()),
        last_mean=watch.points[-1][2],
        training_seconds=watch.seconds,
        total_seconds=total_seconds,
        curve=[(step, mean) for step, _, mean in watch.points],
    )


def describe(outcome: Outcome) -> str:
    """Return an outcome in one line."""
    solved = "not solved"
    if outcome.solved_step is not None:
        solved = f"solved at step {outcome.solved_step:,} after {outcome.solved_seconds:.1f} s"
    return (
        f"seed {outcome.seed}: {solved}; best at step {outcome.best_step:,}: mean {outcome.mean:.1f}, "
        f"median {outcome.median:.0f}, worst {outcome.worst:.0f}, {outcome.at_limit} at limit; "
        f"last {outcome.last_mean:.1f}; training {outcome.training_seconds:.1f} s"
    )


def interquartile_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the middle half of the last axis; a quarter (rounded down) is cut at either end."""
    cut = values.shape[-1] // 4
    middle: NDArray[np.float64] = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    return np.asarray(middle.mean(axis=-1))


def interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95% percentile-bootstrap interval of the interquartile mean over `values`."""
    draws = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(interquartile_mean(values[draws]), [2.5, 97.5])
    return float(low), float(high)


def _seeds_table(outcomes: Sequence[Outcome], threshold: float | None) -> results.Table:
    columns = ["seed", "solved at step", "training s", "best step"]
    columns += ["mean", "median", "worst", "at limit", "last", "all s"]
    rows = [
        [
            outcome.seed,
            "never" if outcome.solved_step is None else f"{outcome.solved_step:,}",
            "never" if outcome.solved_seconds is None else f"{outcome.solved_seconds:.1f}",
            f"{outcome.best_step:,}",
            f"{outcome.mean:.1f}",
            f"{outcome.median:.0f}",
            f"{outcome.worst:.0f}",
            outcome.at_limit,
            f"{outcome.last_mean:.1f}",
            f"{outcome.total_seconds:.1f}",
        ]
        for outcome in outcomes
    ]
    return results.Table("Every seed" if threshold is None else f"Every seed; solved: >= {threshold:g}", columns, rows)


def _summary_table(outcomes: Sequence[Outcome]) -> results.Table:
    figures: dict[str, Sequence[float | None]] = {
        "solved at step": [outcome.solved_step for outcome in outcomes],
        "training seconds until then": [outcome.solved_seconds for outcome in outcomes],
        "mean return of the best checkpoint": [outcome.mean for outcome in outcomes],
        "its worst episode": [outcome.worst for outcome in outcomes],
        "mean return of the last evaluation": [outcome.last_mean for outcome in outcomes],
        "training seconds in all": [outcome.training_seconds for outcome in outcomes],
    }
    rows = [[name, *_summary(values)] for name, values in figures.items()]
    return results.Table("Over seeds", ["", "mean", "median", "IQM", "interval", "least", "largest"], rows)


def _summary(values: Sequence[float | None]) -> list[str]:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if len(known) < len(values):
        return ["", "", "", "", "", f"{len(values) - len(known)} of {len(values)} never"]
    low, high = interval(known)
    digits = ",.0f" if known.max() > 1_000 else ".1f"
    middle = [known.mean(), np.median(known), interquartile_mean(known)]
    return [
        *(format(value, digits) for value in middle),
        f"{low:{digits}} to {high:{digits}}",
        *(format(value, digits) for value in (known.min(), known.max())),
    ]


def _step_limit(env_id: str) -> float:
    """Return the steps after which the environment cuts an episode; infinity if it has no limit."""
    return gymnasium.spec(env_id).max_episode_steps or float("inf")


if __name__ == "__main__":
    main()
