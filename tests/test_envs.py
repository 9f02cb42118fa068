"""Making environments, and continuing them from a saved state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from comparison import assert_same
from gymnasium.vector import AutoresetMode

import acro.envs

DISCRETE = ("acro/Acrobot-v1", "Acrobot-v1", "CartPole-v1", "MountainCar-v0")


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("env_id", DISCRETE)
@pytest.mark.parametrize("steps", [0, 1, 2, 37])
def test_a_saved_environment_continues_identically(env_id: str, mode: AutoresetMode, steps: int) -> None:
    def make() -> Any:
        return acro.envs.make_vec(env_id, 3, autoreset_mode=mode, max_episode_steps=20)

    original, copy = make(), make()
    original.reset(seed=1)
    actions = np.random.default_rng(0).integers(0, original.single_action_space.n, (steps + 60, 3))
    for action in actions[:steps]:
        original.step(action)
    acro.envs.load_state_dict(copy, acro.envs.state_dict(original))
    for action in actions[steps:]:
        assert_same(copy.step(action), original.step(action))
