"""Environments divided among processes: what each part is made of, and their steps and states put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from acro import envs
from acro.experience.exploration import EpsilonGreedy
from acro.experience.stepper import Step, Stepper


@dataclass(frozen=True)
class Part:
    """The environments of one process: `count` of all `of`, from `first` on."""

    env_id: str | envs.EnvFactory
    env_kwargs: dict[str, Any]
    autoreset_mode: AutoresetMode
    exploration: EpsilonGreedy
    seed: int
    first: int
    count: int
    of: int
    clip_rewards: bool = False
    life_loss_ends: bool = False

    def make(
        self, env: VectorEnv | None = None, see: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None = None
    ) -> Stepper:
        """Make the environments, unless they are given, and reset them; `see` is the stepper's own."""
        if env is None:
            env = envs.make_vec(self.env_id, self.count, autoreset_mode=self.autoreset_mode, **self.env_kwargs)
        return Stepper(
            env,
            self.exploration,
            seed=self.seed + self.first,
            of=self.of,
            first=self.first,
            clip_rewards=self.clip_rewards,
            life_loss_ends=self.life_loss_ends,
            see=see,
        )


def side_by_side(parts: Sequence[Step]) -> Step:
    """Return the same steps (count, N, ...) of several places as one, in the order of their environments."""
    return Step(*(np.concatenate(column, 1) for column in zip(*parts, strict=True)))


def split_state(state: Any, first: int, count: int, of: int) -> Any:
    """Return the part of a state of `of` environments that is of `count` of them, from `first` on."""
    if isinstance(state, dict):
        return {name: split_state(value, first, count, of) for name, value in state.items()}
    is_listed = isinstance(state, (list, tuple)) or (isinstance(state, np.ndarray) and state.ndim > 0)
    return state[first : first + count] if is_listed and len(state) == of else state


def merge_states(parts: Sequence[Any], counts: Sequence[int]) -> Any:
    """Return the state of all environments from those of `counts` of them, in their order."""
    head = parts[0]
    if len(parts) == 1:
        return head
    if isinstance(head, dict):
        return {name: merge_states([part[name] for part in parts], counts) for name in head}
    if isinstance(head, np.ndarray) and head.ndim and [len(part) for part in parts] == list(counts):
        return np.concatenate(parts)
    if isinstance(head, (list, tuple)) and [len(part) for part in parts] == list(counts):
        return type(head)(item for part in parts for item in part)
    return head
