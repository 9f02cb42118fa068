"""A run that was killed again and again ends as one that was not: the short form of `benchmarks.kill`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from benchmarks.kill import compare, processes, run_straight, soak

# Long enough for four stops also where another process takes half of the machine.
ARGUMENTS = ["--trainer.max_epochs=16"]


@pytest.fixture(scope="module")
def context() -> Any:
    """What starts processes."""
    return processes()


@pytest.fixture(scope="module")
def straight(context: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not stopped."""
    return run_straight(context, tmp_path_factory.mktemp("straight") / "runs", ARGUMENTS)


def test_killed_run_ends_like_one_that_was_not(context: Any, straight: Path, tmp_path: Path) -> None:
    report = soak(context, tmp_path / "runs", straight, signal.SIGKILL, 4, 1, ARGUMENTS)

    assert report.problems == []
    assert report.struck.total() == 4


def test_comparison_notices_another_run(context: Any, straight: Path, tmp_path: Path) -> None:
    other = run_straight(context, tmp_path / "runs", [*ARGUMENTS, "--seed_everything=1"])

    found = compare(straight, other)
    assert "metrics.csv differs" in found
    assert any(place.startswith("TensorBoard.eval/return") for place in found)
    assert any(place.startswith("best.ckpt.state_dict") for place in found)
