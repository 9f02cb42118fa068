"""A checkpoint that is whole, and makes no sense: one sentence too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What code finds that takes a state apart which somebody changed.
_ODD = (AssertionError, AttributeError, LookupError, OverflowError, RecursionError, RuntimeError, TypeError)


@contextmanager
def blaming(checkpoint: Path | None, has_begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Blame the checkpoint that a run continues from, if there is one, for what goes wrong before training begins.

    Raises:
        ValueError: In the place of an error that speaks of something else.
    """
    try:
        yield
    except _ODD as error:
        if checkpoint is None or has_begun():
            raise
        text = " ".join(str(error).split())
        raise ValueError(
            f"{checkpoint} cannot be continued, {type(error).__name__}: {text[:200]}; use another checkpoint"
        ) from error
