"""The motion of acrobots, and `acro/Acrobot-v1` one at a time."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env

import acro.envs
from acro import _rust
from acro.envs.acrobot import AcrobotEnv, AcrobotVectorEnv

Array = npt.NDArray[Any]
BOUNDS = np.array([np.pi, np.pi, 4 * np.pi, 9 * np.pi])


def gymnasium_steps(states: Array, actions: Array) -> tuple[Array, Array]:
    env: Any = gymnasium.make("Acrobot-v1").unwrapped
    after, terminated = np.empty_like(states), np.empty(len(states), dtype=np.bool_)
    for row, (state, action) in enumerate(zip(states, actions, strict=True)):
        env.state = state
        terminated[row] = env.step(action)[2]
        after[row] = env.state
    return after, terminated


def distances(states: Array, others: Array) -> Array:
    """The largest difference in each row, angles on the circle."""
    apart = np.abs(states - others)
    apart[:, :2] = np.minimum(apart[:, :2], np.abs(apart[:, :2] - 2 * np.pi))
    return np.asarray(np.max(apart, axis=1))


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_one_step_from_many_states_agrees_with_gymnasium(count: int) -> None:
    # 0.6 of the bounds of speed: play with random held actions stays below 0.54 of them.
    random = np.random.default_rng(0)
    states = random.uniform(-BOUNDS, BOUNDS, (count, 4)) * [1, 1, 0.6, 0.6]
    actions = random.integers(0, 3, len(states))
    after, terminated = _rust.acrobot_step(states, actions)
    expected, expected_terminated = gymnasium_steps(states, actions)
    assert distances(after, expected).max() < 1e-12
    np.testing.assert_array_equal(terminated, expected_terminated)


def test_one_step_at_extreme_speeds_agrees_as_far_as_rounding_allows() -> None:
    # Near the bounds of speed a step of 0.2 s is unstable and magnifies the last bit of a sine: Gymnasium's own result
    # moves by up to 1e-11 when its start moves by one.
    random = np.random.default_rng(1)
    states = random.uniform(-BOUNDS, BOUNDS, (20_000, 4))
    actions = random.integers(0, 3, len(states))
    apart = distances(_rust.acrobot_step(states, actions)[0], gymnasium_steps(states, actions)[0])
    assert np.mean(apart < 1e-12) > 0.999
    assert apart.max() < 2e-11


def test_seeded_trajectories_agree_with_gymnasium_until_rounding_parts_them() -> None:
    # Measured over 20 seeds and 500 steps: beyond 1e-12 first at step 200 (median 324), beyond 1e-6 first at step 330.
    random = np.random.default_rng(2)
    envs = [gymnasium.make("Acrobot-v1").unwrapped for _ in range(10)]
    ours = AcrobotVectorEnv(10, autoreset_mode="Disabled", max_episode_steps=1000)
    ours.reset(seed=0)
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    actions = random.integers(0, 3, 10)
    states = ours.states
    for _ in range(150):
        actions = np.where(random.random(10) < 0.25, random.integers(0, 3, 10), actions)
        states = _rust.acrobot_step(states, actions)[0]
        for env, action in zip(envs, actions, strict=True):
            env.step(action)
    theirs = np.array([env.state for env in envs])  # type: ignore[attr-defined]
    assert distances(states, theirs).max() < 1e-12


def energies(states: Array) -> Array:
    """Kinetic and potential energy of unit links with unit moments of inertia, in J."""
    theta1, theta2, velocity1, velocity2 = states.T
    d1 = 0.25 + 1.25 + np.cos(theta2) + 2
    d2 = 0.25 + 0.5 * np.cos(theta2) + 1
    kinetic = 0.5 * (d1 * velocity1**2 + 2 * d2 * velocity1 * velocity2 + 1.25 * velocity2**2)
    heights = -0.5 * np.cos(theta1) - (np.cos(theta1) + 0.5 * np.cos(theta1 + theta2))
    return np.asarray(kinetic + 9.8 * heights)


def test_without_torque_energy_leaks_slowly_and_never_grows() -> None:
    # A Runge-Kutta step of 0.2 s loses energy: at most 0.012 J of a swing's 0.18 J in 100 s.
    states = np.random.default_rng(3).uniform(-0.1, 0.1, (1000, 4))
    start = energies(states)
    for _ in range(500):
        states = _rust.acrobot_step(states, np.ones(1000, dtype=np.int64))[0]
        assert (energies(states) - start).max() < 1e-9
    assert (start - energies(states)).max() < 0.02


def test_torque_against_the_swing_pumps_energy_and_torque_with_it_brakes() -> None:
    states = np.random.default_rng(4).uniform(-0.1, 0.1, (100, 4))
    pumped = braked = states
    for _ in range(50):
        pumped = _rust.acrobot_step(pumped, np.where(pumped[:, 2] > 0, 0, 2))[0]
        braked = _rust.acrobot_step(braked, np.where(braked[:, 2] > 0, 2, 0))[0]
    assert energies(pumped).min() > energies(braked).max() + 1


def test_an_out_of_bounds_state_is_an_error() -> None:
    with pytest.raises(ValueError, match="the state of environment 1 is out of bounds"):
        _rust.acrobot_step(np.array([[0.0] * 4, [0, np.nan, 0, 0]]), np.ones(2, dtype=np.int64))


def test_states_with_other_than_four_columns_are_an_error() -> None:
    with pytest.raises(ValueError, match="states have 5 columns, expected 4"):
        _rust.acrobot_observe(np.zeros((4, 5)))


def test_the_single_environment_passes_gymnasium_s_checks() -> None:
    env = gymnasium.make("acro/Acrobot-v1", render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_the_registered_environment_has_gymnasium_s_limit_and_threshold() -> None:
    ours, theirs = gymnasium.spec("acro/Acrobot-v1"), gymnasium.spec("Acrobot-v1")
    assert ours.max_episode_steps == theirs.max_episode_steps == 500
    assert ours.reward_threshold == theirs.reward_threshold == -100


def test_an_id_with_its_module_needs_no_import() -> None:
    assert isinstance(gymnasium.make("acro.envs:acro/Acrobot-v1").unwrapped, AcrobotEnv)


def test_one_environment_and_many_give_the_same_bytes() -> None:
    single = acro.envs.make("acro/Acrobot-v1", max_episode_steps=90)
    many = acro.envs.make_vec("acro/Acrobot-v1", 4, max_episode_steps=90)
    observation, _ = single.reset(seed=9)
    observations, _ = many.reset(seed=7)
    for _ in range(300):
        assert observation.tobytes() == observations[2].tobytes()
        action = 0 if observation[4] > 0 else 2
        observation, *outcome = single.step(action)
        observations, rewards, terminated, truncated, _ = many.step(np.full(4, action))
        assert outcome[:3] == [rewards[2], terminated[2], truncated[2]]
        if outcome[1] or outcome[2]:
            observation, _ = single.reset()


def test_a_recorded_state_is_drawn_as_gymnasium_draws_it() -> None:
    frames = []
    for env_id in ("acro/Acrobot-v1", "Acrobot-v1"):
        env: Any = gymnasium.make(env_id, render_mode="rgb_array")
        env.reset(seed=0)
        env.unwrapped.state = np.array([1.0, -0.5, 0.0, 0.0])
        frames.append(env.render())
        env.close()
    assert frames[0].shape == (500, 500, 3)
    assert (frames[0] != 255).any()
    np.testing.assert_array_equal(*frames)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (3, ValueError, "action 3 of environment 0 does not exist; the actions are 0, 1 and 2"),
        (-1, ValueError, "action -1 of environment 0 does not exist"),
        (1.0, TypeError, "actions are float64, expected integers: 0, 1 or 2"),
        ([1], ValueError, r"actions have shape \(1,\), expected \(\)"),
    ],
)
def test_a_bad_action_of_one_environment_is_an_error(action: Any, error: type[Exception], message: str) -> None:
    env = AcrobotEnv()
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step(action)


def test_stepping_one_environment_before_its_reset_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="cannot step before the first reset; call reset first"):
        AcrobotEnv().step(0)
