"""What the Trainer iterates over: the rounds of an epoch, and the episodes of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from acro.evaluation import Episodes
from acro.replay import Batch


class RoundLoader:
    """The rounds of an epoch.

    Without a length the Trainer would fetch a round ahead: its actions would be stale, and a checkpoint would miss it.
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
    """One set of episodes; from a list the Trainer would take its fields one by one."""

    def __init__(self, episodes: Callable[[], Episodes]) -> None:
        self._episodes = episodes

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Episodes]:
        yield self._episodes()
