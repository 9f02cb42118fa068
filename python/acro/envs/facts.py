"""Facts about environments that Gymnasium does not give, or gives only in odd places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

# The least and the largest reward of a step, from Gymnasium's documentation; environments do not have them.
_REWARD_RANGES = {
    "acro/Acrobot-v1": (-1.0, 0.0),
    "Acrobot-v1": (-1.0, 0.0),
    "CartPole-v0": (0.0, 1.0),
    "CartPole-v1": (0.0, 1.0),
    "MountainCar-v0": (-1.0, 0.0),
}


def reward_threshold(env_id: object) -> float | None:
    """Return the mean return from which on `env_id` counts as solved; None if its registration has none."""
    if not isinstance(env_id, str):
        return None
    try:
        # Without "module:", which Gymnasium would import: the id may come from someone else's run folder.
        return gymnasium.spec(env_id.rpartition(":")[2]).reward_threshold
    except gymnasium.error.Error:
        return None


def reward_range(env_id: object, env_kwargs: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the least and the largest reward of a step in `env_id`; None if acro does not know them."""
    if env_kwargs.get("sutton_barto_reward"):
        # CartPole's, of 0 and -1.
        return None
    return _REWARD_RANGES.get(env_id.rpartition(":")[2]) if isinstance(env_id, str) else None


def step_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the time limit of `env`'s episodes in steps; None if there is none."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return layer._max_episode_steps
        layer = layer.env
    return None if env.spec is None else env.spec.max_episode_steps


def stacks_frames(env: gymnasium.Env[Any, Any]) -> str | None:
    """Return the name of the wrapper of `env` that stacks frames; None if there is none."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.FrameStackObservation):
            return type(layer).__name__
        layer = layer.env
    return None


def vector_step_limit(env: VectorEnv[Any, Any, Any]) -> int | None:
    """Return the time limit of the episodes in `env` in steps; None if none is known."""
    own: Any = env.unwrapped
    if hasattr(own, "max_episode_steps"):
        return int(own.max_episode_steps)
    if hasattr(own, "envs"):
        return step_limit(own.envs[0])
    return getattr(env.spec, "max_episode_steps", None)


def return_range(reward_range: tuple[float, float], gamma: float, horizon: float) -> tuple[float, float]:
    """Return the least and the largest discounted return of an episode of at most `horizon` steps.

    An episode may end after any number of steps from 1 on, so a sum of n rewards in [low, high] lies between
    low * (1 + gamma + ... + gamma**(horizon - 1)) and the single reward low where low is above 0; likewise for high.

    Args:
        reward_range: The least and the largest reward.
        gamma: Discount factor.
        horizon: The most steps of an episode; infinity needs gamma < 1.

    Raises:
        ValueError: The range is empty, or the sum is not finite.
    """
    low, high = reward_range
    if not low <= high:
        raise ValueError(f"reward_range must be (least, largest), got {reward_range}")
    if not horizon >= 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}")
    if gamma == 1.0 and horizon == float("inf"):
        raise ValueError("gamma=1.0 without a horizon: the returns have no bounds; give v_min and v_max")
    weight = horizon if gamma == 1.0 else (1.0 - gamma**horizon) / (1.0 - gamma)
    return (min(low, low * weight), max(high, high * weight))
