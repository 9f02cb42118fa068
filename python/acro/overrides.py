"""Which methods a subclass or a single object overrides: a faster implementation must not replace those."""

from __future__ import annotations

from collections.abc import Iterable


def overridden(instance: object, base: type, names: Iterable[str]) -> list[str]:
    """Return those of the methods `names` of `base` that the class of `instance`, or `instance` itself, overrides."""
    return [
        name for name in names if name in vars(instance) or getattr(type(instance), name) is not getattr(base, name)
    ]
