"""Environments whose mirror image moves as they do, and what becomes of observations and actions in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Reflection(NamedTuple):
    """What observations and actions become in the mirror; a step taken there is the mirror image of one taken here."""

    columns: tuple[int, ...]
    """Of the observation: the number that stands in each place there."""
    signs: tuple[int, ...]
    """What it is multiplied by."""
    actions: tuple[int, ...]
    """For each action, the one that does the same there."""

    def observations(self, obs: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return what observations (..., n) become, as a new array."""
        return obs[..., self.columns] * np.array(self.signs, obs.dtype)


# Angles, angular velocities and the torque change their signs, the angles' cosines do not.
_ACROBOT = Reflection((0, 1, 2, 3, 4, 5), (1, -1, 1, -1, -1, -1), (2, 1, 0))
_CART_POLE = Reflection((0, 1, 2, 3), (-1, -1, -1, -1), (1, 0))
# x, its velocity, the angle and its velocity change their signs; the legs and the side engines change places.
_LUNAR_LANDER = Reflection((0, 1, 2, 3, 4, 5, 7, 6), (-1, 1, -1, 1, -1, -1, 1, 1), (0, 3, 2, 1))
REFLECTIONS = {
    "acro/Acrobot-v1": _ACROBOT,
    "Acrobot-v1": _ACROBOT,
    "CartPole-v0": _CART_POLE,
    "CartPole-v1": _CART_POLE,
    "LunarLander-v3": _LUNAR_LANDER,
}


def reflection(env_id: object) -> Reflection | None:
    """Return the reflection of the environment `env_id`; None if acro does not know of one."""
    return REFLECTIONS.get(env_id.rpartition(":")[2]) if isinstance(env_id, str) else None
