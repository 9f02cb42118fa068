"""Comparing states to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Return the places where two nested states differ by a bit."""
    if isinstance(left, dict) and isinstance(right, dict):
        names = [f"{path}.{name}: only in one" for name in left.keys() ^ right.keys()]
        common = left.keys() & right.keys()
        return names + [
            line for name in sorted(common, key=str) for line in differences(left[name], right[name], f"{path}.{name}")
        ]
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            return [f"{path}: {len(left)} and {len(right)} items"]
        pairs = enumerate(zip(left, right, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}[{index}]")]
    if isinstance(left, (torch.Tensor, np.ndarray)):
        left, right = np.asarray(left), np.asarray(right)
        same = left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
        return [] if same else [path]
    return [] if left == right or (left != left and right != right) else [f"{path}: {left!r} and {right!r}"]
