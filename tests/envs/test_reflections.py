"""Mirror images: a mirrored state, stepped with the mirrored action, is the mirror image of the next state."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

import acro  # noqa: F401 - registers the environment
from acro.envs.reflections import REFLECTIONS, reflection

NEEDS_BOX2D = pytest.mark.skipif(importlib.util.find_spec("Box2D") is None, reason="needs Box2D")


@pytest.mark.parametrize("env_id", ["acro/Acrobot-v1", "Acrobot-v1", "CartPole-v1"])
def test_mirror_image_goes_on_as_what_it_mirrors(env_id: str) -> None:
    mirror, generator = REFLECTIONS[env_id], np.random.default_rng(3)
    env, image = (gymnasium.make(env_id) for _ in range(2))
    num_actions = int(env.action_space.n)  # type: ignore[attr-defined] # Discrete
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        image.reset(seed=seed)
        image.unwrapped.state = -np.array(env.unwrapped.state)  # type: ignore[attr-defined]
        for _ in range(30):
            action = int(generator.integers(num_actions))
            obs, reward, terminated, *_ = env.step(action)
            seen, its_reward, its_end, *_ = image.step(mirror.actions[action])
            np.testing.assert_allclose(seen, mirror.observations(obs), atol=1e-5)
            assert (its_reward, its_end) == (reward, terminated)
            if terminated:
                break


@NEEDS_BOX2D
def test_lander_flies_in_the_mirror_as_outside_of_it() -> None:
    mirror = REFLECTIONS["LunarLander-v3"]
    worlds: list[Any] = [gymnasium.make("LunarLander-v3").unwrapped for _ in range(2)]
    for world in worlds:
        world.reset(seed=4)
        # Engines without noise.
        world._np_random = SimpleNamespace(uniform=lambda low, high: 0.0)
    env, image = worlds
    # The landing pad's middle is at x = 10; each leg stands where the other one is in the mirror.
    for body, other in zip((image.lander, *image.legs), (env.lander, *reversed(env.legs)), strict=True):
        body.position = (20.0 - other.position.x, other.position.y)
        body.angle = -other.angle
        body.linearVelocity = (-other.linearVelocity.x, other.linearVelocity.y)
        body.angularVelocity = -other.angularVelocity
    env.legs[0].ground_contact = image.legs[1].ground_contact = True
    for _ in range(8):
        for action in range(4):
            obs, reward, *_ = env.step(action)
            seen, its_reward, *_ = image.step(mirror.actions[action])
            np.testing.assert_allclose(seen, mirror.observations(obs), atol=1e-4)
            assert obs[6:].tolist() == [1.0, 0.0]
            assert its_reward == pytest.approx(reward, abs=0.02)


def test_mirror_images_of_others_are_not_known() -> None:
    assert reflection("acro:acro/Acrobot-v1") is REFLECTIONS["Acrobot-v1"]
    assert reflection("MountainCar-v0") is reflection(CartPoleEnv) is None
