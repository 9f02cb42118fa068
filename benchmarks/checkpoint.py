"""What a checkpoint costs: time to save and to load, size and memory: `python -m benchmarks.checkpoint`."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import torch

from acro import DQN, Experience, ReplayMemory
from acro.storage.checkpoints import DurableCheckpointIO, read_checkpoint
from benchmarks import results
from benchmarks.training import bare_trainer

BAR_TRANSITIONS, BAR_MILLISECONDS = 100_000, 50.0


class Save(L.Callback):
    """Fill the memory at the end of training, and save as the callbacks of `acro.fit` do."""

    def __init__(self, folder: Path, repeats: int) -> None:
        self.folder = folder
        self.repeats = repeats
        self.found: dict[str, float] = {}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure."""
        experience: Experience = trainer.datamodule  # type: ignore[attr-defined] # set where fit is given one
        memory = _fill(experience)
        last, best = self.folder / "last.ckpt", self.folder / "best.ckpt"
        before = _peak_megabytes()
        trainer.save_checkpoint(last)
        self.found["save extra MB"] = _peak_megabytes() - before
        self.found["save ms"] = _milliseconds(lambda: trainer.save_checkpoint(last), self.repeats)
        self.found["best ms"] = _milliseconds(lambda: trainer.save_checkpoint(best, weights_only=True), self.repeats)
        self.found["last MB"] = last.stat().st_size / 1e6
        self.found["best MB"] = best.stat().st_size / 1e6
        self.found["memory MB"] = memory.nbytes / 1e6


def _measure_saving(transitions: int, folder: Path, repeats: int) -> dict[str, float]:
    experience, save = Experience(capacity=transitions), Save(folder, repeats)
    module = DQN(experience.observation_size, experience.num_actions)
    trainer = bare_trainer(1, save, plugins=[DurableCheckpointIO()])
    trainer.fit(module, experience)
    return save.found


def _measure_loading(transitions: int, folder: Path, repeats: int) -> dict[str, float]:
    experience = Experience(capacity=transitions)
    experience.setup("fit")

    def load() -> None:
        experience.load_state_dict(read_checkpoint(folder / "last.ckpt")["Experience"])

    before = _peak_megabytes()
    load()
    extra = _peak_megabytes() - before
    return {"load extra MB": extra, "load ms": _milliseconds(load, repeats)}


def _fill(experience: Experience) -> ReplayMemory:
    """Store episodes of 100 steps until the memory is full, and return it."""
    assert experience.collector is not None
    memory, draw = experience.collector.memory, np.random.default_rng(0)
    obs = draw.standard_normal((memory.num_envs, *memory.obs_shape), dtype=np.float32)
    steps = 0
    while not memory.is_full:
        next_obs = draw.standard_normal(obs.shape, dtype=np.float32)
        actions, rewards = draw.integers(0, 3, len(obs)), np.full(len(obs), -1.0)
        steps += 1
        memory.extend(obs, actions, rewards, next_obs, np.full(len(obs), steps % 100 == 0), np.zeros(len(obs), bool))
        obs = next_obs
    return memory


def _milliseconds(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def _peak_megabytes() -> float:
    # The most that the process ever held, so each kind of work has a process of its own. In KiB, on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _in_a_process(work: str, transitions: int, folder: Path, repeats: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.checkpoint", "--child", work, str(transitions), str(folder)]
    done = subprocess.run([*command, str(repeats)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(work: str, transitions: str, folder: str, repeats: str) -> None:
    torch.set_num_threads(1)
    measure = _measure_saving if work == "save" else _measure_loading
    print(json.dumps(measure(int(transitions), Path(folder), int(repeats))))


def main() -> None:
    """Print and store the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and 100,000 transitions only")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(*given.child)
        return
    sizes, repeats = ([BAR_TRANSITIONS], 5) if given.quick else ([BAR_TRANSITIONS, 1_000_000], 25)
    found = {}
    for transitions in sizes:
        # Under the working directory: a temporary folder in memory would make saving look cheap.
        with tempfile.TemporaryDirectory(dir=".") as folder:
            saving = _in_a_process("save", transitions, Path(folder), repeats)
            found[transitions] = {**saving, **_in_a_process("load", transitions, Path(folder), repeats)}
    columns = ["save ms", "load ms", "last MB", "memory MB", "save extra MB", "load extra MB", "best ms", "best MB"]
    table = results.Table(
        "A checkpoint of Acrobot, with two networks of 128 x 128",
        ("transitions", *columns),
        [
            (f"{transitions:,}", *(f"{row[name]:.2f}" if name == "best MB" else f"{row[name]:.1f}" for name in columns))
            for transitions, row in found.items()
        ],
    )
    results.show(table)
    milliseconds = found[BAR_TRANSITIONS]["save ms"]
    verdict = "met" if milliseconds < BAR_MILLISECONDS else "missed"
    print(f"bar: {BAR_TRANSITIONS:,} transitions are saved in under {BAR_MILLISECONDS:.0f} ms: {verdict}")
    results.save(
        "checkpoint",
        "Checkpoints",
        [table],
        notes=[
            f"Medians of {repeats} saves and loads, fsync included, after one that does not count. Extra MB: how far "
            "the first save or load raised the most that its process ever held.",
            "best.ckpt holds the networks alone. Its time includes a copy of the memory that Lightning asks for.",
            f"Bar: under {BAR_MILLISECONDS:.0f} ms at {BAR_TRANSITIONS:,} transitions: {verdict}.",
        ],
        data={str(transitions): row for transitions, row in found.items()},
    )


if __name__ == "__main__":
    main()
