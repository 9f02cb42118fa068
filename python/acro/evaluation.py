"""Plays greedy episodes and keeps their returns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from acro import envs
from acro.envs.facts import vector_step_limit
from acro.envs.finite import check_finite, env_name
from acro.formatting import format_mean

# More environments at once would take more memory without being faster.
MAX_SIDE_BY_SIDE = 128
# For environments without a time limit. ALE's is 27,000, the longest of the usual ones.
STEP_LIMIT = 27_000


class Episodes(NamedTuple):
    """Greedy episodes to play: the arguments of `evaluate`. Episode i is reset with `seed + i`."""

    env_id: str | envs.EnvFactory
    episodes: int
    seed: int
    env_kwargs: dict[str, Any]
    frame_stack: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns and lengths of greedy episodes; episode i was reset with `seed + i`.

    `actions[i]` (lengths[i],) are the actions of episode i, which play it again for a picture; `truncated[i]` is
    whether a time limit ended it.
    """

    seed: int
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    actions: list[NDArray[np.int64]]
    truncated: NDArray[np.bool_]

    def __repr__(self) -> str:
        return (
            f"Evaluation(mean {format_mean(self.mean, self.standard_error)}, median {np.median(self.returns):g}, "
            f"worst {self.returns.min():g}, best {self.returns.max():g}; "
            f"{len(self.returns)} episodes from seed {self.seed})"
        )

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

    def episode(self, which: str) -> int:
        """Return the index of the "best", "median" or "worst" episode, or the number itself."""
        if which == "median":
            return self.median_episode
        if which in ("best", "worst"):
            return int(self.returns.argmax() if which == "best" else self.returns.argmin())
        return int(which)

    def metrics(self, stage: str) -> dict[str, float]:
        """Return the metrics to log, by name; `stage` is "eval" or "test"."""
        low, median, high = np.percentile(self.returns, [10, 50, 90])
        return {
            f"{stage}/return": self.mean,
            f"{stage}/return_min": float(self.returns.min()),
            f"{stage}/return_p10": float(low),
            f"{stage}/return_median": float(median),
            f"{stage}/return_p90": float(high),
            f"{stage}/return_max": float(self.returns.max()),
            f"{stage}/length": float(self.lengths.mean()),
        }


def greedy_actions(network: nn.Module, obs: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the greedy actions (N,) int64 for observations (N, ...), by the network's own method if it has one."""
    if hasattr(network, "greedy_actions"):
        own: NDArray[np.int64] = network.greedy_actions(obs)  # type: ignore[operator] # nn.Module has any attribute
        return own
    parameters = list(network.parameters())
    device = parameters[0].device if parameters else "cpu"
    if obs.dtype == np.float64 and not any(parameter.dtype == torch.float64 for parameter in parameters):
        obs = obs.astype(np.float32)
    with torch.inference_mode():
        actions: Tensor = network(torch.from_numpy(obs).to(device)).argmax(dim=1)
    return actions.cpu().numpy()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a `network` that is in training mode into evaluation mode meanwhile."""
    # A program that was exported or frozen has no modes.
    is_training = getattr(network, "training", False) and not isinstance(network, torch.fx.GraphModule)
    training = [module for module in network.modules() if module.training] if is_training else []
    if training:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def evaluate(
    network: nn.Module,
    env_id: str | envs.EnvFactory,
    episodes: int = 100,
    seed: int = 0,
    env_kwargs: dict[str, Any] | None = None,
    frame_stack: int | None = None,
) -> Evaluation:
    """Play `episodes` greedy episodes together, episode i from `reset(seed=seed + i)`, in evaluation mode.

    With `frame_stack` the network sees stacks of frames, (N, frame_stack, ...), the newest last, as Gymnasium's
    `FrameStackObservation` shows them.

    The environments are made and closed by this call; no global random state is read or changed. Episodes
    without a time limit are cut after 27,000 steps, with a warning.

    Raises:
        ValueError: `episodes` is below 1, or the environment is unknown or not supported, shows other observations than
            the network takes, or returns numbers that are not finite.
        TypeError: `network` is not a module.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"evaluate plays a torch.nn.Module, got a {type(network).__name__}; an Agent has one, .module")
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    parts = []
    for first in range(0, episodes, MAX_SIDE_BY_SIDE):
        count = min(MAX_SIDE_BY_SIDE, episodes - first)
        env = envs.make_vec(env_id, count, autoreset_mode=AutoresetMode.NEXT_STEP, **(env_kwargs or {}))
        try:
            with evaluating(network):
                parts.append(_play_once(network, env, seed + first, frame_stack))
        finally:
            env.close()
    return Evaluation(
        seed,
        np.concatenate([part.returns for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        [actions for part in parts for actions in part.actions],
        np.concatenate([part.truncated for part in parts]),
    )


def _play_once(network: nn.Module, env: VectorEnv, seed: int, frame_stack: int | None) -> Evaluation:
    """Play each environment's first episode to its end; steps after an autoreset do not count."""
    returns = np.zeros(env.num_envs, dtype=np.float64)
    lengths = np.zeros(env.num_envs, dtype=np.int64)
    playing = np.ones(env.num_envs, dtype=np.bool_)
    cut = np.ones(env.num_envs, dtype=np.bool_)
    actions = np.zeros(env.num_envs, dtype=np.int64)
    taken: list[NDArray[np.int64]] = []
    obs, _ = env.reset(seed=seed)
    stacks = None if frame_stack is None else np.stack([obs] * frame_stack, axis=1)  # (N, frame_stack, ...)
    _check_shape(network, env, (obs if stacks is None else stacks).shape[1:])
    limit = STEP_LIMIT if vector_step_limit(env) is None else None
    resets_itself = envs.autoreset_mode(env) is not AutoresetMode.DISABLED
    while playing.any():
        if len(taken) == limit:
            warnings.warn(
                f"{int(playing.sum())} of {env.num_envs} episodes of {env_name(env)} had not ended after {limit} "
                "steps, and were cut there; give the environment a time limit, by max_episode_steps in env_kwargs "
                "(--data.env_kwargs.max_episode_steps) or gymnasium.wrappers.TimeLimit",
                stacklevel=2,
            )
            break
        # The network sees only episodes that still go on, which are few towards the end.
        seen = obs if stacks is None else stacks
        actions[playing] = greedy_actions(network, seen[playing])
        taken.append(actions.copy())
        obs, rewards, terminated, truncated, _ = env.step(actions)
        check_finite(env, len(taken), obs, rewards)
        ended = terminated | truncated
        if not resets_itself and ended.any():
            obs, _ = env.reset(options={"reset_mask": ended})
        if stacks is not None:
            # Episodes that start at a reset are not played.
            stacks[:, :-1], stacks[:, -1] = stacks[:, 1:].copy(), obs
        returns[playing] += rewards[playing]
        lengths += playing
        cut[playing] = ~terminated[playing]
        playing &= ~ended
    by_step = np.stack(taken)  # (T, N)
    actions_of_each = [by_step[:length, index] for index, length in enumerate(lengths)]
    return Evaluation(seed, returns, lengths, actions_of_each, cut)


def _check_shape(network: nn.Module, env: VectorEnv, shape: tuple[int, ...]) -> None:
    """Raise a ValueError if a network that tells its `observation_shape` takes another number of numbers."""
    expected = getattr(network, "observation_shape", None)
    if not isinstance(expected, tuple | list) or math.prod(expected) == math.prod(shape):
        return
    expected = tuple(expected)
    is_stack = expected[1:] == shape
    hint = f"frame_stack={expected[0]}" if is_stack else "an environment that it was made for"
    raise ValueError(f"the network takes observations {expected}, {env_name(env)} shows {shape}; give {hint}")
