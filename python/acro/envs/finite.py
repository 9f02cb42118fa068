"""Refuses observations and rewards that are not finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray


def check_finite(
    env: VectorEnv[Any, Any, Any], step: int, obs: NDArray[Any], rewards: NDArray[Any] | None = None
) -> None:
    """Check what `env` returned at its step `step`: observations (N, ...) and rewards (N,); about 1 us.

    Raises:
        FloatingPointError: A number is infinite or not a number.
    """
    for name, values in (("observation", obs), ("reward", rewards)):
        if values is None or values.dtype.kind != "f":
            continue
        # A sum of squares is finite only if all numbers are, and takes a third of the time; large ones overflow.
        if not math.isfinite(np.vdot(values, values)) and not np.isfinite(values).all():
            index = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
            raise FloatingPointError(
                f"every {name} must be finite, got {values[index]} from environment {index} of {env_name(env)} at step "
                f"{step}; correct the environment, or clip it in a wrapper"
            )


def env_name(env: VectorEnv[Any, Any, Any]) -> str:
    """Return the id of the environments in `env`, or their class."""
    single = getattr(env.unwrapped, "envs", [env])[0]
    spec = single.spec or env.spec
    # EnvPool's specs have no id.
    return getattr(spec, "id", None) or type(single.unwrapped).__name__
