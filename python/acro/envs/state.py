"""The state of Gymnasium's classic-control environments, as plain values and NumPy arrays."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs import classic_control
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, RecordEpisodeStatistics, TimeLimit

from acro.envs.acrobot import AcrobotEnv, AcrobotVectorEnv

# What changes from step to step, beside the random stream. Exact types: a subclass may have more.
_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    AcrobotEnv: ("state",),
    classic_control.AcrobotEnv: ("state",),
    classic_control.CartPoleEnv: ("state", "steps_beyond_terminated"),
    classic_control.MountainCarEnv: ("state",),
    classic_control.Continuous_MountainCarEnv: ("state",),
    classic_control.PendulumEnv: ("state", "last_u"),
    OrderEnforcing: ("_has_reset",),
    PassiveEnvChecker: (),
    RecordEpisodeStatistics: (
        "episode_count",
        "episode_returns",
        "episode_lengths",
        "time_queue",
        "return_queue",
        "length_queue",
    ),
    TimeLimit: ("_elapsed_steps",),
}
_VECTOR_ATTRIBUTES = ("_observations", "_rewards", "_terminations", "_truncations", "_autoreset_envs")


def state_dict(env: VectorEnv[Any, Any, Any]) -> dict[str, Any] | None:
    """All that the next steps of `env` depend on, as plain values and NumPy arrays.

    Known are `acro/Acrobot-v1` and `SyncVectorEnv`s of Gymnasium's classic-control environments in the wrappers that
    `gymnasium.make` puts around them, with or without `RecordEpisodeStatistics`.

    Returns:
        None for any other environment: its state cannot be taken.
    """
    if isinstance(env, AcrobotVectorEnv):
        return env.state_dict()
    return _save(env) if type(env) is SyncVectorEnv else None


def load_state_dict(env: VectorEnv[Any, Any, Any], state: dict[str, Any]) -> None:
    """Continue in `env`, made alike, where `state_dict` was taken.

    Raises:
        ValueError: The state is of another kind or another number of environments.
    """
    if isinstance(env, AcrobotVectorEnv):
        env.load_state_dict(state)
    elif type(env) is SyncVectorEnv:
        _restore(env, state)
    else:
        raise ValueError(f"the state of a {type(env).__name__} cannot be restored")


def _save(env: SyncVectorEnv) -> dict[str, Any] | None:
    """The state of every environment in `env`, or None if one is of a kind not known here."""
    envs = [_save_single(single) for single in env.envs]
    if any(single is None for single in envs):
        return None
    vector = {name: np.copy(getattr(env, name)) for name in _VECTOR_ATTRIBUTES}
    return {
        "autoreset_mode": env.autoreset_mode.value,
        "vector": vector,
        "has_reset": [observation is not None for observation in env._env_obs],
        "envs": envs,
    }


def _restore(env: SyncVectorEnv, state: dict[str, Any]) -> None:
    """Continue in `env` where `_save` was called; ValueError if the state is not of such environments."""
    if not {"autoreset_mode", "vector", "has_reset", "envs"} <= state.keys():
        raise ValueError(f"not the saved state of a SyncVectorEnv: it has {', '.join(sorted(state))}")
    if state["autoreset_mode"] != env.autoreset_mode.value:
        raise ValueError(
            f"the saved autoreset_mode is {state['autoreset_mode']!r}, this environment's is "
            f"{env.autoreset_mode.value!r}"
        )
    if len(state["envs"]) != env.num_envs:
        raise ValueError(f"the saved state has {len(state['envs'])} environments, expected {env.num_envs}")
    own = [[type(layer).__name__ for layer in _layers(single)] for single in env.envs]
    saved = [[layer["type"] for layer in single["layers"]] for single in state["envs"]]
    if saved != own:
        raise ValueError(f"the saved environments are {saved}, these are {own}")
    for single, single_state in zip(env.envs, state["envs"], strict=True):
        _restore_single(single, single_state)
    for name in _VECTOR_ATTRIBUTES:
        np.copyto(getattr(env, name), state["vector"][name])
    # A reset with a mask gives the other environments' last observations again, from here.
    env._env_obs = [
        observation.copy() if was_reset else None
        for observation, was_reset in zip(env._observations, state["has_reset"], strict=True)
    ]


def _save_single(env: gymnasium.Env[Any, Any]) -> dict[str, Any] | None:
    layers = _layers(env)
    rng = env.unwrapped._np_random
    if any(type(layer) not in _ATTRIBUTES for layer in layers):
        return None
    if rng is not None and type(rng.bit_generator) is not np.random.PCG64:
        return None
    return {
        "layers": [_save_layer(layer) for layer in layers],
        "rng": None if rng is None else dict(rng.bit_generator.state),
        "seed": env.unwrapped._np_random_seed,
    }


def _save_layer(layer: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    # MountainCar has no state before its first reset.
    attributes = {name: _plain(getattr(layer, name, None)) for name in _ATTRIBUTES[type(layer)]}
    if isinstance(layer, RecordEpisodeStatistics):
        # The clock's zero is another one in another process.
        attributes["seconds"] = time.perf_counter() - layer.episode_start_time
    return {"type": type(layer).__name__, "attributes": attributes}


def _restore_single(env: gymnasium.Env[Any, Any], state: dict[str, Any]) -> None:
    for layer, saved in zip(_layers(env), state["layers"], strict=True):
        attributes = dict(saved["attributes"])
        if isinstance(layer, RecordEpisodeStatistics):
            layer.episode_start_time = time.perf_counter() - attributes.pop("seconds")
        for name, value in attributes.items():
            own = getattr(layer, name, None)
            if isinstance(own, deque):
                value = deque(value, maxlen=own.maxlen)
            setattr(layer, name, value.copy() if isinstance(value, np.ndarray) else value)
        if isinstance(layer, PassiveEnvChecker):
            # It checks the first calls, against each other in Gymnasium >= 1.4: those were before the save.
            layer.checked_reset = layer.checked_step = layer.checked_data_reuse = True
    unwrapped = env.unwrapped
    if state["rng"] is None:
        unwrapped._np_random = None
    else:
        unwrapped._np_random = np.random.Generator(np.random.PCG64(0))
        unwrapped._np_random.bit_generator.state = state["rng"]
    unwrapped._np_random_seed = state["seed"]


def _layers(env: gymnasium.Env[Any, Any]) -> list[gymnasium.Env[Any, Any]]:
    """The environment and its wrappers, outermost first."""
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _plain(value: Any) -> Any:
    if isinstance(value, deque):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    # MountainCar keeps its state as a tuple of float64 after a step and as their array after a reset.
    return np.array(value) if isinstance(value, (tuple, np.ndarray)) else value
