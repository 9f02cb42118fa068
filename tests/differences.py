"""Comparing states and run folders to the bit."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from acro.storage.checkpoints import read_checkpoint

# It speaks of every run that was resumed.
logging.getLogger("tensorboard").setLevel(logging.ERROR)


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Return the places where two nested states differ by a bit."""
    if isinstance(left, dict) and isinstance(right, dict):
        names = [f"{path}.{name}: only in one" for name in left.keys() ^ right.keys()]
        common = left.keys() & right.keys()
        return names + [
            line for name in sorted(common, key=str) for line in differences(left[name], right[name], f"{path}.{name}")
        ]
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            return [f"{path}: {len(left)} and {len(right)} items"]
        pairs = enumerate(zip(left, right, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}[{index}]")]
    if isinstance(left, (torch.Tensor, np.ndarray)):
        left, right = (np.asarray(it.cpu() if isinstance(it, torch.Tensor) else it) for it in (left, right))
        same = left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
        return [] if same else [path]
    return [] if left == right or (left != left and right != right) else [f"{path}: {left!r} and {right!r}"]


def compare(left: Path, right: Path) -> list[str]:
    """Return every difference between two runs' folders, but for the names of the folders."""
    found: list[str] = []
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (read_checkpoint(folder / "checkpoints" / name) for folder in (left, right))
        found.extend(f"{name}{place}" for place in differences(ours, theirs))
    pictures = [{path.relative_to(folder).as_posix() for path in folder.glob("**/*.gif")} for folder in (left, right)]
    for name in ("metrics.csv", "learning_curve.svg", *sorted(pictures[0] | pictures[1])):
        if not all((folder / name).is_file() for folder in (left, right)):
            found.append(f"{name}: only in one")
        elif (left / name).read_bytes() != (right / name).read_bytes():
            found.append(f"{name} differs")
    results = [json.loads((folder / "result.json").read_text()) for folder in (left, right)]
    found.extend(f"result.json{place}" for place in differences(*results) if not place.startswith(".seconds"))
    found.extend(f"TensorBoard{place}" for place in differences(scalars(left), scalars(right)))
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a run: (step, value) by name, every point once."""
    # TensorBoard reads files in the order of their names, which have seconds in them; tests resume sooner than that.
    files = sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns)
    with TemporaryDirectory() as ordered:
        for place, path in enumerate(files):
            (Path(ordered) / f"events.out.tfevents.{place:06}").symlink_to(path.resolve())
        events = EventAccumulator(ordered, size_guidance={"scalars": 0})
        events.Reload()
    found: dict[str, list[tuple[int, float]]] = {}
    for tag in events.Tags()["scalars"]:
        if tag.startswith("time/"):
            continue
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        # A finished run that is shown again says once more how good its best evaluation was.
        # A finished run that is extended or shown again is tested again.
        found[tag] = points[-1:] if tag == "hp_metric" or tag.startswith("test/") else points
    return found
