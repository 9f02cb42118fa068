"""The replay memory: the Python side of rust/replay, and its file."""

from acro.replay.memory import Batch, ReplayMemory

__all__ = ["Batch", "ReplayMemory"]
