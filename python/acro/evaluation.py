"""Playing greedy episodes and what they returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from acro import envs

# More environments side by side than this make a generic environment's memory grow without making it faster.
MAX_SIDE_BY_SIDE = 128


class Episodes(NamedTuple):
    """Greedy episodes to play, as `evaluate` takes them; episode i is reset with `seed + i`."""

    env_id: str
    episodes: int
    seed: int
    env_kwargs: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of greedy episodes; episode i was reset with `seed + i`.

    `actions[i]` (lengths[i],) are those of episode i: they play it again, for a picture say.
    """

    seed: int
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    actions: list[NDArray[np.int64]]

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def standard_error(self) -> float:
        """The standard error of the mean return; 0 for a single episode."""
        count = len(self.returns)
        return float(self.returns.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0

    @property
    def median_episode(self) -> int:
        """The index of the episode whose return is the lower median."""
        return int(np.argsort(self.returns, kind="stable")[(len(self.returns) - 1) // 2])

    def metrics(self) -> dict[str, float]:
        """Return what a logger gets, by name."""
        low, median, high = np.percentile(self.returns, [10, 50, 90])
        return {
            "eval/return": self.mean,
            "eval/return_min": float(self.returns.min()),
            "eval/return_p10": float(low),
            "eval/return_median": float(median),
            "eval/return_p90": float(high),
            "eval/return_max": float(self.returns.max()),
            "eval/length": float(self.lengths.mean()),
        }


def greedy_actions(
    network: Callable[[Tensor], Tensor], obs: NDArray[np.generic], device: torch.device | str
) -> NDArray[np.int64]:
    """Return the actions (N,) int64 of largest value in observations (N, ...)."""
    with torch.inference_mode():
        actions: Tensor = network(torch.from_numpy(obs).to(device)).argmax(dim=1)
    return actions.cpu().numpy()


def evaluate(
    network: nn.Module,
    env_id: str,
    episodes: int = 100,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Play `episodes` greedy episodes side by side, episode i from `reset(seed=seed + i)`.

    The environments are made for this call and closed after it; no global random state is read or changed.

    Raises:
        ValueError: `episodes` is below 1, or the environment is unknown or not supported.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes}: at least one episode must be played")
    returns, lengths, actions = [], [], []
    for first in range(0, episodes, MAX_SIDE_BY_SIDE):
        count = min(MAX_SIDE_BY_SIDE, episodes - first)
        env = envs.make_vec(env_id, count, autoreset_mode=AutoresetMode.NEXT_STEP, **(env_kwargs or {}))
        try:
            part = _play_once(network, env, seed + first, device)
        finally:
            env.close()
        returns.append(part[0])
        lengths.append(part[1])
        actions.extend(part[2])
    return Evaluation(seed, np.concatenate(returns), np.concatenate(lengths), actions)


def _play_once(
    network: nn.Module, env: VectorEnv, seed: int, device: torch.device | str
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[NDArray[np.int64]]]:
    """Play each environment's first episode to its end; what follows an autoreset does not count.

    Returns:
        Returns (N,), lengths (N,) and the actions (length,) of each episode.
    """
    returns = np.zeros(env.num_envs, dtype=np.float64)
    lengths = np.zeros(env.num_envs, dtype=np.int64)
    playing = np.ones(env.num_envs, dtype=np.bool_)
    actions = np.zeros(env.num_envs, dtype=np.int64)
    taken = []
    obs, _ = env.reset(seed=seed)
    while playing.any():
        # The network sees the episodes that still go on: towards the end, few of many.
        actions[playing] = greedy_actions(network, obs[playing], device)
        taken.append(actions.copy())
        obs, rewards, terminated, truncated, _ = env.step(actions)
        returns[playing] += rewards[playing]
        lengths += playing
        playing &= ~(terminated | truncated)
    by_step = np.stack(taken)  # (T, N)
    return returns, lengths, [by_step[:length, index] for index, length in enumerate(lengths)]
