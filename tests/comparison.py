"""Comparing what environments return."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(ours: Any, theirs: Any, *, atol: float = 0.0) -> None:
    """Same structure, types, dtypes and shapes all the way down, and numbers within `atol`."""
    assert type(ours) is type(theirs)
    if isinstance(ours, (tuple, list)):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            assert_same(our, their, atol=atol)
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_same(ours[name], theirs[name], atol=atol)
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype == object:
            assert_same(list(ours), list(theirs), atol=atol)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
    else:
        assert ours == theirs
