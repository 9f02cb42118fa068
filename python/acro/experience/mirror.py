"""Learning from a transition's mirror image as well (Lin et al. 2020, arXiv 1909.10707)."""

from __future__ import annotations

import numpy as np

from acro.envs.reflections import Reflection
from acro.replay import Batch


def mirror_half(batch: Batch, reflection: Reflection) -> None:
    """Put the mirror images of the first half of each minibatch (M, B) in their place, in the arrays themselves."""
    half = batch.rewards.shape[1] // 2
    for obs in (batch.obs, batch.next_obs):
        obs[:, :half] = reflection.observations(obs[:, :half])
    batch.actions[:, :half] = np.array(reflection.actions)[batch.actions[:, :half]]
