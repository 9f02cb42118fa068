"""Every call of a save fails once: the file is the old or the new one, whole, and the error is the call's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import fail_every_call

from acro import ReplayMemory
from acro.storage import files
from acro.storage.checkpoints import DurableCheckpointIO


def save_checkpoint(path: Path) -> None:
    # Larger than a file's buffer, so that there are several writes.
    DurableCheckpointIO().save_checkpoint({"weights": torch.arange(20_000.0), "steps": 3}, path)


def save_memory(path: Path) -> None:
    memory = ReplayMemory(2_000, (4,))
    memory.extend(*_rows(2_000), envs=np.zeros(2_000, dtype=np.int64))
    memory.save(path)


def _rows(count: int) -> tuple[np.ndarray, ...]:
    obs = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    flags = np.zeros(count, dtype=np.bool_)
    return obs, np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.float32), obs + 1, flags, flags


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "replaced"])
@pytest.mark.parametrize("save", [save_checkpoint, save_memory])
def test_failing_call_leaves_the_old_or_the_new_file(
    save: Callable[[Path], None], is_new: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    report = fail_every_call(lambda: save(path), path, is_new=is_new)

    assert report.problems == []
    assert {"open", "write", "fsync", "close", "replace"} <= report.failed.keys()
    assert report.kept > report.replaced > 0


def test_save_that_writes_in_place_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def save_in_place() -> None:
        with getattr(files, "open", open)(path, "w+b") as file:
            file.write(bytes(20_000))

    report = fail_every_call(save_in_place, path, is_new=False)

    assert "ENOSPC in write:; the file is neither the old nor the new one" in report.problems
