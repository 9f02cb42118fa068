"""What the Trainer iterates over: an epoch's rounds, and the episodes of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from acro.evaluation import Episodes
from acro.replay import Batch


class Rounds:
    """An epoch of rounds, for the Trainer.

    It has a length, or the Trainer would fetch one round ahead: stale actions, and checkpoints with a round in flight.
    """

    def __init__(self, make_round: Callable[[], Batch], count: int) -> None:
        self._make_round = make_round
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self._count):
            yield self._make_round()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the Trainer drops a loader's state at epoch ends, so `Experience` holds it all."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Accept what `state_dict` returned."""


class EpisodeLoader:
    """One set of episodes, for the Trainer, which takes a list of them apart."""

    def __init__(self, episodes: Callable[[], Episodes]) -> None:
        self._episodes = episodes

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Episodes]:
        yield self._episodes()
