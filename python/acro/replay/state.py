"""Checks of a replay memory's state dict."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from acro._rust import ReplayMemory
from acro.replay import file as replay_file

_REFUSED = "cannot load this state: "
_PLAIN = ("version", "capacity", "num_envs", "alpha", "frame_stack", "padding")
_SINCE_VERSION_2 = {"frame_stack": None, "padding": "reset"}
_ARRAYS: dict[str, np.dtype[Any] | None] = {
    "rng": np.dtype(np.int64),
    "counts": np.dtype(np.int64),
    "lens": np.dtype(np.int64),
    "heads": np.dtype(np.int64),
    "open": np.dtype(np.bool_),
    "obs": None,
    "actions": None,
    "rewards": np.dtype(np.float32),
    "terminated": np.dtype(np.bool_),
    "last": np.dtype(np.bool_),
    "finals": None,
    "priorities": np.dtype(np.float64),
}


def plain(memory: ReplayMemory) -> dict[str, Any]:
    """Return a memory's arguments and the version of its state."""
    own = {name: getattr(memory, name) for name in _PLAIN if name != "version"}
    return {"version": replay_file.VERSION, **own}


def upgraded(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state in the current version's form; version 1 had no frame stacks."""
    if not isinstance(state, Mapping) or state.keys() & _SINCE_VERSION_2.keys():
        return state
    version = state.get("version")
    is_first = isinstance(version, (int, np.integer)) and not isinstance(version, bool) and version == 1
    return {**state, "version": replay_file.VERSION, **_SINCE_VERSION_2} if is_first else state


def require(state: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> None:
    """Check a state's names and its plain values, which must equal `own` if that is given.

    Raises:
        TypeError: It is not a dict.
        ValueError: A name is missing or unknown, or a value differs.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"{_REFUSED}it must be a dict, got {type(state).__name__}")
    missing = sorted({*_PLAIN, *_ARRAYS} - state.keys())
    if missing:
        raise ValueError(f"{_REFUSED}it has no {', '.join(missing)}")
    unknown = sorted(str(key) for key in state.keys() - {*_PLAIN, *_ARRAYS})
    if unknown:
        raise ValueError(f"{_REFUSED}it has {', '.join(unknown)}, which this version does not know")
    for name in _PLAIN:
        found = state[name]
        value = found if own is None else own[name]
        if not _is_plain(name, found) or found != value:
            raise ValueError(f"{_REFUSED}its {name} is {reprlib.repr(found)}, this memory's is {value!r}")


def _is_plain(name: str, value: Any) -> bool:
    if value is None:
        return name in ("alpha", "frame_stack")
    if name == "padding":
        return isinstance(value, str)
    kinds = (int, float) if name == "alpha" else (int,)
    return isinstance(value, (*kinds, np.integer, np.floating)) and not isinstance(value, bool)


def checked(memory: ReplayMemory, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state's columns, after checking that their dtypes and shapes are the memory's."""
    require(state, plain(memory))
    rows = {
        "obs": (memory.obs_dtype, memory.obs_shape),
        "actions": (memory.action_dtype, memory.action_shape),
        "finals": (memory.obs_dtype, memory.obs_shape),
    }
    columns: dict[str, Any] = {}
    for name, fixed in _ARRAYS.items():
        if name == "priorities" and memory.alpha is None:
            if state[name] is not None:
                raise ValueError(f"{_REFUSED}it has priorities, this memory has none")
            columns[name] = None
            continue
        dtype, shape = rows.get(name, (fixed, ()))
        try:
            array = np.asarray(state[name])
        except (ValueError, TypeError, OverflowError, RecursionError, RuntimeError) as error:
            raise ValueError(f"{_REFUSED}its {name} is not an array: {error}") from None
        if array.dtype != dtype:
            raise ValueError(f"{_REFUSED}its {name} has dtype {array.dtype}, expected {dtype}")
        if array.ndim == 0 or array.shape[1:] != shape:
            raise ValueError(f"{_REFUSED}its {name} has shape {array.shape}, expected {('rows', *shape)}")
        columns[name] = array
    if len(columns["rng"]) != 4:
        raise ValueError(f"{_REFUSED}its rng has {len(columns['rng'])} numbers, expected 4")
    return columns
