"""The statistics that the tables of `benchmarks.presets` show."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.presets import interquartile_mean, interval


def test_interquartile_mean_cuts_a_quarter_at_either_end() -> None:
    values = np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])

    assert interquartile_mean(values) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_bootstrap_interval_of_equal_values_has_no_width() -> None:
    assert interval(np.full(10, 3.0)) == (3.0, 3.0)
