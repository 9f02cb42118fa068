"""Environments stepped by Ray's actors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from differences import differences
from runs import last_checkpoint, train

KILLING: dict[str, Any] = {"env_id": "killing:make_env"}


def ran(folder: Path, **kwargs: Any) -> dict[str, Any]:
    """Return the last checkpoint of a run of three epochs."""
    folder.mkdir(exist_ok=True)
    train(folder, epochs=3, **KILLING, **kwargs)
    return last_checkpoint(folder)


@pytest.mark.parametrize("lag", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_killed_collector_is_replaced_and_no_bit_is_another(lag: int, ray_cluster: Path, tmp_path: Path) -> None:
    here = ran(tmp_path / "here", data={"lag": lag})
    (ray_cluster / "kill").touch()
    elsewhere = ran(tmp_path / "elsewhere", data={"lag": lag, "collectors": 2})

    assert list(ray_cluster.iterdir()) == []
    for name in ("state_dict", "optimizer_states", "Experience", "datamodule_hyper_parameters"):
        assert differences(here[name], elsewhere[name]) == []


@pytest.mark.slow
def test_run_goes_on_with_another_number_of_collectors(ray_cluster: Path, tmp_path: Path) -> None:
    straight = ran(tmp_path / "straight")
    (tmp_path / "moved").mkdir()
    train(tmp_path / "moved", epochs=1, **KILLING)
    train(tmp_path / "moved", epochs=2, resume=True, data={"collectors": 1}, **KILLING)
    moved = ran(tmp_path / "moved", resume=True)

    for name in ("state_dict", "Experience"):
        assert differences(straight[name], moved[name]) == []


def test_environment_that_raises_ends_the_run_with_its_own_error(ray_cluster: Path, tmp_path: Path) -> None:
    (ray_cluster / "raise").touch()

    with pytest.raises(RuntimeError, match="the simulator broke"):
        ran(tmp_path / "run", data={"collectors": 1})
    assert last_checkpoint(tmp_path / "run")["epoch"] == 0
