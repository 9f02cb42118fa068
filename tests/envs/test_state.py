"""Environments continue to the bit where their state was taken, or say why they cannot."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import pytest
from comparison import assert_same
from gymnasium import wrappers
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import acro.envs
from acro.envs.replaying import MAX_STEPS

NEEDS_BOX2D = pytest.mark.skipif(importlib.util.find_spec("Box2D") is None, reason="needs Box2D")
IDS = (
    "acro/Acrobot-v1",
    "Acrobot-v1",
    "CartPole-v1",
    "MountainCar-v0",
    pytest.param("LunarLander-v3", marks=NEEDS_BOX2D),
)


def make_vec(env: Any, mode: AutoresetMode = AutoresetMode.SAME_STEP, **kwargs: Any) -> Any:
    """Three recorded environments."""
    made = acro.envs.make_vec(env, 3, autoreset_mode=mode, **kwargs)
    acro.envs.record(made)
    return made


def play(env: Any, actions: Any) -> list[Any]:
    """Everything that steps return, with the resets that DISABLED asks for."""
    returned = []
    for action in actions:
        returned.append(env.step(action))
        ended = returned[-1][2] | returned[-1][3]
        if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            returned.append(env.reset(options={"reset_mask": ended}))
    return returned


def actions(env: Any, count: int) -> Any:
    return np.random.default_rng(0).integers(0, env.single_action_space.n, (count, env.num_envs))


def without_infos(returned: list[Any]) -> list[Any]:
    return [stepped[:-1] for stepped in returned]


def check_continues(original: Any, restored: Any, *, steps: int, more: int = 45) -> None:
    """Save `original` after `steps` of random play and continue in `restored`, which played another episode."""
    taken = actions(original, steps + more)
    original.reset(seed=1)
    restored.reset(seed=7)
    play(original, taken[:steps])
    saved = pickle.loads(pickle.dumps(acro.envs.state_dict(original)))
    assert acro.envs.load_state_dict(restored, saved).differences == {}
    assert_same(acro.envs.state_dict(restored), saved)
    assert_same(without_infos(play(restored, taken[steps:])), without_infos(play(original, taken[steps:])))
    original.close()
    restored.close()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("steps", [0, 1, 2, 20, 37])
def test_saved_environment_continues_identically(env_id: str, mode: AutoresetMode, steps: int) -> None:
    check_continues(*(make_vec(env_id, mode, max_episode_steps=20) for _ in range(2)), steps=steps)


def wrapped(*layers: Callable[[Any], Any]) -> Callable[[], Any]:
    def make() -> Any:
        env: Any = CartPoleEnv()
        for layer in layers:
            env = layer(env)
        return env

    return make


def third_of(reward: SupportsFloat) -> float:
    return float(reward) / 3


@pytest.mark.parametrize(
    "layers",
    [
        [lambda env: wrappers.TimeLimit(env, 20), wrappers.RecordEpisodeStatistics],
        [lambda env: wrappers.FrameStackObservation(env, 4)],
        [lambda env: wrappers.StickyAction(env, 0.25)],
        [lambda env: wrappers.TimeLimit(env, 20), wrappers.TimeAwareObservation],
        [
            lambda env: wrappers.TransformReward(env, lambda reward: float(reward) / 3),
            lambda env: wrappers.ClipReward(env, 0),
        ],
        [lambda env: wrappers.DelayObservation(env, 2)],
        [lambda env: wrappers.DtypeObservation(env, np.float64)],
    ],
    ids=["statistics", "frame stack", "sticky actions", "time aware", "rewards", "delay", "doubles"],
)
def test_wrapped_environment_continues_identically(layers: list[Any]) -> None:
    check_continues(*(make_vec(wrapped(*layers)) for _ in range(2)), steps=37)


class Noisy(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Adds noise of two generators of its own."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.generator = np.random.Generator(np.random.Philox(3))
        self.old = np.random.RandomState(3)

    def observation(self, observation: Any) -> Any:
        return observation + np.float32(self.generator.normal() + self.old.normal())


def test_generators_of_wrappers_are_saved() -> None:
    check_continues(*(make_vec(wrapped(Noisy)) for _ in range(2)), steps=37)


class Drift(gymnasium.RewardWrapper[Any, Any]):
    """Has a state that no generator holds, and gives it."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.drift = 0.0

    def reward(self, reward: Any) -> float:
        self.drift += 0.1
        return float(reward) + self.drift

    def state_dict(self) -> dict[str, Any]:
        return {"drift": self.drift}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drift = state["drift"]


def test_state_that_a_wrapper_gives_is_saved() -> None:
    check_continues(*(make_vec(wrapped(Drift, lambda env: wrappers.TimeLimit(env, 20))) for _ in range(2)), steps=37)


@NEEDS_BOX2D
def test_vector_environment_of_ones_own_continues_identically() -> None:
    def make() -> Any:
        env = wrappers.vector.RecordEpisodeStatistics(
            gymnasium.make_vec("LunarLander-v3", 3, vectorization_mode="sync", max_episode_steps=30)
        )
        acro.envs.record(env)
        return env

    check_continues(make(), make(), steps=37)


def test_environments_of_other_processes_continue_if_they_are_recorded() -> None:
    def make() -> Any:
        return AsyncVectorEnv([lambda: acro.envs.Recorder(gymnasium.make("CartPole-v1"))] * 2)

    check_continues(make(), make(), steps=37)


def test_a_vector_made_later_changes_no_autoreset_mode() -> None:
    env = make_vec("CartPole-v1")
    # As before Gymnasium 1.4, where all vectors of one environment share their metadata.
    env.metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    assert acro.envs.autoreset_mode(env) is AutoresetMode.SAME_STEP


def test_vector_environment_is_asked_for_its_own_state() -> None:
    # No class with parameters before Gymnasium 1.3.
    class Own(SyncVectorEnv):
        def state_dict(self) -> dict[str, Any]:
            return {"mine": 1}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.loaded = state

    env = Own([CartPoleEnv])
    acro.envs.record(env)
    assert type(env.envs[0]) is CartPoleEnv
    assert acro.envs.load_state_dict(env, acro.envs.state_dict(env) or {}) == (None, {})
    assert env.loaded == {"mine": 1}


def test_saved_environment_without_autoreset_is_still_due_for_its_reset() -> None:
    for env_id in ("acro/Acrobot-v1", "CartPole-v1"):
        original, restored = (make_vec(env_id, AutoresetMode.DISABLED, max_episode_steps=20) for _ in range(2))
        original.reset(seed=0)
        ended = np.zeros(3, dtype=np.bool_)
        while not ended.any():
            _, _, terminated, truncated, _ = original.step(np.zeros(3, dtype=np.int64))
            ended = terminated | truncated
        restored.reset(seed=1)
        acro.envs.load_state_dict(restored, acro.envs.state_dict(original) or {})
        assert_same(restored.reset(options={"reset_mask": ended}), original.reset(options={"reset_mask": ended}))


def test_acrobot_saved_before_its_first_reset_starts_alike() -> None:
    original, restored = make_vec("acro/Acrobot-v1"), make_vec("acro/Acrobot-v1")
    acro.envs.load_state_dict(restored, acro.envs.state_dict(original) or {})
    assert_same(restored.reset(), original.reset())


def test_episode_without_a_seed_continues_identically() -> None:
    original, restored = make_vec("CartPole-v1"), make_vec("CartPole-v1")
    original.reset()
    taken = actions(original, 60)
    play(original, taken[:10])
    assert acro.envs.load_state_dict(restored, acro.envs.state_dict(original) or {}).differences == {}
    assert_same(without_infos(play(restored, taken[10:])), without_infos(play(original, taken[10:])))


class Deaf(CartPoleEnv):
    """Never hands its seed on, as MinAtar's games do not."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        begun: tuple[Any, dict[str, Any]] = super().reset(options=options)
        return begun


def test_environment_that_leaves_its_seed_alone_starts_alike() -> None:
    states = []
    for _ in range(2):
        env = make_vec(Deaf)
        obs, _ = env.reset(seed=3)
        states.append((obs, play(env, actions(env, 60)), acro.envs.state_dict(env)))

    assert_same(*states)


def test_saved_state_is_not_changed_by_later_steps() -> None:
    env = make_vec("CartPole-v1")
    env.reset(seed=0)
    saved = acro.envs.state_dict(env)
    assert saved is not None
    before = copy.deepcopy(saved)
    acro.envs.load_state_dict(env, saved)
    play(env, np.ones((30, 3), dtype=np.int64))
    assert_same(saved, before)


@pytest.mark.parametrize("env", [*IDS, wrapped(Noisy, Drift)])
def test_state_holds_plain_values_and_arrays_only(env: Any) -> None:
    made = make_vec(env)
    made.reset(seed=0)
    play(made, np.zeros((5, 3), dtype=np.int64))
    assert_plain(acro.envs.state_dict(made))


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None), np.ndarray)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(item)


# ---- where an episode cannot be continued


def restored_differences(make: Any, *, steps: int = 37) -> dict[int, str]:
    original, restored = make_vec(make), make_vec(make)
    original.reset(seed=1)
    play(original, actions(original, steps))
    restored.reset(seed=1)
    saved = acro.envs.state_dict(original)
    assert saved is not None
    found = acro.envs.load_state_dict(restored, saved)
    assert found.obs is not None
    # All go on, those with a difference from the start of a new episode.
    play(restored, actions(original, 40))
    return found.differences


class Forgetful(gymnasium.RewardWrapper[Any, Any]):
    """Has a state that it does not give."""

    steps = 0

    def reward(self, reward: Any) -> float:
        self.steps += 1
        return float(self.steps)


def test_episode_that_goes_another_way_says_where() -> None:
    assert restored_differences(wrapped(Forgetful)) == dict.fromkeys(
        range(3), "has another reward at step 1 of its open episode"
    )


@pytest.mark.parametrize(
    ("wrapper", "difference"),
    [
        (wrappers.NormalizeObservation, "has another observation after the reset of its open episode"),
        (wrappers.NormalizeReward, "has another reward at step 1 of its open episode"),
    ],
)
def test_running_averages_of_a_wrapper_are_not_continued(wrapper: Any, difference: str) -> None:
    assert restored_differences(wrapped(wrapper)) == dict.fromkeys(range(3), difference)


def test_other_environments_begin_new_episodes() -> None:
    saved = make_vec("MountainCar-v0")
    saved.reset(seed=0)
    env = make_vec(CartPoleEnv)
    found = acro.envs.load_state_dict(env, acro.envs.state_dict(saved) or {})
    assert found.differences[0] == (
        "is CartPoleEnv, and was MountainCarEnv in PassiveEnvChecker in OrderEnforcing in TimeLimit"
    )


def test_one_difference_leaves_the_other_environments() -> None:
    original, restored = make_vec("CartPole-v1"), make_vec("CartPole-v1")
    original.reset(seed=1)
    taken = actions(original, 60)
    play(original, taken[:5])
    saved: Any = acro.envs.state_dict(original)
    saved["episodes"][1]["checksums"][3] += 1
    found = acro.envs.load_state_dict(restored, saved)
    assert found.differences == {1: "has another observation at step 3 of its open episode"}
    ours, theirs = play(restored, taken[5:]), play(original, taken[5:])
    for own, other in zip(without_infos(ours), without_infos(theirs), strict=True):
        assert_same([column[[0, 2]] for column in own], [column[[0, 2]] for column in other])


def test_episode_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acro.envs.replaying.MAX_STEPS", 5)
    env = make_vec("MountainCar-v0")
    env.reset(seed=0)
    play(env, np.zeros((6, 3), dtype=np.int64))
    saved: Any = acro.envs.state_dict(env)
    assert saved["episodes"] == [None] * 3
    assert acro.envs.load_state_dict(env, saved).differences[0] == "had no episode of at most 5 steps"
    assert MAX_STEPS == 100_000


def test_state_of_an_older_acro_begins_new_episodes() -> None:
    env = make_vec("CartPole-v1")
    old = {"autoreset_mode": "SameStep", "vector": {}, "has_reset": [True] * 3, "envs": [{}] * 3}
    found = acro.envs.load_state_dict(env, old)
    assert found.differences[2] == "was saved by an older acro, which did not record episodes"


def test_state_of_an_environment_that_is_not_recorded_cannot_be_taken() -> None:
    for env in (
        SyncVectorEnv([CartPoleEnv]),
        gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point"),
    ):
        assert acro.envs.state_dict(env) is None
        with pytest.raises(ValueError, match=f"the state of a {type(env).__name__} cannot be restored"):
            acro.envs.load_state_dict(env, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"autoreset_mode": "Disabled"}, "the saved autoreset_mode is 'Disabled', this environment's is 'SameStep'"),
        ({"episodes": [None]}, "the saved state has 1 environments, expected 3"),
        ({"episodes": 3}, "the saved state has no environments, expected 3"),
        ({"episodes": [{}] * 3}, "an open episode must be a dict with layers"),
    ],
)
def test_state_that_does_not_fit_is_an_error(change: dict[str, Any], message: str) -> None:
    env = make_vec("CartPole-v1")
    with pytest.raises(ValueError, match=message):
        acro.envs.load_state_dict(env, {**(acro.envs.state_dict(env) or {}), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": np.full(5, 2)}, "actions must be int64 from 0 to 1"),
        ({"actions": np.zeros(5)}, "actions must be int64 from 0 to 1"),
        ({"rewards": np.zeros(4)}, "got 5 actions, 4 rewards and 6 checksums"),
        ({"checksums": 3}, "actions, rewards and checksums must be vectors"),
        ({"ended": [0, 1]}, r"ended must be two bools, got \[0, 1\]"),
        ({"seed": "1"}, "seed must be an int or None"),
        ({"layers": [3]}, "layers must be dicts with type, random and own"),
        ({"layers": [{"type": "", "random": {"x": {}}, "own": None}]}, "random states must be of MT19937, PCG64"),
    ],
)
def test_damaged_episode_is_an_error(change: dict[str, Any], message: str) -> None:
    env = make_vec("CartPole-v1")
    env.reset(seed=0)
    play(env, np.zeros((5, 3), dtype=np.int64))
    saved: Any = acro.envs.state_dict(env)
    saved["episodes"][1].update(change)
    with pytest.raises(ValueError, match=message):
        acro.envs.load_state_dict(env, saved)


def test_state_of_another_kind_of_environment_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the saved state of recorded environments: it has autoreset"):
        acro.envs.load_state_dict(make_vec("CartPole-v1"), acro.envs.state_dict(make_vec("acro/Acrobot-v1")) or {})
