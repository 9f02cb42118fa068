"""Returns are written with as many digits as they say something."""

from __future__ import annotations

import math

from acro.formatting import format_mean, format_return


def test_returns_are_written_as_people_read_them() -> None:
    values = (-83.0, 1234.0, 0.25, -1234.56, 0.0, -0.0312)
    assert [format_return(value) for value in values] == ["-83", "1,234", "0.25", "-1,234.6", "0", "-0.031"]


def test_small_means_keep_their_digits() -> None:
    means = (-77.94, 0.0, 1.0, 0.96, -0.0312)
    assert [format_mean(mean) for mean in means] == ["-77.9", "0.0", "1.0", "0.96", "-0.031"]
    assert format_mean(-77.94, 0.87) == "-77.9 ± 0.9"
    assert format_mean(0.0312, 0.0049) == "0.031 ± 0.005"
    assert format_mean(1.9e-17, 0.1247) == "0.00 ± 0.12"
    assert format_mean(1.9e-17) == "0.0"


def test_what_is_not_finite_is_written_too() -> None:
    assert [format_mean(mean) for mean in (math.inf, -math.inf)] == ["inf", "-inf"]
