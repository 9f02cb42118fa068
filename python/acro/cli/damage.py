"""Turns errors from a checkpoint with senseless content into one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What loading a changed state can raise.
_ODD = (AssertionError, AttributeError, LookupError, OverflowError, RecursionError, RuntimeError, TypeError)


@contextmanager
def blaming(checkpoint: Path | None, has_begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Blame errors before training begins on the checkpoint that the run continues from, if there is one.

    Raises:
        ValueError: The checkpoint cannot be continued; replaces the original error.
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
