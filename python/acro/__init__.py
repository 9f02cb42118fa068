"""DQN for PyTorch Lightning, with its replay memory in Rust."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from acro._rust import __version__
from acro.envs import acrobot  # noqa: F401 - registers acro/Acrobot-v1

if TYPE_CHECKING:
    from acro.dqn.agent import Agent, load_agent
    from acro.dqn.module import DQN
    from acro.dqn.networks import QNetwork
    from acro.evaluation import Evaluation, evaluate
    from acro.experience.datamodule import Experience
    from acro.replay import Batch, ReplayMemory

__all__ = [
    "DQN",
    "Agent",
    "Batch",
    "Evaluation",
    "Experience",
    "QNetwork",
    "ReplayMemory",
    "__version__",
    "evaluate",
    "load_agent",
]

_HOMES = {
    "Agent": "acro.dqn.agent",
    "Batch": "acro.replay",
    "DQN": "acro.dqn.module",
    "Evaluation": "acro.evaluation",
    "Experience": "acro.experience.datamodule",
    "QNetwork": "acro.dqn.networks",
    "ReplayMemory": "acro.replay",
    "evaluate": "acro.evaluation",
    "load_agent": "acro.dqn.agent",
}


def __getattr__(name: str) -> object:
    # Importing torch and lightning takes seconds, which the memory and the environments alone do not need.
    if name not in _HOMES:
        raise AttributeError(f"module 'acro' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
