"""Sweeps against runs in a row, and through kills: `python -m benchmarks.sweep [--quick] [--only speed|kills]`.

Speed: the seconds of a sweep over seeds of `acrobot`, Ray's start included, over those of the same runs by `acro.fit`,
one after another. Kills: a sweep on two nodes of Ray's local cluster utility whose driver, workers and second node are
killed at random moments. Every run must be the same to the bit as the one that `acro.fit` makes alone.
Stored as `benchmarks/results/sweep.json`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from acro.storage.checkpoints import read_checkpoint
from benchmarks import results

PRESET = "acrobot"
_PATIENCE_SECONDS = 3_600.0


def main() -> int:
    """Measure, print and store; return 1 where a run differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--only", choices=["speed", "kills"])
    parser.add_argument("--quick", action="store_true", help="two seeds of four epochs, two kills")
    arguments = parser.parse_args()
    seeds, kills, epochs = arguments.seeds, arguments.kills, None
    if arguments.quick:
        seeds, kills, epochs = 2, 2, 4
    settings = [f"--preset={PRESET}", *([] if epochs is None else [f"--trainer.max_epochs={epochs}"])]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        alone = [_seconds(partial(_fit, settings, seed, root / "alone")) for seed in range(seeds)]
        runs = [root / "alone" / PRESET / f"version_{seed}" for seed in range(seeds)]
        tables, differing = [], []
        if arguments.only != "kills":
            folder = root / "swept"
            swept = _seconds(lambda: _sweep([*settings, "--seeds", str(seeds), f"--trainer.default_root_dir={folder}"]))
            found = _differing(runs, folder / f"{PRESET}-sweep" / "version_0" / PRESET)
            differing += found
            row = [f"{sum(alone):.1f}", f"{swept:.1f}", f"{swept / sum(alone):.2f}", f"{seeds - len(found)} of {seeds}"]
            columns = ["in a row, s", "as a sweep, s", "ratio", "same to the bit"]
            tables.append(results.Table(f"{seeds} seeds of {PRESET}", columns, [row]))
        if arguments.only != "speed":
            folder = root / "killed"
            struck = _sweep_through_kills([*settings, "--seeds", str(seeds)], folder, kills)
            found = _differing(runs, folder / f"{PRESET}-sweep" / "version_0" / PRESET)
            differing += found
            row = [*(str(struck[what]) for what in ("driver", "worker", "node")), f"{seeds - len(found)} of {seeds}"]
            columns = ["drivers killed", "workers killed", "nodes killed", "same to the bit"]
            tables.append(results.Table(f"{seeds} seeds of {PRESET} through {kills} kills", columns, [row]))
    for table in tables:
        results.show(table)
    notes = [
        "Both from the start of the first process to the end of the last, with every picture; the sweep includes the "
        "start of Ray and of its workers, and its report.",
        "A kill is SIGKILL: of the sweep's own process, of a trial's, or of everything on the second node, which then "
        "comes back. After the driver, `--resume` goes on.",
    ]
    print(results.save("sweep", "Sweeps on Ray", tables, notes=notes, data={"alone_seconds": alone}))
    print("\n".join(differing), file=sys.stderr)
    return 1 if differing else 0


def _seconds(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _fit(settings: Sequence[str], seed: int, root: Path) -> None:
    own = [f"--seed_everything={seed}", f"--trainer.default_root_dir={root}"]
    subprocess.run([sys.executable, "-m", "acro.fit", *settings, *own], check=True, capture_output=True)


def _sweep(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "acro.sweep", *arguments], check=True, capture_output=True)


def _sweep_through_kills(arguments: Sequence[str], root: Path, kills: int) -> Counter[str]:
    """Kill, resume and go on until the sweep is over; return how many of each were killed."""
    from ray.cluster_utils import Cluster

    draw, struck = random.Random(0), Counter[str]()
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    folder = root / f"{PRESET}-sweep" / "version_0"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while True:
            begun = (folder / "study.yaml").exists()
            what = [f"--resume={folder}"] if begun else [*arguments, f"--trainer.default_root_dir={root}"]
            command = [sys.executable, "-m", "acro.sweep", *what, "--address", cluster.address]
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while driver.poll() is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the sweep was not over after {_PATIENCE_SECONDS} s")
                wait = time.monotonic() + draw.uniform(2.0, 20.0)
                while driver.poll() is None and time.monotonic() < wait:
                    time.sleep(0.05)
                if driver.poll() is not None or struck.total() >= kills:
                    continue
                target = draw.choice(["driver", "worker", "worker", "node"])
                if target == "driver":
                    driver.kill()
                    driver.wait()
                elif target == "worker":
                    trials = _workers()
                    if not trials:
                        continue
                    os.kill(draw.choice(trials), signal.SIGKILL)
                else:
                    cluster.remove_node(second, allow_graceful=False)
                    second = cluster.add_node(num_cpus=1)
                struck[target] += 1
            if driver.returncode == 0:
                return struck
            if driver.returncode != -signal.SIGKILL:
                raise RuntimeError(f"the sweep ended with exit code {driver.returncode}")
    finally:
        cluster.shutdown()


def _workers() -> list[int]:
    """Return the processes that train, which Ray names so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes()
        except OSError:
            continue
        if title.startswith((b"ray::train", b"ray::Implicit")):
            found.append(int(path.parent.name))
    return found


def _differing(runs: Sequence[Path], folder: Path) -> list[str]:
    """Return every run that is not the same to the bit in `folder`."""
    found = []
    for seed, run in enumerate(runs):
        other = folder / f"version_{seed}"
        same = (run / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
        for name in ("last.ckpt", "best.ckpt"):
            same &= _equal(*(read_checkpoint(each / "checkpoints" / name) for each in (run, other)))
        if not same:
            found.append(f"{other} differs from the run alone")
    return found


def _equal(left: Any, right: Any) -> Any:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, torch.Tensor):
        return left.shape == right.shape and left.numpy().tobytes() == right.numpy().tobytes()
    return left == right or (left != left and right != right)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
