"""Every preset fits the classes it sets, and its schedules end within its run."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml

from acro import DQN, Experience
from acro.cli.options import PRESETS, preset_names


def read(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    return settings


@pytest.mark.parametrize("name", [name for name in preset_names() if name != "lunarlander"])
def test_preset_fits_the_classes(name: str) -> None:
    if name in ("atari", "pong"):
        pytest.importorskip("ale_py")
    if name.startswith("minatar-"):
        pytest.importorskip("minatar")
    settings = read(name)
    experience = Experience(**settings["data"])
    DQN(
        experience.observation_size,
        experience.num_actions,
        return_range=experience.return_range,
        observation_shape=experience.observation_shape,
        observation_dtype=experience.observation_dtype,
        **settings["model"],
    )


def test_lunarlander_without_box2d_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d", raising=False)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d.lunar_lander", raising=False)
    with pytest.raises(ValueError, match=r"LunarLander-v3.*gymnasium\[box2d\]"):
        Experience(**read("lunarlander")["data"])


@pytest.mark.parametrize("name", [name for name in preset_names() if "learning_rate_end" in read(name)["model"]])
def test_learning_rate_reaches_its_end_with_the_run(name: str) -> None:
    settings = read(name)
    data, model = settings["data"], settings["model"]
    steps = settings["trainer"]["max_epochs"] * data["steps_per_epoch"]
    updates = (steps - data["learning_starts_steps"]) * data["updates_per_step"]

    assert 0.9 * updates <= model["learning_rate_decay_updates"] <= 1.1 * updates


def test_acrobot_best_takes_100_000_steps() -> None:
    settings = read("acrobot-best")

    assert settings["trainer"]["max_epochs"] * settings["data"]["steps_per_epoch"] == 100_000
