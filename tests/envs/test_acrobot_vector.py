"""`acro/Acrobot-v1` many at a time, beside Gymnasium's own Acrobot in a `SyncVectorEnv`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from comparison import assert_same
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from acro.envs.acrobot import AcrobotVectorEnv

NUM_ENVS = 5


def gymnasium_acrobots(mode: AutoresetMode, max_episode_steps: int = 500, num_envs: int = NUM_ENVS) -> SyncVectorEnv:
    def make() -> Any:
        return gymnasium.make("Acrobot-v1", max_episode_steps=max_episode_steps)

    return SyncVectorEnv([make] * num_envs, autoreset_mode=mode)


def started(num_envs: int = NUM_ENVS, **settings: Any) -> AcrobotVectorEnv:
    env = AcrobotVectorEnv(num_envs, **settings)
    env.reset(seed=0)
    return env


def pump(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Torque against the first link's swing: reaches the goal in 85 steps on average."""
    return np.where(observations[:, 4] > 0, 0, 2)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_step_is_the_one_gymnasium_gives(mode: AutoresetMode) -> None:
    # 85 steps: some episodes end at the goal, some at the limit.
    ours = AcrobotVectorEnv(NUM_ENVS, max_episode_steps=85, autoreset_mode=mode)
    theirs = gymnasium_acrobots(mode, 85)
    start = ours.reset(seed=3)
    assert_same(start, theirs.reset(seed=3), atol=1e-6)
    observations, ended = start[0], np.zeros(NUM_ENVS, dtype=np.bool_)
    goals = 0
    for _ in range(250):
        if mode is AutoresetMode.DISABLED and ended.any():
            begun = ours.reset(options={"reset_mask": ended})
            assert_same(begun, theirs.reset(options={"reset_mask": ended}), atol=1e-6)
            observations = begun[0]
        actions = pump(observations)
        stepped = ours.step(actions)
        assert_same(stepped, theirs.step(actions), atol=1e-6)
        observations, ended = stepped[0], stepped[2] | stepped[3]
        goals += stepped[2].sum()
    assert 0 < goals < 15


def test_reaching_the_goal_at_the_limit_is_flagged_as_gymnasium_flags_it() -> None:
    env = started(1)
    observations = env.reset(seed=0)[0]
    steps, terminated = 0, False
    while not terminated:
        observations, _, (terminated,), _, _ = env.step(pump(observations))
        steps += 1
    ours, theirs = (
        AcrobotVectorEnv(1, max_episode_steps=steps, autoreset_mode="Disabled"),
        gymnasium_acrobots(AutoresetMode.DISABLED, steps, num_envs=1),
    )
    observations, _ = ours.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(steps):
        actions = pump(observations)
        observations, *our_outcome = ours.step(actions)
        _, *their_outcome = theirs.step(actions)
    assert our_outcome == their_outcome == [[0.0], [True], [True], {}]


@pytest.mark.parametrize("seed", [0, 1, 123, 2**32 - 1, 2**40, 2**64 + 5, 2**127])
def test_starts_are_gymnasium_s_to_the_bit(seed: int) -> None:
    ours = AcrobotVectorEnv(3)
    ours.reset(seed=seed)
    for env in range(3):
        single: Any = gymnasium.make("Acrobot-v1").unwrapped
        single.reset(seed=seed + env)
        assert single.state.astype(np.float64).tobytes() == ours.states[env].tobytes()


def test_later_starts_continue_gymnasium_s_random_streams() -> None:
    ours, theirs = AcrobotVectorEnv(3), gymnasium_acrobots(AutoresetMode.NEXT_STEP, num_envs=3)
    for env in (ours, theirs):
        env.reset(seed=[5, 7, 5])
        env.reset()
        env.reset(seed=[None, 8, None], options={"low": -0.5, "high": 0.25})
    expected = [env.unwrapped.state for env in theirs.envs]  # type: ignore[attr-defined]
    assert ours.states.tobytes() == np.array(expected, dtype=np.float64).tobytes()
    assert ours.np_random_seed == theirs.np_random_seed == (5, 8, 5)
    for our, their in zip(ours.np_random, theirs.np_random, strict=True):
        assert our.bit_generator.state == their.bit_generator.state


def test_unseeded_environments_start_apart() -> None:
    first, second = AcrobotVectorEnv(4), AcrobotVectorEnv(4)
    first.reset()
    second.reset()
    assert len(np.unique(np.concatenate([first.states, second.states])[:, 0])) == 8


@pytest.mark.parametrize("num_envs", [1, 7, 8, 9, 64])
def test_a_trajectory_does_not_depend_on_how_many_environments_there_are(num_envs: int) -> None:
    many, few = AcrobotVectorEnv(num_envs), AcrobotVectorEnv(1)
    few.reset(seed=num_envs - 1)
    observations, _ = many.reset(seed=0)
    for _ in range(200):
        actions = pump(observations)
        observations, *_ = many.step(actions)
        few.step(actions[-1:])
    assert few.states[0].tobytes() == many.states[-1].tobytes()


def test_a_seeded_run_ends_in_the_same_bits_on_every_machine() -> None:
    env = AcrobotVectorEnv(3, autoreset_mode=AutoresetMode.SAME_STEP)
    observations, _ = env.reset(seed=0)
    for _ in range(600):
        observations, *_ = env.step(pump(observations))
    expected = [
        [0x4004EAADD62FE584, 0xC007FDEB32307126, 0xC01D38A7DA6B653D, 0x400D6B46B62A326C],
        [0x3F9732C0E1D9B8A0, 0x3FDB94DC496B2C2E, 0x400D84C7CD9891DD, 0xC01804279D98995E],
        [0x3FEC83C87D29607F, 0xBFB05142CBEAC720, 0x4013BED4F87DAA7F, 0xC0226DAC545C23AD],
    ]
    np.testing.assert_array_equal(env.states.view(np.uint64), np.array(expected, dtype=np.uint64))


def test_an_uneventful_step_has_empty_infos() -> None:
    assert started().step(np.zeros(NUM_ENVS, dtype=np.int64))[4] == {}


def test_what_a_step_returned_is_not_changed_by_the_next_one() -> None:
    env = started(max_episode_steps=2, autoreset_mode="SameStep")
    actions = np.zeros(NUM_ENVS, dtype=np.int64)
    returned = [env.reset(seed=1)] + [env.step(actions) for _ in range(3)]
    copied = copy.deepcopy(returned)
    env.step(actions)
    assert_same(returned, copied)


def test_spaces_and_metadata_are_those_of_gymnasium_s_vector_environment() -> None:
    ours: VectorEnv[Any, Any, Any] = gymnasium.make_vec("acro/Acrobot-v1", num_envs=NUM_ENVS)
    theirs = gymnasium_acrobots(AutoresetMode.NEXT_STEP)
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space", "num_envs"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert ours.spec is not None
    assert ours.spec.id == "acro/Acrobot-v1"
    ours.action_space.seed(0)
    observations, _ = ours.reset(seed=0)
    assert observations in ours.observation_space
    assert ours.step(ours.action_space.sample())[0] in ours.observation_space


def test_gymnasium_s_vector_wrappers_fit_around_it() -> None:
    inner = AcrobotVectorEnv(2, max_episode_steps=4, autoreset_mode="SameStep")
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(inner)
    env.reset(seed=0)
    for _ in range(4):
        infos = env.step(np.ones(2, dtype=np.int64))[4]
    np.testing.assert_array_equal(infos["episode"]["r"], [-4, -4])


@pytest.mark.parametrize("actions", [[0, 1, 2, 1, 0], np.array([0, 1, 2, 1, 0], np.uint8), np.arange(10)[::2] % 3])
def test_any_integers_are_actions(actions: Any) -> None:
    ours, same = started(), started()
    assert_same(ours.step(actions), same.step(np.ascontiguousarray(actions, dtype=np.int64)))


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ([0, 1, 3, 0, 0], ValueError, "action 3 of environment 2 does not exist; the actions are 0, 1 and 2"),
        ([0, 0, 0, 0, -1], ValueError, "action -1 of environment 4 does not exist; the actions are 0, 1 and 2"),
        ([0.0] * 5, TypeError, "actions are float64, expected integers: 0, 1 or 2"),
        ([0, 1], ValueError, "actions has length 2|actions have shape"),
        (np.zeros(4, np.int64), ValueError, "actions has length 4, expected 5, one for each environment"),
        (np.zeros((5, 1), np.int64), ValueError, r"actions have shape \(5, 1\), expected \(5,\)"),
        (1, TypeError, r"actions are a single int64, expected one for each environment: \(5,\)"),
    ],
)
def test_bad_actions_are_an_error_and_change_nothing(actions: Any, error: type[Exception], message: str) -> None:
    env = started()
    before = env.state_dict()
    with pytest.raises(error, match=message):
        env.step(actions)
    assert_same(env.state_dict(), before)


def test_stepping_before_the_first_reset_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="cannot step before the first reset; call reset first"):
        AcrobotVectorEnv(2).step(np.zeros(2, dtype=np.int64))


def test_stepping_an_ended_environment_without_autoreset_is_an_error() -> None:
    env = started(2, max_episode_steps=1, autoreset_mode="Disabled")
    env.step(np.zeros(2, dtype=np.int64))
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(RuntimeError, match="the episode of environment 1 has ended and autoreset is disabled"):
        env.step(np.zeros(2, dtype=np.int64))


def test_closed_environments_are_an_error_to_use() -> None:
    env = started()
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="the environments are closed; make new ones"):
        env.step(np.zeros(NUM_ENVS, dtype=np.int64))
    with pytest.raises(RuntimeError, match="the environments are closed; make new ones"):
        env.reset()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"max_episode_steps": 0}, "max_episode_steps must be at least 1, got 0"),
        ({"max_episode_steps": 2**40}, "max_episode_steps is too large"),
        ({"render_mode": "human"}, "render_mode must be 'rgb_array' or None, got 'human'"),
        ({"autoreset_mode": "Sometimes"}, "'Sometimes' is not a valid AutoresetMode"),
    ],
)
def test_bad_settings_are_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AcrobotVectorEnv(**settings)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"a seed must be an int from 0 to 2\*\*128 - 1 or None, got -1"),
        ({"seed": [0, 1]}, ValueError, "seed has length 2, expected 5, one for each environment"),
        ({"seed": [0.5] * 5}, ValueError, "a seed must be an int"),
        ({"options": {"low": -9.0}}, ValueError, "they must lie between -pi and pi"),
        ({"options": {"reset_mask": [True] * 5}}, TypeError, r"options\['reset_mask'\] must be a bool array"),
        ({"options": {"reset_mask": np.ones(5)}}, TypeError, "must be a bool array, got float64"),
        ({"options": {"reset_mask": np.ones(4, bool)}}, ValueError, r"has shape \(4,\), expected \(5,\)"),
        ({"options": {"reset_mask": np.zeros(5, bool)}}, ValueError, "chooses no environment; mark at least one"),
    ],
)
def test_bad_resets_are_an_error_and_change_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    env = started()
    before = env.state_dict()
    with pytest.raises(error, match=message):
        env.reset(**arguments)
    assert_same(env.state_dict(), before)


def test_a_first_reset_of_some_environments_is_an_error() -> None:
    mask = np.array([True, False])
    with pytest.raises(RuntimeError, match="the first reset leaves out environment 1; reset all environments first"):
        AcrobotVectorEnv(2).reset(options={"reset_mask": mask})


def test_a_masked_reset_leaves_the_others_where_they_are() -> None:
    env = started(3)
    for _ in range(5):
        observations, *_ = env.step(np.array([0, 1, 2]))
    after, _ = env.reset(seed=40, options={"reset_mask": np.array([False, True, False])})
    assert (after == observations).all(axis=1).tolist() == [True, False, True]
    assert env.np_random_seed == (0, 41, 2)


def test_states_are_what_the_observations_show() -> None:
    env = started()
    observations, *_ = env.step(np.zeros(NUM_ENVS, dtype=np.int64))
    theta1, theta2, velocity1, velocity2 = env.states.T
    shown = [np.cos(theta1), np.sin(theta1), np.cos(theta2), np.sin(theta2), velocity1, velocity2]
    np.testing.assert_allclose(observations, np.stack(shown, axis=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_episode_steps": 499}, "the saved max_episode_steps is 499, this environment's is 500"),
        ({"autoreset_mode": "Disabled"}, "the saved autoreset_mode is 'Disabled', this environment's is 'NextStep'"),
        ({"seeds": [1]}, "the saved state has 1 environments, expected 5"),
        ({"states": np.zeros((5, 3))}, "states have 3 columns, expected 4"),
        ({"states": np.full((5, 4), np.inf)}, "the state of environment 0 is out of bounds"),
        ({"states": np.zeros((4, 4))}, "there must be one of each per environment"),
        ({"has_reset": "yes"}, "the saved has_reset must be a bool, got 'yes'"),
        ({"seeds": [None] * 5}, r"the saved seeds must be ints from 0 to 2\*\*128 - 1, got None"),
        ({"seeds": 7}, "the saved seeds must hold lists of ints, got int"),
        ({"rngs": [[2**200, 1]] * 5}, "the saved rngs must be ints"),
        ({"rngs": [[1, 2]] * 5}, "the saved rngs must be pairs of a position and an odd increment"),
        ({"rngs": None}, "the saved rngs must be a list, got NoneType"),
        ({"states": "x"}, "the saved states is not an array of float64"),
        ({"states": None}, "the saved states is not an array of float64"),
        ({"ended": [2**70] * 5}, "the saved ended is not an array of bool"),
        ({"max_episode_steps": np.zeros(2)}, "the saved max_episode_steps is array"),
        ({"elapsed_steps": np.full(5, -1)}, "environment 0 has -1 elapsed steps; expected from 0 to"),
        ({"elapsed_steps": np.full(5, 501)}, "environment 0 is 501 steps into an episode of at most 500"),
    ],
)
def test_a_state_that_does_not_fit_is_an_error_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    env = started()
    before = env.state_dict()
    with pytest.raises(ValueError, match=message):
        env.load_state_dict({**started().state_dict(), **change})
    assert_same(env.state_dict(), before)


def test_a_state_that_lacks_something_is_an_error() -> None:
    state = started().state_dict()
    del state["rngs"], state["ended"]
    with pytest.raises(ValueError, match="the saved state lacks ended, rngs"):
        started().load_state_dict(state)


def test_a_state_that_is_no_dict_is_an_error() -> None:
    state: Any = [1]
    with pytest.raises(TypeError, match="the saved state must be a dict, got list"):
        started().load_state_dict(state)


@pytest.mark.parametrize("settings", [{"num_envs": 2.5}, {"num_envs": "2"}, {"max_episode_steps": 1.0}])
def test_settings_of_another_kind_are_an_error(settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be an int, got"):
        AcrobotVectorEnv(**settings)


def twos(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The same truth values, the true ones of a byte that NumPy never writes."""
    other: npt.NDArray[np.bool_] = (flags.astype(np.uint8) * 2).view(np.bool_)
    return other


def test_bools_of_other_bytes_than_0_and_1_are_true() -> None:
    env, same = started(max_episode_steps=3), started(max_episode_steps=3)
    mask = np.array([True, False, True, False, True])
    assert_same(env.reset(options={"reset_mask": twos(mask)}), same.reset(options={"reset_mask": mask}))
    for _ in range(3):
        env.step(np.zeros(5, np.int64))
        same.step(np.zeros(5, np.int64))
    state = env.state_dict()
    assert state["ended"].any()
    env.load_state_dict({**state, "ended": twos(state["ended"])})
    assert set(env.state_dict()["ended"].view(np.uint8)) <= {0, 1}
    assert_same(env.step(np.zeros(5, np.int64)), same.step(np.zeros(5, np.int64)))


def test_a_state_of_unaligned_arrays_is_loaded() -> None:
    env, same = started(), started()
    state = same.state_dict()
    content = np.frombuffer(b"\0" + state["states"].tobytes(), np.uint8)[1:]
    env.load_state_dict({**state, "states": content.view(np.float64).reshape(5, 4)})
    assert_same(env.state_dict(), state)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_and_pickles_go_on_as_the_environments_do(clone: Callable[[AcrobotVectorEnv], AcrobotVectorEnv]) -> None:
    env = started(max_episode_steps=20)
    env.step(np.zeros(5, np.int64))
    other = clone(env)
    for _ in range(40):
        actions = np.full(5, 2)
        assert_same(other.step(actions), env.step(actions))
    other.reset()
    assert (other.states != env.states).all()
    assert other.observation_space == env.observation_space


def test_attributes_are_those_of_single_environments() -> None:
    env = started(3)
    assert env.get_attr("LINK_LENGTH_1") == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(env.get_attr("state"), env.states)
    assert env.call("np_random_seed") == (0, 1, 2)
    env.set_attr("state", [np.full(4, 0.1), np.full(4, 0.2), np.full(4, 0.3)])
    np.testing.assert_array_equal(env.states[:, 0], [0.1, 0.2, 0.3])
    env.set_attr("state", np.zeros(4))
    assert not env.states.any()
    with pytest.raises(ValueError, match="values has length 2, expected 3, one for each environment"):
        env.set_attr("state", [0, 1])
    with pytest.raises(AttributeError, match="cannot set 'LINK_LENGTH_1': only state can be set"):
        env.set_attr("LINK_LENGTH_1", 2.0)
    with pytest.raises(AttributeError, match="nothing_such"):
        env.get_attr("nothing_such")
    with pytest.raises(ValueError, match="cannot call 'step' on copies; use step of the vector environment"):
        env.call("step", 0)


def test_pictures_are_those_of_single_environments() -> None:
    env = gymnasium.make_vec("acro/Acrobot-v1", num_envs=2, render_mode="rgb_array")
    env.reset(seed=0)
    frames: Any = env.render()
    single = gymnasium.make("acro/Acrobot-v1", render_mode="rgb_array")
    single.reset(seed=1)
    assert len(frames) == 2
    np.testing.assert_array_equal(frames[1], single.render())
    assert started().render() is None
