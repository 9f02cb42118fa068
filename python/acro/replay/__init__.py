"""The replay memory: the face of rust/replay, and its file."""

from acro.replay.memory import Batch, ReplayMemory

__all__ = ["Batch", "ReplayMemory"]
