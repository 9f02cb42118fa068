"""`acro/Acrobot-v1` beside Gymnasium's own Acrobot in a `SyncVectorEnv`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from comparison import assert_same
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from acro.acrobot import AcrobotVectorEnv

NUM_ENVS = 5


def gymnasium_acrobots(mode: AutoresetMode, max_episode_steps: int) -> SyncVectorEnv:
    def make() -> Any:
        return gymnasium.make("Acrobot-v1", max_episode_steps=max_episode_steps)

    return SyncVectorEnv([make] * NUM_ENVS, autoreset_mode=mode)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_step_is_the_one_gymnasium_gives(mode: AutoresetMode) -> None:
    ours = AcrobotVectorEnv(NUM_ENVS, max_episode_steps=40, autoreset_mode=mode)
    theirs = gymnasium_acrobots(mode, 40)
    assert_same(ours.reset(seed=3), theirs.reset(seed=3), atol=1e-5)
    actions = np.random.default_rng(0)
    ended = np.zeros(NUM_ENVS, dtype=np.bool_)
    for _ in range(130):
        if mode is AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            assert_same(ours.reset(options=dict(options)), theirs.reset(options=dict(options)), atol=1e-5)
        action = actions.integers(0, 3, NUM_ENVS)
        stepped = ours.step(action)
        assert_same(stepped, theirs.step(action), atol=1e-5)
        ended = stepped[2] | stepped[3]
