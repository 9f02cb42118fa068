"""Saves and restores environments, including their open episodes."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from acro.envs.making import autoreset_mode
from acro.envs.replaying import Recorder, check_episode, gives_its_state


class Restored(NamedTuple):
    """The result of `load_state_dict`."""

    # The current observations (N, ...); None if the environment restored itself exactly.
    obs: NDArray[Any] | None
    # By environment, why its episode could not be continued, so that a new one began.
    differences: dict[int, str]


def record(env: VectorEnv[Any, Any, Any]) -> None:
    """Record, from the next reset on, what is needed to replay the open episodes of `env`.

    Call it before the reset. It does nothing if `env` has a `state_dict` of its own, and cannot do anything
    for an `AsyncVectorEnv`, whose environments are in other processes: wrap each of them in `Recorder` yourself.
    """
    own = env.unwrapped
    if not gives_its_state(env) and isinstance(own, SyncVectorEnv):
        own.envs = [each if each.has_wrapper_attr("open_episode") else Recorder(each) for each in own.envs]


def state_dict(env: VectorEnv[Any, Any, Any]) -> dict[str, Any] | None:
    """Return all that the next steps of `env` depend on, as plain values and NumPy arrays.

    This is the environment's own `state_dict` if it has one and `load_state_dict`. For the single environments of a
    vector environment that was passed to `record`, it is what replays their open episodes.

    Returns:
        None for any other environment, whose state cannot be saved.
    """
    if gives_its_state(env):
        state: dict[str, Any] = env.state_dict()  # type: ignore[attr-defined]
        return state
    if not _is_recorded(env):
        return None
    return {
        "autoreset_mode": _mode_of(env),
        "episodes": list(env.unwrapped.get_attr("open_episode")),  # type: ignore[attr-defined]
    }


def load_state_dict(env: VectorEnv[Any, Any, Any], state: dict[str, Any]) -> Restored:
    """Restore a state in `env`, which must be of the same kind as when it was saved.

    Recorded episodes are replayed, and every observation, reward and flag is compared to the bit. If one
    differs, a new episode begins.

    Raises:
        ValueError: The state is damaged, or of another kind or number of environments.
    """
    if gives_its_state(env):
        env.load_state_dict(state)  # type: ignore[attr-defined]
        return Restored(None, {})
    if not _is_recorded(env):
        raise ValueError(f"the state of a {type(env).__name__} cannot be restored")
    if {"autoreset_mode", "vector", "has_reset", "envs"} <= state.keys():
        # acro 0.1 saved attributes of the environments, and nothing that could be replayed.
        reason = "was saved by an older acro, which did not record episodes"
        return Restored(env.reset()[0], dict.fromkeys(range(env.num_envs), reason))
    _check(env, state)
    own: Any = env.unwrapped
    try:
        own.set_attr("open_episode", state["episodes"])
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"the saved episodes cannot be played: {error}") from error
    differences = dict(enumerate(own.get_attr("difference")))
    # These calls only pass restored observations to the vector environment and its wrappers: see `Recorder`.
    env.reset()
    obs = env.step(np.zeros(env.num_envs, dtype=np.int64))[0]
    return Restored(obs, {index: reason for index, reason in differences.items() if reason is not None})


def _is_recorded(env: VectorEnv[Any, Any, Any]) -> bool:
    own = env.unwrapped
    return isinstance(own, (SyncVectorEnv, AsyncVectorEnv)) and all(own.call("has_wrapper_attr", "open_episode"))


def _mode_of(env: VectorEnv[Any, Any, Any]) -> str:
    return cast(
        AutoresetMode, autoreset_mode(env)
    ).value  # Recorded vector environments are Gymnasium's own, which have it.


def _check(env: VectorEnv[Any, Any, Any], state: dict[str, Any]) -> None:
    if not {"autoreset_mode", "episodes"} <= state.keys():
        raise ValueError(f"not the saved state of recorded environments: it has {', '.join(sorted(state))}")
    mode = _mode_of(env)
    if state["autoreset_mode"] != mode:
        raise ValueError(f"the saved autoreset_mode is {state['autoreset_mode']!r}, this environment's is {mode!r}")
    episodes = state["episodes"]
    if not isinstance(episodes, list) or len(episodes) != env.num_envs:
        count = len(episodes) if isinstance(episodes, list) else "no"
        raise ValueError(f"the saved state has {count} environments, expected {env.num_envs}")
    for episode in episodes:
        check_episode(episode, int(cast(Discrete, env.single_action_space).n))
