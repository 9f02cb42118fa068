"""Mirror images: a mirrored state, stepped with the mirrored action, is the mirror image of the next state."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

import acro  # noqa: F401 - registers the environment
from acro.envs.reflections import reflection_of

NEEDS_BOX2D = pytest.mark.skipif(importlib.util.find_spec("Box2D") is None, reason="needs Box2D")


@pytest.mark.parametrize("env_id", ["acro/Acrobot-v1", "Acrobot-v1", "CartPole-v1"])
def test_mirror_image_goes_on_as_what_it_mirrors(env_id: str) -> None:
    reflection, generator = reflection_of(env_id), np.random.default_rng(3)
    env, image = (gymnasium.make(env_id) for _ in range(2))
    num_actions = int(env.action_space.n)  # type: ignore[attr-defined] # Discrete
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        image.reset(seed=seed)
        image.unwrapped.state = -np.array(env.unwrapped.state)  # type: ignore[attr-defined]
        for _ in range(30):
            action = int(generator.integers(num_actions))
            obs, reward, terminated, *_ = env.step(action)
            seen, its_reward, its_end, *_ = image.step(reflection.actions[action])
            np.testing.assert_allclose(seen, reflection.observations(obs), atol=1e-5)
            assert (its_reward, its_end) == (reward, terminated)
            if terminated:
                break


@NEEDS_BOX2D
def test_lander_flies_in_the_mirror_as_outside_of_it() -> None:
    reflection = reflection_of("LunarLander-v3")
    env, image = (gymnasium.make("LunarLander-v3") for _ in range(2))
    for made, sign in ((env, 1.0), (image, -1.0)):
        made.reset(seed=4)
        world: Any = made.unwrapped
        # Engines without noise, and a start that is the other's mirror image: the bodies' middle is at x = 10.
        world._np_random = SimpleNamespace(uniform=lambda low, high: 0.0)
        for body in (world.lander, *world.legs):
            body.linearVelocity = (sign * 0.5, -1.0)
            body.angularVelocity = sign * 0.1
    for _ in range(8):
        for action in range(4):
            obs, *_ = env.step(action)
            seen, *_ = image.step(reflection.actions[action])
            np.testing.assert_allclose(seen, reflection.observations(obs), atol=2e-2)


def test_mirror_images_of_others_are_not_known() -> None:
    with pytest.raises(ValueError, match=r"^mirror must be False for MountainCar-v0: it is known for acro/Acr"):
        reflection_of("MountainCar-v0")
