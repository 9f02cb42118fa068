"""Fail at every call of the system that a save makes, one at a time: `python -m benchmarks.faults [--quick]`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from faults import KINDS, Report, fail_every_call
from runs import last_checkpoint, train

from acro import ReplayMemory
from acro.storage.checkpoints import DurableCheckpointIO
from benchmarks import results


def main() -> int:
    """Save checkpoints and memories onto a filesystem that fails, and store what came of it; return 1 for a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files")
    capacity = 400 if parser.parse_args().quick else 100_000
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder), epochs=1, data={"capacity": 400, "prioritized": True})
        checkpoint, memory = last_checkpoint(Path(folder)), _memory(capacity)
        # As large as an Acrobot's run has it.
        checkpoint["more"] = torch.zeros(14 * capacity)
        path = Path(folder) / "file"
        saves: dict[str, Callable[[], object]] = {
            "checkpoint": lambda: DurableCheckpointIO().save_checkpoint(checkpoint, path),
            "memory": lambda: memory.save(path),
        }
        for name, save in saves.items():
            for is_new in (True, False):
                path.write_bytes(b"old")
                reports[f"a {name}, {'no' if is_new else 'another'} file there"] = fail_every_call(
                    save, path, is_new=is_new
                )
    problems = [f"{name}: {problem}" for name, report in reports.items() for problem in report.problems]
    _store(reports, problems)
    return 1 if problems else 0


def _memory(capacity: int) -> ReplayMemory:
    memory = ReplayMemory(capacity, (6,))
    obs = np.random.default_rng(0).standard_normal((capacity, 6), dtype=np.float32)
    zeros = np.zeros(capacity, dtype=np.int64)
    flags = zeros.astype(np.bool_)
    memory.extend(obs, zeros, zeros.astype(np.float32), obs, flags, flags, envs=zeros)
    return memory


def _store(reports: dict[str, Report], problems: list[str]) -> None:
    calls = list(dict.fromkeys(call for report in reports.values() for call in report.failed))
    rows = [
        [name, report.failed.total(), *(report.failed[call] for call in calls), report.kept, report.replaced]
        for name, report in reports.items()
    ]
    table = results.Table(
        "Saves during which one call failed, by the call", ["saved", "saves", *calls, "old file", "new file"], rows
    )
    results.show(table)
    results.save(
        "faults",
        "Saves that fail",
        [table],
        notes=[
            f"Every call fails in each way that it can ({', '.join(KINDS)}; a torn write writes half and fails, a "
            "short one writes half and says so), one a save. Afterwards the file is the old or the new one, whole: the "
            "new one where only the flush of the folder failed, or a write was short, which is no error. Every error "
            f"was the call's own OSError. Problems: {len(problems)}.",
        ],
        data={"problems": problems},
    )


if __name__ == "__main__":
    raise SystemExit(main())
