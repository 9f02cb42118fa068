"""Distributions of a search, such as `loguniform(1e-4,1e-2)`, with the names and bounds of Ray Tune."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_KINDS = {
    "uniform": "uniform(LOW,HIGH)",
    "loguniform": "loguniform(LOW,HIGH)",
    "randint": "randint(LOW,HIGH), HIGH excluded",
    "lograndint": "lograndint(LOW,HIGH), HIGH excluded",
    "choice": "choice(ONE,OTHER,...)",
}
# Drawn numbers are rounded to so many digits, so that folders' names and tables show the exact value.
_DIGITS = 6


@dataclass(frozen=True)
class Dimension:
    """The distribution of a setting's values."""

    name: str
    kind: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, name: str, text: str) -> Dimension:
        """Return the distribution that `text` describes.

        Raises:
            ValueError: It is not a distribution, or has no values.
        """
        match = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", text, re.DOTALL)
        if match is None or match[1] not in _KINDS:
            raise ValueError(f"--search {name}={text}: expected one of {'; '.join(_KINDS.values())}")
        dimension = cls(name, match[1], tuple(split(match[2])))
        dimension._check(text)
        return dimension

    def _check(self, text: str) -> None:
        if self.kind == "choice":
            if not self.arguments or len(set(self.arguments)) < len(self.arguments):
                raise ValueError(f"--search {self.name}={text}: choice needs values that differ")
            return
        form = _KINDS[self.kind]
        try:
            low, high = self._bounds()
        except ValueError as error:
            raise ValueError(f"--search {self.name}={text}: expected numbers, {form}") from error
        least = low + 1 if self._is_integer else low
        if not least < high + self._is_integer or (self.kind.startswith("log") and low <= 0):
            above = ", LOW above 0" if self.kind.startswith("log") else ""
            raise ValueError(f"--search {self.name}={text}: LOW must be below HIGH in {form}{above}")

    def _bounds(self) -> tuple[float, float]:
        low, high = (int(text) if self._is_integer else float(text) for text in self.arguments)
        return low, high

    @property
    def _is_integer(self) -> bool:
        return self.kind.endswith("randint")

    @property
    def is_logarithmic(self) -> bool:
        """Whether the logarithms of the values are uniform."""
        return self.kind.startswith("log")

    def distribution(self) -> BaseDistribution:
        """Return the same distribution of Optuna's."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.arguments)
        low, high = self._bounds()
        if self._is_integer:
            return IntDistribution(int(low), int(high) - 1, log=self.is_logarithmic)
        return FloatDistribution(low, high, log=self.is_logarithmic)

    def examples(self) -> list[str]:
        """Return the bounds and a fraction between them, or all choices; all of them must be allowed settings."""
        if self.kind == "choice":
            return list(self.arguments)
        low, high = self._bounds()
        if self._is_integer:
            return [self.typed(low), self.typed(high - 1)]
        # A setting that takes whole numbers only takes the bounds.
        return [self.typed(low), self.typed(high), self.typed(low + (high - low) / math.pi)]

    def typed(self, value: Any) -> str:
        """Return a drawn value as it would be typed."""
        if self.kind == "choice":
            return str(value)
        return str(int(value)) if self._is_integer else f"{value:.{_DIGITS}g}"

    def value(self, typed: str) -> Any:
        """Return Optuna's value for a typed one."""
        if self.kind == "choice":
            return typed
        low, high = self._bounds()
        # Rounding may have moved a drawn value past a bound with more digits.
        return int(typed) if self._is_integer else min(max(float(typed), low), high)


def space_of(search: Mapping[str, str]) -> list[Dimension]:
    """Return the dimensions of a search, by name.

    Raises:
        ValueError: One of them is not a distribution.
    """
    return [Dimension.parse(name, text) for name, text in search.items()]


def split(text: str) -> list[str]:
    """Split `text` at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in ")}]":
            depth -= 1
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
