"""Mirror images of environments: how observations and actions are mirrored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Reflection(NamedTuple):
    """A symmetry of an environment: mirroring a transition gives another possible transition."""

    columns: tuple[int, ...]
    """Index of the number that comes to each place of the observation."""
    signs: tuple[int, ...]
    """The factor that it is multiplied by."""
    actions: tuple[int, ...]
    """The mirror image of each action."""

    def observations(self, obs: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the mirror images of observations (..., n), as a new array."""
        return obs[..., self.columns] * np.array(self.signs, obs.dtype)


# Angles, angular velocities and the torque change sign; cosines of angles do not.
_ACROBOT = Reflection((0, 1, 2, 3, 4, 5), (1, -1, 1, -1, -1, -1), (2, 1, 0))
_CART_POLE = Reflection((0, 1, 2, 3), (-1, -1, -1, -1), (1, 0))
# x, its velocity, the angle and its velocity change sign; the legs and the side engines are swapped.
_LUNAR_LANDER = Reflection((0, 1, 2, 3, 4, 5, 7, 6), (-1, 1, -1, 1, -1, -1, 1, 1), (0, 3, 2, 1))
REFLECTIONS = {
    "acro/Acrobot-v1": _ACROBOT,
    "Acrobot-v1": _ACROBOT,
    "CartPole-v0": _CART_POLE,
    "CartPole-v1": _CART_POLE,
    "LunarLander-v3": _LUNAR_LANDER,
}


def reflection(env_id: object) -> Reflection | None:
    """Return the reflection of the environment `env_id`; None if acro does not know one."""
    return REFLECTIONS.get(env_id.rpartition(":")[2]) if isinstance(env_id, str) else None
