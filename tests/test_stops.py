"""A run that is stopped at random moments, again and again, ends as one that was not."""

from __future__ import annotations

import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from differences import compare
from stops import fork_server, run_straight, soak

# Long enough for all stops also where another process takes half of the machine.
FOUR_STOPS = ["--trainer.max_epochs=16"]
MANY_STOPS = ["--trainer.max_epochs=100"]


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """What starts processes that have imported torch and Lightning already."""
    return fork_server()


def test_killed_run_ends_like_one_that_was_not(context: ForkServerContext, tmp_path: Path) -> None:
    straight = run_straight(context, tmp_path / "straight", FOUR_STOPS)
    report = soak(context, tmp_path / "stopped", straight, signal.SIGKILL, 4, 1, FOUR_STOPS)

    assert report.problems == []
    assert report.struck.total() == 4
    # The same comparison must tell runs apart that differ.
    other = run_straight(context, tmp_path / "other", [*FOUR_STOPS, "--seed_everything=1"])
    found = compare(straight, other)
    assert "metrics.csv differs" in found
    assert any(place.startswith("TensorBoard.eval/return") for place in found)
    assert any(place.startswith("best.ckpt.state_dict") for place in found)


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "stops"), [(signal.SIGKILL, 30), (signal.SIGINT, 15), (signal.SIGTERM, 15)])
def test_run_stopped_many_times_ends_like_one_that_was_not(
    sent: signal.Signals, stops: int, context: ForkServerContext, tmp_path: Path
) -> None:
    straight = run_straight(context, tmp_path / "straight", MANY_STOPS)
    report = soak(context, tmp_path / "stopped", straight, sent, stops, 0, MANY_STOPS)

    assert report.problems == []
    assert report.struck.total() == stops
    print(f"{sent.name} struck: {dict(report.struck)}")
