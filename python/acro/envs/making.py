"""Making environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from acro.envs import acrobot

EnvFactory = Callable[[], gymnasium.Env[Any, Any]]


def make(env_id: str | EnvFactory, *, render_mode: str | None = None, **env_kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment that acro can train on.

    Args:
        env_id: An id that Gymnasium knows, with `module:` before it if a module registers it, or what makes it.
        render_mode: None, or what Gymnasium calls so: `rgb_array` for frames.
        env_kwargs: For the environment; for an id also `gymnasium.make`'s own, such as `max_episode_steps`.

    Raises:
        ValueError: There is no such environment, its observations are not a Box or its actions not a Discrete
            that starts at 0.
    """
    if render_mode is not None:
        env_kwargs["render_mode"] = render_mode
    env = _make_single(env_id, env_kwargs)
    try:
        _check_spaces(env)
    except ValueError:
        env.close()
        raise
    return env


def make_vec(
    env_id: str | EnvFactory,
    num_envs: int,
    *,
    autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    **env_kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """Make `num_envs` environments that acro can train on, in one vector environment of this process.

    `acro/Acrobot-v1` steps them together in Rust; all others are Gymnasium's `SyncVectorEnv` of single ones, even
    where they bring a vector environment of their own, because its state could not be saved.

    Args:
        env_id: As for `make`.
        num_envs: How many, at least 1.
        autoreset_mode: When an ended episode makes room for the next.
        env_kwargs: As for `make`.

    Raises:
        ValueError: As for `make`, before a second environment is made; or `num_envs` is below 1.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    mode = AutoresetMode(autoreset_mode)
    if isinstance(env_id, str) and env_id.rpartition(":")[2] == acrobot.ENV_ID:
        return gymnasium.make_vec(acrobot.ENV_ID, num_envs, autoreset_mode=mode, **env_kwargs)
    first = make(env_id, **env_kwargs)
    others = [lambda: _make_single(env_id, env_kwargs)] * (num_envs - 1)
    return SyncVectorEnv([lambda: first, *others], autoreset_mode=mode)


def _make_single(env_id: str | EnvFactory, env_kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    if not isinstance(env_id, str):
        return env_id(**env_kwargs)
    try:
        return gymnasium.make(env_id, **env_kwargs)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise ValueError(f"cannot make the environment {env_id!r}: {error}") from error


def _check_spaces(env: gymnasium.Env[Any, Any]) -> None:
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    if not isinstance(env.observation_space, Box):
        raise ValueError(f"{name} has the observation space {env.observation_space}; acro needs a Box")
    if not isinstance(env.action_space, Discrete):
        raise ValueError(f"{name} has the action space {env.action_space}; acro needs a Discrete")
    if env.action_space.start != 0:
        raise ValueError(f"{name} has the action space {env.action_space}; acro needs actions that start at 0")
