"""How Ray is started."""

from __future__ import annotations

from typing import Any

import pytest

from acro.experience.engine import connected


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
    monkeypatch.setattr(ray, "init", lambda **kwargs: options.update(kwargs))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    with connected("these tests", address=given):
        pass

    # Without any, Ray would join what was started on this machine before, and refuse a number of CPUs.
    assert options["address"] == address
    assert ("num_cpus" in options) == (address == "local")
