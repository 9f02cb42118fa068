"""Small sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acro.cluster.trials import Trial

SETTINGS = {
    "data.env_id": "CartPole-v1",
    "data.env_kwargs": "{max_episode_steps: 30}",
    "data.num_envs": "4",
    "data.steps_per_round": "32",
    "data.steps_per_epoch": "128",
    "data.learning_starts_steps": "64",
    "data.eval_episodes": "3",
    "data.batch_size": "16",
    "data.capacity": "1000",
    "model.hidden": "[8]",
    "trainer.max_epochs": "3",
    "gif": "false",
}
ARGUMENTS = [f"--{name}={value}" for name, value in SETTINGS.items()]


def make_trial(folder: Path, seed: int = 0, group: str = "cartpole", **changed: Any) -> Trial:
    """Return a trial of a few hundred steps."""
    settings = {**SETTINGS, **changed}
    return Trial(folder, group, seed, changed, tuple(f"--{name}={value}" for name, value in settings.items()))
