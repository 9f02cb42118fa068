"""How Ray is started."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from acro.experience.ray_session import connected


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [(None, None, "local"), (None, "one:6379", "one:6379"), ("two:6379", "one:6379", "two:6379")],
)
def test_ray_starts_here_unless_a_cluster_is_named(
    given: str | None, environment: str | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'acro-dqn[ray]'")
    options: dict[str, Any] = {}
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def init(**kwargs: Any) -> None:
        options.update(kwargs)
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(signum))

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    with connected("these tests", address=given):
        # Ray would leave at once, where the Trainer saves after the round.
        assert signal.getsignal(signal.SIGTERM) is before

    # Without any, Ray would join what was started on this machine before, and refuse a number of CPUs.
    assert options["address"] == address
    assert ("num_cpus" in options) == (address == "local")
