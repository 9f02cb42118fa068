"""How returns are written for people."""

from __future__ import annotations

import math


def format_mean(mean: float, standard_error: float | None = None) -> str:
    """Return `-77.9` or `-77.9 ± 0.9`: one digit after the point, for a mean below 1 its first two that are not 0."""
    digits = _digits(max(abs(mean), standard_error or 0.0))
    return f"{mean:.{digits}f}" + ("" if standard_error is None else f" ± {standard_error:.{digits}f}")


def format_return(value: float) -> str:
    """Return `-1,500` or `0.25`: as `format_mean`, and whole numbers without digits after the point."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.{_digits(value)}f}"


def _digits(value: float) -> int:
    # Below the first bound, a mean of 0 was rounded.
    if not 1e-9 < abs(value) < 1.0:
        return 1
    return 1 - math.floor(math.log10(abs(value)))
