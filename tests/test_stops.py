"""A run that is stopped at random moments, again and again, ends as one that was not."""

from __future__ import annotations

import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from differences import compare
from stops import fork_server, run_straight, soak

# Of CartPole: it learns something in a few hundred steps, so that there are several best checkpoints.
FOUR_STOPS = ["--preset=cartpole", "--data.prioritized=true", "--trainer.max_epochs=20"]


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """What starts processes that have imported torch and Lightning already."""
    return fork_server()


def test_killed_run_ends_like_one_that_was_not(context: ForkServerContext, tmp_path: Path) -> None:
    straight = run_straight(context, tmp_path / "straight", FOUR_STOPS)
    report = soak(context, tmp_path / "stopped", straight, signal.SIGKILL, 4, 1, FOUR_STOPS)

    assert report.problems == []
    assert len(report.struck) == 4
    # The same comparison must tell runs apart that differ.
    other = run_straight(context, tmp_path / "other", [*FOUR_STOPS, "--seed_everything=1"])
    found = compare(straight, other)
    assert "metrics.csv differs" in found
    assert any(place.startswith("TensorBoard.eval/return") for place in found)
    assert any(place.startswith("best.ckpt.state_dict") for place in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "stops"), [(signal.SIGKILL, 30), (signal.SIGINT, 10), (signal.SIGTERM, 10), (signal.SIGHUP, 10)]
)
def test_run_stopped_many_times_ends_like_one_that_was_not(
    sent: signal.Signals, stops: int, context: ForkServerContext, tmp_path: Path
) -> None:
    # It may be over before all stops were made, which is no harm.
    arguments = ["--preset=cartpole", "--data.prioritized=true", f"--trainer.max_epochs={2 * stops}"]
    straight = run_straight(context, tmp_path / "straight", arguments)
    report = soak(context, tmp_path / "stopped", straight, sent, stops, 0, arguments, fresh_share=0.05)

    assert report.problems == []
    assert len(report.struck) > stops / 2
