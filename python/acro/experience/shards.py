"""Environments divided among processes, and their steps and states put together again."""

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
class EnvShard:
    """The environments of one process: `num_envs` of `total_envs`, starting with number `first_env`."""

    env_id: str | envs.EnvFactory
    env_kwargs: dict[str, Any]
    autoreset_mode: AutoresetMode
    exploration: EpsilonGreedy
    seed: int
    first_env: int
    num_envs: int
    total_envs: int
    clip_rewards: bool = False
    life_loss_ends: bool = False

    def make(
        self, env: VectorEnv | None = None, observe: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None = None
    ) -> Stepper:
        """Make the environments, unless `env` is given, and reset them; `observe` is passed to the `Stepper`."""
        if env is None:
            env = envs.make_vec(self.env_id, self.num_envs, autoreset_mode=self.autoreset_mode, **self.env_kwargs)
        return Stepper(
            env,
            self.exploration,
            seed=self.seed + self.first_env,
            total_envs=self.total_envs,
            first_env=self.first_env,
            clip_rewards=self.clip_rewards,
            life_loss_ends=self.life_loss_ends,
            observe=observe,
        )


def concatenate_steps(shards: Sequence[Step]) -> Step:
    """Return the shards' steps (count, n, ...) as one (count, N, ...)."""
    return Step(*(np.concatenate(column, 1) for column in zip(*shards, strict=True)))


def split_state(state: Any, first_env: int, num_envs: int, total_envs: int) -> Any:
    """Return the state of `num_envs` environments, starting with number `first_env`, out of the state of all.

    Whatever has an entry for each environment is split; the rest is the same for every shard.
    """
    if isinstance(state, dict):
        return {name: split_state(value, first_env, num_envs, total_envs) for name, value in state.items()}
    is_listed = isinstance(state, (list, tuple)) or (isinstance(state, np.ndarray) and state.ndim > 0)
    return state[first_env : first_env + num_envs] if is_listed and len(state) == total_envs else state


def merge_states(shards: Sequence[Any], counts: Sequence[int]) -> Any:
    """Return the state of all environments from the states of shards with `counts` environments each."""
    head = shards[0]
    if len(shards) == 1:
        return head
    if isinstance(head, dict):
        return {name: merge_states([shard[name] for shard in shards], counts) for name in head}
    if isinstance(head, np.ndarray) and head.ndim and [len(shard) for shard in shards] == list(counts):
        return np.concatenate(shards)
    if isinstance(head, (list, tuple)) and [len(shard) for shard in shards] == list(counts):
        return type(head)(item for shard in shards for item in shard)
    return head
