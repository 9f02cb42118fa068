"""Facts and checks of the environments to train in and to evaluate in."""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv

from acro import envs
from acro.envs.facts import stacks_frames, step_limit, vector_step_limit


def check_given(env: VectorEnv[Any, Any, Any], num_envs: int, env_kwargs: dict[str, Any] | None) -> None:
    """Check a vector environment that was given instead of an id, and the settings beside it.

    Raises:
        ValueError: It does not fit, or a setting only makes sense for an environment that acro makes.
    """
    envs.check_vectors(env, type(env.unwrapped).__name__)
    if env_kwargs:
        raise ValueError(f"env_kwargs must be left out when the environment is made already, got {env_kwargs}")
    # 8 is the default, so it was not asked for.
    if num_envs not in (8, env.num_envs):
        raise ValueError(f"num_envs must be {env.num_envs} as the given environment's, got {num_envs}; leave it out")


def single_of(env: VectorEnv[Any, Any, Any], eval_env: object) -> tuple[str | envs.EnvFactory, dict[str, Any] | None]:
    """Return the id or function, and the arguments, that make one of the environments in `env`; else its name alone.

    Raises:
        ValueError: `env` does not tell, and `eval_env` is None.
    """
    found = envs.single_of(env)
    if found is None and eval_env is None:
        raise ValueError(
            f"eval_env must say what evaluation plays in, an id or a function: {type(env).__name__} does not tell what "
            "its environments are"
        )
    return found or (type(env.unwrapped).__name__, None)


def check_same(own: tuple[Box, Discrete, float], evaluated: tuple[Box, Discrete, float]) -> None:
    """Check that evaluation has the observations and actions of training; `describe` returns both arguments.

    Raises:
        ValueError: They differ.
    """
    expected, found = ((spaces[0].shape, int(spaces[1].n)) for spaces in (own, evaluated))
    if expected != found:
        raise ValueError(
            f"eval_env must have observations {expected[0]} and {expected[1]} actions as the environment of training, "
            f"got {found[0]} and {found[1]}"
        )


def describe(
    env_id: str | envs.EnvFactory | VectorEnv[Any, Any, Any], env_kwargs: dict[str, Any], frame_stack: int | None = None
) -> tuple[Box, Discrete, float]:
    """Return the observation space, the action space and the time limit in steps, infinity for none.

    Warns if `frame_stack` would stack what a wrapper has stacked already.
    """
    if isinstance(env_id, VectorEnv):
        return _of_many(env_id)
    env_id = envs.find(env_id)
    if envs.makes_vectors(env_id):
        many = envs.make_vec(env_id, 1, **env_kwargs)
        many.close()
        return _of_many(many)
    env = envs.make(env_id, **env_kwargs)
    env.close()
    if frame_stack is not None and (stacking := stacks_frames(env)) is not None:
        warnings.warn(
            f"frame_stack={frame_stack} stacks what {stacking} has stacked already; leave one of them out, the wrapper "
            "for memory's sake",
            stacklevel=3,
        )
    limit = step_limit(env) or math.inf
    return cast(Box, env.observation_space), cast(Discrete, env.action_space), limit


def _of_many(env: VectorEnv[Any, Any, Any]) -> tuple[Box, Discrete, float]:
    limit = vector_step_limit(env) or math.inf
    return cast(Box, env.single_observation_space), cast(Discrete, env.single_action_space), limit
