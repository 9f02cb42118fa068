"""Makes environments and checks them."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from acro.envs import acrobot
from acro.envs.games import is_game, make_game

# A function that makes an environment; one with a parameter `num_envs` makes a vector environment.
EnvFactory = Callable[..., Any]


def make(env_id: str | EnvFactory, *, render_mode: str | None = None, **env_kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment that acro can train on.

    Args:
        env_id: A Gymnasium id, with `module:` before it if a module registers it, or the id of an Atari or MinAtar
            game; a function that makes the environment, or `module:function`.
        render_mode: Gymnasium's render mode, `rgb_array` for frames; None for none.
        env_kwargs: Arguments of the environment; for an id also of `gymnasium.make`, such as `max_episode_steps`.

    Raises:
        ValueError: There is no such environment, the function makes vector environments, its observations are not a
            Box or its actions not a Discrete that starts at 0.
        TypeError: `env_id` is neither an id nor a function, or the function does not return an environment.
    """
    if render_mode is not None:
        env_kwargs["render_mode"] = render_mode
    env = _make_single(find(env_id), env_kwargs)
    try:
        _check_spaces(env, env.observation_space, env.action_space)
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

    `acro/Acrobot-v1` steps them together in Rust; all others are single ones in Gymnasium's `SyncVectorEnv`, even
    if they have a vector environment of their own, because its state could not be saved.

    Args:
        env_id: See `make`. A function with a parameter `num_envs` makes the vector environment itself, of any class,
            with the autoreset mode in its metadata.
        num_envs: Number of environments, at least 1.
        autoreset_mode: When a new episode starts after one has ended.
        env_kwargs: See `make`.

    Raises:
        ValueError: See `make`; or `num_envs` is below 1.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    mode = AutoresetMode(autoreset_mode)
    if isinstance(env_id, str) and env_id.rpartition(":")[2] == acrobot.ENV_ID:
        return gymnasium.make_vec(acrobot.ENV_ID, num_envs, autoreset_mode=mode, **env_kwargs)
    found = find(env_id)
    if makes_vectors(found):
        return _make_own_vec(found, num_envs, env_kwargs)
    first = make(found, **env_kwargs)
    others = [lambda: _make_single(found, env_kwargs)] * (num_envs - 1)
    return SyncVectorEnv([lambda: first, *others], autoreset_mode=mode)


def find(env_id: str | EnvFactory) -> str | EnvFactory:
    """Return the function named by `module:function`; return anything else as it is.

    Raises:
        ValueError: There is no such module.
        TypeError: `env_id` is neither an id nor a function, but an environment that was made, for example.
    """
    if not isinstance(env_id, str):
        _check_callable(env_id)
        return env_id
    module, colon, name = env_id.rpartition(":")
    if not (colon and name.isidentifier()):
        return env_id
    try:
        found: EnvFactory | None = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise ValueError(f"cannot make the environment {env_id!r}: {error}") from error
    if callable(found):
        return found
    if not any(known.partition("-v")[0] == name for known in gymnasium.registry):
        raise ValueError(
            f"cannot make the environment {env_id!r}: {module} has no function {name}, and registers no environment "
            "of that name"
        )
    return env_id


def name_of(env_id: str | EnvFactory) -> str:
    """Return the id, or the `module:function` that checkpoints have instead of a function."""
    if isinstance(env_id, str):
        return env_id
    _check_callable(env_id)
    return f"{env_id.__module__}:{getattr(env_id, '__qualname__', type(env_id).__qualname__)}"


def _check_callable(env_id: object) -> None:
    if not callable(env_id):
        raise TypeError(
            f"the environment must be an id or a function that makes it, got a {type(env_id).__name__}; "
            "training and evaluation each make their own"
        )


def makes_vectors(env_id: str | EnvFactory) -> bool:
    """Whether `env_id` is a function that makes vector environments."""
    if isinstance(env_id, str):
        return False
    try:
        return "num_envs" in inspect.signature(env_id).parameters
    except (TypeError, ValueError):  # Some callables in C have no signature.
        return False


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode | None:
    """Return the autoreset mode of `env`; None if it does not have one in its metadata."""
    # Before Gymnasium 1.4 all vectors of an environment share their metadata, which the newest one has written.
    for mode in (getattr(env.unwrapped, "autoreset_mode", None), env.metadata.get("autoreset_mode")):
        if isinstance(mode, AutoresetMode):
            return mode
    return None


def check_vectors(env: VectorEnv[Any, Any, Any], name: str) -> None:
    """Check that acro can train in `env`; messages call it `name`.

    Raises:
        ValueError: Its spaces do not fit, or it has no autoreset mode.
    """
    _check_spaces(env, env.single_observation_space, env.single_action_space)
    if autoreset_mode(env) is None:
        mode = env.metadata.get("autoreset_mode")
        raise ValueError(f"metadata['autoreset_mode'] of {name} must be an AutoresetMode, got {mode!r}")


def single_of(env: VectorEnv[Any, Any, Any]) -> tuple[str | EnvFactory, dict[str, Any]] | None:
    """Return the id or function, and the arguments, that make one of the environments in `env`.

    Returns:
        None if that is unknown: a wrapper around the vector environment may change observations.
    """
    own: Any = env
    while isinstance(own, RecordEpisodeStatistics):
        own = own.env
    if isinstance(own, VectorWrapper):
        return None
    spec = own.spec
    if isinstance(spec, EnvSpec) and "wrappers" not in spec.kwargs and not spec.additional_wrappers:
        how = ("num_envs", "vectorization_mode", "vector_kwargs")
        return spec.id, {name: value for name, value in spec.kwargs.items() if name not in how}
    # In Gymnasium 1.2.0 they may be a generator, which was used up.
    functions = getattr(own, "env_fns", None)
    return (functions[0], {}) if isinstance(functions, Sequence) else None


def _make_own_vec(factory: Any, num_envs: int, env_kwargs: dict[str, Any]) -> VectorEnv[Any, Any, Any]:
    env: VectorEnv[Any, Any, Any] = factory(num_envs=num_envs, **env_kwargs)
    try:
        check_vectors(env, name_of(factory))
        if env.num_envs != num_envs:
            raise ValueError(f"{name_of(factory)} must make {num_envs} environments, got {env.num_envs}")
    except ValueError:
        env.close()
        raise
    return env


def _make_single(env_id: str | EnvFactory, env_kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    if not isinstance(env_id, str):
        if makes_vectors(env_id):
            raise ValueError(f"{name_of(env_id)} makes vector environments; a single one is needed here")
        env: gymnasium.Env[Any, Any] = env_id(**env_kwargs)
        if not isinstance(env, gymnasium.Env):
            raise TypeError(f"{name_of(env_id)} must return a gymnasium.Env, got {env!r}")
        return env
    try:
        return make_game(env_id, **env_kwargs) if is_game(env_id) else gymnasium.make(env_id, **env_kwargs)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        old = re.fullmatch(r"(\w+?)(NoFrameskip|Deterministic)-v\d", env_id)
        hint = f"; it is ALE/{old[1]}-v5, without sticky actions with repeat_action_probability=0" if old else ""
        raise ValueError(f"cannot make the environment {env_id!r}: {error}{hint}") from error


def _check_spaces(env: Any, observation_space: Any, action_space: Any) -> None:
    name = env.spec.id if isinstance(env.spec, EnvSpec) else type(env.unwrapped).__name__
    if not isinstance(observation_space, Box):
        raise ValueError(f"{name} has the observation space {observation_space}; acro needs a Box")
    if not isinstance(action_space, Discrete):
        raise ValueError(f"{name} has the action space {action_space}; acro needs a Discrete")
    if action_space.start != 0:
        raise ValueError(f"{name} has the action space {action_space}; acro needs actions that start at 0")
