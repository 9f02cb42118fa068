"""Means over seeds, and their intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


def interquartile_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the interquartile mean over the last axis: a quarter (rounded down) is cut at either end."""
    cut = values.shape[-1] // 4
    middle: NDArray[np.float64] = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut]
    return np.asarray(middle.mean(axis=-1))


def interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95% stratified-bootstrap interval of the interquartile mean over the seeds (n,) of one task.

    Seeds are resampled within their configuration (Agarwal et al. 2021).
    """
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(interquartile_mean(values[draws]), [2.5, 97.5])
    return float(low), float(high)
