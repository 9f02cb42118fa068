"""Checks of the arguments and saved states of `acro/Acrobot-v1`."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

_STATE = {"max_episode_steps", "autoreset_mode", "seeds", "has_reset", "states", "elapsed_steps", "ended", "rngs"}


def as_reset_mask(options: dict[str, Any] | None, num_envs: int) -> npt.NDArray[np.bool_] | None:
    """Return `options["reset_mask"]` by Gymnasium's rules; None without one."""
    if options is None or "reset_mask" not in options:
        return None
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray):
        raise TypeError(f"options['reset_mask'] must be a bool array, got {type(mask)}")
    if mask.shape != (num_envs,):
        raise ValueError(f"options['reset_mask'] has shape {mask.shape}, expected {(num_envs,)}")
    if mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a bool array, got {mask.dtype}")
    if not mask.any():
        raise ValueError("options['reset_mask'] chooses no environment; mark at least one")
    return np.ascontiguousarray(mask)


def at_least_1(name: str, value: SupportsIndex) -> int:
    """Return `value` as an int from 1 to 2**32 - 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {reprlib.repr(value)}") from None
    if not 1 <= number < 2**32:
        raise ValueError(f"{name} must be at least 1, got {number}" if number < 1 else f"{name} is too large: {number}")
    return number


def as_actions(actions: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return `actions` as an array of `shape`; Rust checks that they are 0, 1 or 2."""
    array = np.asarray(actions)
    if array.dtype.kind not in "iu":
        raise TypeError(f"actions are {array.dtype}, expected integers: 0, 1 or 2")
    if array.ndim == 0 and shape:
        raise TypeError(f"actions are a single {array.dtype}, expected one for each environment: {shape}")
    if array.shape != shape:
        raise ValueError(f"actions have shape {array.shape}, expected {shape}")
    return array.astype(np.int64)


def as_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """Return a seed for each environment: `seed + i`, or the items of a sequence."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        seed = [int(seed) + env for env in range(num_envs)]
    if len(seed) != num_envs:
        raise ValueError(f"seed has length {len(seed)}, expected {num_envs}, one for each environment")
    for given in seed:
        if given is not None and not (isinstance(given, int) and 0 <= given < 2**128):
            raise ValueError(f"a seed must be an int from 0 to 2**128 - 1 or None, got {reprlib.repr(given)}")
    return list(seed)


def read_state(state: Mapping[str, Any], own: Mapping[str, Any], num_envs: int) -> tuple[list[int], tuple[Any, ...]]:
    """Return a saved state's seeds, and the arguments of `_rust.Acrobots.restore`.

    Args:
        state: As `AcrobotVectorEnv.state_dict` returned it.
        own: The settings that must be the same in the state.
        num_envs: The number of environments.

    Raises:
        ValueError: Something in it is missing, differs from `own`, or makes no sense.
        TypeError: It is not a dict.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"the saved state must be a dict, got {type(state).__name__}")
    missing = _STATE - state.keys()
    if missing:
        raise ValueError(f"the saved state lacks {', '.join(sorted(missing))}")
    for name, value in own.items():
        if type(state[name]) is not type(value) or state[name] != value:
            raise ValueError(f"the saved {name} is {reprlib.repr(state[name])}, this environment's is {value!r}")
    if not isinstance(state["has_reset"], (bool, np.bool_)):
        raise ValueError(f"the saved has_reset must be a bool, got {reprlib.repr(state['has_reset'])}")
    seeds = _words("seeds", state["seeds"])
    if len(seeds) != num_envs:
        raise ValueError(f"the saved state has {len(seeds)} environments, expected {num_envs}")
    if not isinstance(state["rngs"], (list, tuple)):
        raise ValueError(f"the saved rngs must be a list, got {type(state['rngs']).__name__}")
    rngs = [tuple(_words("rngs", rng)) for rng in state["rngs"]]
    if not all(len(rng) == 2 and rng[1] % 2 == 1 for rng in rngs):
        raise ValueError("the saved rngs must be pairs of a position and an odd increment")
    return seeds, (
        bool(state["has_reset"]),
        _array("states", state["states"], np.float64),
        _array("elapsed_steps", state["elapsed_steps"], np.int64),
        _array("ended", state["ended"], np.bool_),
        rngs,
    )


def _words(name: str, values: Any) -> list[int]:
    """Return the unsigned 128-bit ints of a saved list."""
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"the saved {name} must hold lists of ints, got {type(values).__name__}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**128:
            raise ValueError(f"the saved {name} must be ints from 0 to 2**128 - 1, got {reprlib.repr(value)}")
    return [int(value) for value in values]


def _array(name: str, value: Any, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return a saved array or list as an array of `dtype`, if that keeps its values."""
    try:
        array = np.asarray(value)
        return array.astype(dtype, casting="same_kind", copy=False)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"the saved {name} is not an array of {np.dtype(dtype)}: {error}") from None
