from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One local cluster for all tests of a process; the folder is the one that `killing` looks into."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'acro-dqn[ray]'")
    from acro.experience.ray_session import connected

    kills = tmp_path_factory.mktemp("kills")
    with pytest.MonkeyPatch.context() as patch:
        # Workers import modules of the tests.
        paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("ACRO_TEST_KILLS", str(kills))
        # A minute is not enough where ten processes share a core.
        patch.setenv("RAY_raylet_start_wait_time_s", "300")
        # Beside other tests, which are not nice, workers would starve.
        with connected("these tests", num_cpus=2, niceness=0):
            yield kills


@pytest.fixture(autouse=True)
def _nothing_is_killed_later(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no file to `killing` that a failed test did not use up."""
    yield
    if "ray_cluster" in request.fixturenames:
        for file in request.getfixturevalue("ray_cluster").iterdir():
            file.unlink()
