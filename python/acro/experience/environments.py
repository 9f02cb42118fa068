"""Facts and checks of the environments to train in and to evaluate in."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple, cast

import gymnasium
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import VectorEnv

from acro import envs
from acro.envs.facts import stacks_frames, step_limit, vector_step_limit

# The default of `Experience`, which nobody asked for.
_DEFAULT_NUM_ENVS = 8


def check_given(env: VectorEnv[Any, Any, Any], num_envs: int, env_kwargs: dict[str, Any] | None) -> None:
    """Check a vector environment that was given instead of an id, and the settings beside it.

    Raises:
        ValueError: It does not fit, or a setting only makes sense for an environment that acro makes.
    """
    envs.check_vectors(env, type(env.unwrapped).__name__)
    if env_kwargs:
        raise ValueError(f"env_kwargs must be left out when the environment is made already, got {env_kwargs}")
    if num_envs not in (_DEFAULT_NUM_ENVS, env.num_envs):
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


class EnvDescription(NamedTuple):
    """The spaces of one environment, and its time limit in steps, infinity for none."""

    observation_space: Box
    action_space: Discrete
    step_limit: float


def check_same(own: EnvDescription, evaluated: EnvDescription) -> None:
    """Check that evaluation has the observations and actions of training.

    Raises:
        ValueError: They differ.
    """
    expected, found = ((env.observation_space.shape, int(env.action_space.n)) for env in (own, evaluated))
    if expected != found:
        raise ValueError(
            f"eval_env must have observations {expected[0]} and {expected[1]} actions as the environment of training, "
            f"got {found[0]} and {found[1]}"
        )


def describe(
    env_id: str | envs.EnvFactory | VectorEnv[Any, Any, Any], env_kwargs: dict[str, Any], frame_stack: int | None = None
) -> EnvDescription:
    """Return the description of the environment that an id, a function or a vector environment stands for.

    Warns if `frame_stack` would stack what a wrapper has stacked already.
    """
    if isinstance(env_id, VectorEnv):
        for env in getattr(env_id.unwrapped, "envs", ())[:1]:
            _warn_of_stacks(env, frame_stack)
        return _of_many(env_id)
    env_id = envs.find(env_id)
    if envs.makes_vectors(env_id):
        many = envs.make_vec(env_id, 1, **env_kwargs)
        many.close()
        return _of_many(many)
    env = envs.make(env_id, **env_kwargs)
    env.close()
    _warn_of_stacks(env, frame_stack)
    limit = step_limit(env) or math.inf
    return EnvDescription(cast(Box, env.observation_space), cast(Discrete, env.action_space), limit)


def _warn_of_stacks(env: gymnasium.Env[Any, Any], frame_stack: int | None) -> None:
    if frame_stack is not None and (stacking := stacks_frames(env)) is not None:
        warnings.warn(
            f"frame_stack={frame_stack} stacks what {stacking} has stacked already; leave one of them out; the "
            "wrapper takes more memory",
            stacklevel=4,
        )


def _of_many(env: VectorEnv[Any, Any, Any]) -> EnvDescription:
    limit = vector_step_limit(env) or math.inf
    spaces = cast(Box, env.single_observation_space), cast(Discrete, env.single_action_space)
    return EnvDescription(*spaces, limit)
