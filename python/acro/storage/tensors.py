"""Converts state dicts between NumPy arrays and tensors: checkpoints have tensors and plain values only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def to_tensors(state: Any) -> Any:
    """Return `state` with every array as a tensor that shares its memory, and NumPy's scalars as Python's.

    A file of tensors and plain values loads with `torch.load(..., weights_only=True)`, which refuses arrays.
    """
    if isinstance(state, np.ndarray):
        # Empty arrays may share an address, and torch.save refuses an address with two dtypes.
        return torch.from_numpy(state if state.size else np.empty_like(state))
    if isinstance(state, np.generic):
        return state.item()
    if isinstance(state, dict):
        return {key: to_tensors(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(to_tensors(value) for value in state)
    return state


def to_arrays(state: Any) -> Any:
    """Return `state` with every tensor as an array that shares its memory."""
    if isinstance(state, torch.Tensor):
        return state.cpu().numpy()
    if isinstance(state, dict):
        return {key: to_arrays(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(to_arrays(value) for value in state)
    return state
