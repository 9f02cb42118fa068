"""Making environments, and continuing them from a saved state."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from comparison import assert_same
from gymnasium.envs import classic_control
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import acro.envs
from acro.envs.acrobot import AcrobotEnv, AcrobotVectorEnv

DISCRETE = ("acro/Acrobot-v1", "Acrobot-v1", "CartPole-v1", "MountainCar-v0")
CONTINUOUS = ("MountainCarContinuous-v0", "Pendulum-v1")


def make_vec(env_id: str, mode: AutoresetMode) -> Any:
    """Three environments with episodes of at most 20 steps, through acro where it takes their actions."""
    if env_id in DISCRETE:
        return acro.envs.make_vec(env_id, 3, autoreset_mode=mode, max_episode_steps=20)
    return SyncVectorEnv([lambda: gymnasium.make(env_id, max_episode_steps=20)] * 3, autoreset_mode=mode)


def play(env: Any, actions: Any) -> list[Any]:
    """Everything that steps return, with the resets that DISABLED asks for."""
    returned = []
    for action in actions:
        returned.append(env.step(action))
        ended = returned[-1][2] | returned[-1][3]
        if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            returned.append(env.reset(options={"reset_mask": ended}))
    return returned


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("env_id", DISCRETE + CONTINUOUS)
@pytest.mark.parametrize("steps", [0, 1, 2, 20, 37])
def test_a_saved_environment_continues_identically(env_id: str, mode: AutoresetMode, steps: int) -> None:
    original, restored = make_vec(env_id, mode), make_vec(env_id, mode)
    original.action_space.seed(0)
    actions = [original.action_space.sample() for _ in range(steps + 45)]
    original.reset(seed=1)
    play(original, actions[:steps])
    saved = pickle.loads(pickle.dumps(acro.envs.state_dict(original)))
    acro.envs.load_state_dict(restored, saved)
    assert_same(acro.envs.state_dict(restored), saved)
    assert_same(play(restored, actions[steps:]), play(original, actions[steps:]))


@pytest.mark.parametrize("env_id", ["acro/Acrobot-v1", "CartPole-v1"])
def test_a_saved_environment_without_autoreset_is_still_due_for_its_reset(env_id: str) -> None:
    original, restored = (make_vec(env_id, AutoresetMode.DISABLED) for _ in range(2))
    original.reset(seed=0)
    for _ in range(2):
        stepped = original.step(np.zeros(3, dtype=np.int64))
    while not (stepped[2] | stepped[3]).any():
        stepped = original.step(np.zeros(3, dtype=np.int64))
    acro.envs.load_state_dict(restored, acro.envs.state_dict(original))
    options = {"reset_mask": stepped[2] | stepped[3]}
    assert_same(restored.reset(options=dict(options)), original.reset(options=dict(options)))


def test_an_environment_saved_before_its_first_reset_starts_alike() -> None:
    original, restored = (make_vec("acro/Acrobot-v1", AutoresetMode.SAME_STEP) for _ in range(2))
    acro.envs.load_state_dict(restored, acro.envs.state_dict(original))
    assert_same(restored.reset(), original.reset())


def test_a_saved_state_is_not_changed_by_later_steps() -> None:
    env = make_vec("CartPole-v1", AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    saved = acro.envs.state_dict(env)
    before = copy.deepcopy(saved)
    acro.envs.load_state_dict(env, saved)
    play(env, np.ones((30, 3), dtype=np.int64))
    assert_same(saved, before)


@pytest.mark.parametrize("env_id", DISCRETE)
def test_a_state_holds_plain_values_and_arrays_only(env_id: str) -> None:
    env = make_vec(env_id, AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    play(env, np.zeros((5, 3), dtype=np.int64))
    assert_plain(acro.envs.state_dict(env))


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None), np.ndarray)
    if isinstance(value, np.ndarray):
        assert value.dtype.kind in "fib"
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


def test_recorded_episode_statistics_are_part_of_the_state() -> None:
    def make() -> Any:
        return gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("CartPole-v1"), buffer_length=2)

    original, restored = (acro.envs.make_vec(make, 2) for _ in range(2))
    original.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, (90, 2))
    play(original, actions[:45])
    acro.envs.load_state_dict(restored, acro.envs.state_dict(original))
    for ours, theirs in zip(play(restored, actions[45:]), play(original, actions[45:]), strict=True):
        for stepped in (ours, theirs):
            stepped[4].get("final_info", {}).get("episode", {}).pop("t", None)  # Seconds of the clock.
        assert_same(ours, theirs)
    assert restored.envs[0].return_queue == original.envs[0].return_queue  # type: ignore[attr-defined]


class OtherCartPole(classic_control.CartPoleEnv):
    """A subclass may have state of its own."""


class OneBased(classic_control.CartPoleEnv):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Discrete(2, start=1)


def test_the_state_of_an_unknown_environment_cannot_be_taken() -> None:
    assert acro.envs.state_dict(acro.envs.make_vec(OtherCartPole, 2)) is None


def test_the_state_of_an_unknown_wrapper_cannot_be_taken() -> None:
    def make() -> Any:
        return gymnasium.wrappers.TimeAwareObservation(gymnasium.make("CartPole-v1"))

    assert acro.envs.state_dict(acro.envs.make_vec(make, 2)) is None


def test_the_state_of_another_vector_environment_cannot_be_taken() -> None:
    env = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point")
    assert acro.envs.state_dict(env) is None
    with pytest.raises(ValueError, match="the state of a CartPoleVectorEnv cannot be restored"):
        acro.envs.load_state_dict(env, {})


@pytest.mark.parametrize(
    ("saved_id", "message"),
    [
        ("acro/Acrobot-v1", "not the saved state of a SyncVectorEnv"),
        ("MountainCar-v0", "the saved environments are .*MountainCarEnv.*, these are .*CartPoleEnv"),
    ],
)
def test_the_state_of_other_environments_does_not_fit(saved_id: str, message: str) -> None:
    saved = acro.envs.state_dict(make_vec(saved_id, AutoresetMode.SAME_STEP))
    assert saved is not None
    with pytest.raises(ValueError, match=message):
        acro.envs.load_state_dict(make_vec("CartPole-v1", AutoresetMode.SAME_STEP), saved)


def test_the_state_of_another_number_or_mode_does_not_fit() -> None:
    env = make_vec("CartPole-v1", AutoresetMode.SAME_STEP)
    for other, message in (
        (acro.envs.make_vec("CartPole-v1", 2), "the saved state has 2 environments, expected 3"),
        (make_vec("CartPole-v1", AutoresetMode.DISABLED), "the saved autoreset_mode is 'Disabled'"),
    ):
        saved = acro.envs.state_dict(other)
        assert saved is not None
        with pytest.raises(ValueError, match=message):
            acro.envs.load_state_dict(env, saved)


def test_acrobot_is_the_one_in_rust() -> None:
    env = acro.envs.make_vec("acro/Acrobot-v1", 2)
    assert isinstance(env, AcrobotVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert isinstance(acro.envs.make_vec("acro.envs:acro/Acrobot-v1", 2), AcrobotVectorEnv)
    assert isinstance(acro.envs.make("acro/Acrobot-v1").unwrapped, AcrobotEnv)


def test_other_environments_are_single_ones_side_by_side() -> None:
    env = acro.envs.make_vec("CartPole-v1", 3, sutton_barto_reward=True, autoreset_mode=AutoresetMode.NEXT_STEP)
    assert type(env) is SyncVectorEnv
    assert env.num_envs == 3
    assert env.autoreset_mode is AutoresetMode.NEXT_STEP
    env.reset(seed=0)
    assert env.step(np.zeros(3, dtype=np.int64))[1].tolist() == [0, 0, 0]


def test_an_environment_may_be_given_by_what_makes_it() -> None:
    assert isinstance(acro.envs.make(classic_control.CartPoleEnv), classic_control.CartPoleEnv)
    assert acro.envs.make_vec(classic_control.CartPoleEnv, 2).num_envs == 2


def test_a_render_mode_gives_frames() -> None:
    env = acro.envs.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray)
    assert frame.ndim == 3


@pytest.mark.parametrize("make", [acro.envs.make, lambda env_id: acro.envs.make_vec(env_id, 2)])
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Acrobat-v1", "cannot make the environment 'Acrobat-v1': .*Did you mean: `Acrobot`"),
        ("CartPole-v9", "cannot make the environment 'CartPole-v9': .*version"),
        ("no_such_module:Thing-v0", "cannot make the environment 'no_such_module:Thing-v0': No module named"),
        ("Pendulum-v1", r"Pendulum-v1 has the action space Box\(.*\); acro needs a Discrete"),
        ("Blackjack-v1", r"Blackjack-v1 has the observation space Tuple\(.*\); acro needs a Box"),
        (OneBased, r"OneBased has the action space Discrete\(2, start=1\); acro needs actions that start at 0"),
    ],
)
def test_environments_that_acro_cannot_train_on_are_an_error(make: Any, env_id: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(env_id)


def test_no_environments_are_an_error() -> None:
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        acro.envs.make_vec("CartPole-v1", 0)


def test_environments_need_neither_torch_nor_lightning() -> None:
    code = "import sys, acro.envs; print(sorted({'torch', 'lightning', 'pygame'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
