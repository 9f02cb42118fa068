"""DQN for PyTorch Lightning, with its replay memory in Rust."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acro.dqn import DQN
    from acro.dqn.networks import QNetwork
    from acro.evaluation import Evaluation, evaluate
    from acro.experience import Experience
    from acro.replay import Batch, ReplayMemory

__all__ = ["DQN", "Batch", "Evaluation", "Experience", "QNetwork", "ReplayMemory", "evaluate"]

_HOMES = {
    "Batch": "acro.replay",
    "DQN": "acro.dqn",
    "Evaluation": "acro.evaluation",
    "Experience": "acro.experience",
    "QNetwork": "acro.dqn.networks",
    "ReplayMemory": "acro.replay",
    "evaluate": "acro.evaluation",
}


def __getattr__(name: str) -> object:
    # The memory alone must not pay for importing torch and lightning, which takes seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 'acro' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
