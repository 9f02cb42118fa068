"""Learning from mirror images of transitions (Lin et al. 2020, arXiv 1909.10707)."""

from __future__ import annotations

import numpy as np

from acro.envs.reflections import REFLECTIONS, Reflection, reflection
from acro.replay import Batch


def reflection_of(env_id: str) -> Reflection:
    """Return the reflection of an environment.

    Raises:
        ValueError: None is known for it.
    """
    found = reflection(env_id)
    if found is None:
        known = ", ".join(REFLECTIONS)
        raise ValueError(f"mirror must be False for {env_id}: acro knows mirror images of {known} only")
    return found


def mirror_half(batch: Batch, reflection: Reflection) -> None:
    """Replace the first half of each minibatch (M, B) with its mirror image, in place."""
    half = batch.rewards.shape[1] // 2
    for obs in (batch.obs, batch.next_obs):
        obs[:, :half] = reflection.observations(obs[:, :half])
    batch.actions[:, :half] = np.array(reflection.actions)[batch.actions[:, :half]]
