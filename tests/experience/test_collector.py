"""What is asked of the environment, and what is remembered, in every autoreset mode."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from scripted import Corridor
from torch import Tensor, nn

from acro import ReplayMemory, envs
from acro.envs.finite import check_finite
from acro.experience.collector import Collector
from acro.experience.exploration import EpsilonGreedy
from acro.experience.stepper import Stepper

MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


class ActionOfStep(nn.Module):
    """Prefers the action that has the number of the step, up to 2."""

    def forward(self, obs: Tensor) -> Tensor:
        return nn.functional.one_hot(obs[:, 1].long().clamp(max=2), 3).float()


def corridors(mode: AutoresetMode, num_envs: int) -> SyncVectorEnv:
    env = envs.make_vec("acro-tests/Corridor-v0", num_envs, autoreset_mode=mode)
    assert isinstance(env, SyncVectorEnv)
    return env


def collector_in(env: VectorEnv) -> Collector:
    actions = env.single_action_space
    assert isinstance(actions, gymnasium.spaces.Discrete)
    memory = ReplayMemory.from_spaces(100, env.single_observation_space, actions, num_envs=env.num_envs)
    stepper = Stepper(env, EpsilonGreedy(env.num_envs, int(actions.n)), seed=0)
    return Collector(stepper, memory)


def collector(mode: AutoresetMode) -> Collector:
    return collector_in(corridors(mode, 1))


def transitions(memory: ReplayMemory) -> list[tuple[object, ...]]:
    columns = memory.gather(np.arange(len(memory)), gamma=0.5)
    return [
        (tuple(obs), int(action), float(reward), tuple(next_obs), float(discount))
        for obs, action, reward, next_obs, discount in zip(*columns[:5], strict=True)
    ]


# Episode 1 terminates after 3 steps, episode 2 is truncated after 2, episode 3 goes on.
HAPPENED = [
    ((1, 0), 0, 11, (1, 1), 0.5),
    ((1, 1), 1, 12, (1, 2), 0.5),
    ((1, 2), 2, 13, (1, 3), 0.0),
    ((2, 0), 0, 21, (2, 1), 0.5),
    ((2, 1), 1, 22, (2, 2), 0.5),
    ((3, 0), 0, 31, (3, 1), 0.5),
]


@pytest.mark.parametrize("mode", MODES)
def test_every_transition_that_happened_is_stored_and_no_other(mode: AutoresetMode) -> None:
    collecting = collector(mode)
    for _ in range(6 if mode is not AutoresetMode.NEXT_STEP else 8):
        collecting.collect(ActionOfStep(), 0.0, 1)

    assert transitions(collecting.memory) == HAPPENED


@pytest.mark.parametrize("mode", MODES)
def test_finished_episodes_are_logged(mode: AutoresetMode) -> None:
    collecting = collector(mode)
    for _ in range(6 if mode is not AutoresetMode.NEXT_STEP else 8):
        collecting.collect(ActionOfStep(), 0.0, 1)

    assert collecting.episodes.returns == [11 + 12 + 13, 21 + 22]
    assert collecting.episodes.lengths == [3, 2]
    # The step that only resets counts in next-step mode, as everything that a vector environment steps.
    assert collecting.episodes.end_steps == ([3, 6] if mode is AutoresetMode.NEXT_STEP else [3, 5])


def test_environment_is_asked_in_order() -> None:
    collecting = collector(AutoresetMode.SAME_STEP)
    for _ in range(4):
        collecting.collect(ActionOfStep(), 0.0, 1)
    assert isinstance(collecting.runner, Stepper)
    (env,) = collecting.runner.env.envs  # type: ignore[attr-defined]

    assert isinstance(env.unwrapped, Corridor)
    assert env.unwrapped.calls == ["reset", "step 0", "step 1", "step 2", "reset", "step 0"]


@pytest.mark.parametrize("mode", MODES)
def test_environments_that_part_ways_keep_their_own_transitions(mode: AutoresetMode) -> None:
    env = corridors(mode, 3)
    # The second environment is an episode ahead of the others.
    env.envs[1].reset()
    collecting = collector_in(env)
    for _ in range(40):
        collecting.collect(ActionOfStep(), 0.5, 1)

    columns = collecting.memory.sample(2_000)
    assert (columns.obs[:, 0] == columns.next_obs[:, 0]).all()
    assert (columns.obs[:, 1] + 1 == columns.next_obs[:, 1]).all()
    assert (columns.rewards == 10 * columns.obs[:, 0] + columns.next_obs[:, 1]).all()
    assert (columns.terminated == ((columns.obs[:, 0] % 2 == 1) & (columns.next_obs[:, 1] == 3))).all()


@pytest.mark.parametrize("mode", MODES)
def test_acting_asks_the_network_about_the_current_observations(mode: AutoresetMode) -> None:
    asked: list[list[list[float]]] = []

    class Recorder(ActionOfStep):
        def forward(self, obs: Tensor) -> Tensor:
            asked.append(obs.tolist())
            return super().forward(obs)

    collecting = collector(mode)
    for _ in range(4):
        collecting.collect(Recorder(), 0.0, 1)

    # In next-step mode the environment still shows its last observation when it is asked to reset.
    fourth = [[1.0, 3.0]] if mode is AutoresetMode.NEXT_STEP else [[2.0, 0.0]]
    assert asked == [[[1.0, 0.0]], [[1.0, 1.0]], [[1.0, 2.0]], fourth]


def test_network_is_not_asked_while_everything_is_exploratory() -> None:
    class Refuses(nn.Module):
        def forward(self, obs: Tensor) -> Tensor:
            raise AssertionError(obs)

    collecting = collector(AutoresetMode.SAME_STEP)
    collecting.collect(Refuses(), 1.0, 1)

    assert collecting.env_steps == 1


def test_state_that_an_environment_cannot_give_leaves_fresh_episodes() -> None:
    first, second = collector(AutoresetMode.SAME_STEP), collector(AutoresetMode.SAME_STEP)
    for _ in range(4):
        first.collect(ActionOfStep(), 0.5, 1)
    second.load_state_dict({**first.state_dict(), "env": None})
    second.collect(ActionOfStep(), 0.0, 1)

    assert transitions(second.memory) == [*transitions(first.memory), ((1, 0), 0, 11, (1, 1), 0.5)]
    assert second.env_steps == 5


def test_episode_that_cannot_be_played_again_starts_afresh(caplog: pytest.LogCaptureFixture) -> None:
    first, second = collector(AutoresetMode.SAME_STEP), collector(AutoresetMode.SAME_STEP)
    for _ in range(6):
        first.collect(ActionOfStep(), 0.0, 1)
    # The corridor counts its episodes, which nothing tells: the third one is a second one now.
    second.load_state_dict(first.state_dict())
    second.collect(ActionOfStep(), 0.0, 1)

    assert caplog.messages == [
        "environment 0 has another observation after the reset of its open episode: their episodes start afresh, "
        "the rest continues exactly"
    ]
    assert transitions(second.memory) == [*transitions(first.memory), ((3, 0), 0, 31, (3, 1), 0.5)]
    assert second.episodes.lengths == first.episodes.lengths


def test_state_of_a_wrapper_around_the_vector_environment_is_missed(caplog: pytest.LogCaptureFixture) -> None:
    collectors = []
    for _ in range(2):
        env = gymnasium.wrappers.vector.NormalizeObservation(
            envs.make_vec("CartPole-v1", 2, autoreset_mode=AutoresetMode.NEXT_STEP)
        )
        collectors.append(collector_in(env))
    first, second = collectors
    for _ in range(6):
        first.collect(nn.Identity(), 1.0, 1)
    second.load_state_dict(first.state_dict())

    assert "environment 1 is shown differently by the vector's wrappers" in caplog.text
    assert second.state_dict()["lengths"].tolist() == [0, 0]


class Poisoned(CartPoleEnv):
    """Returns `value` in an observation or as a reward, from its third step on."""

    def __init__(self, where: str, value: float) -> None:
        super().__init__()
        self.where, self.value, self.count = where, value, 0

    def step(self, action: Any) -> Any:
        self.count += 1
        obs, reward, *rest = super().step(action)  # type: ignore[no-untyped-call]
        if self.count >= 3:
            obs[2], reward = (self.value, reward) if self.where == "observation" else (obs[2], self.value)
        return obs, reward, *rest


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", ["observation", "reward"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_ends_collecting(where: str, value: float, mode: AutoresetMode) -> None:
    env = SyncVectorEnv([CartPoleEnv, lambda: Poisoned(where, value)], autoreset_mode=mode)
    collecting = collector_in(env)
    for _ in range(2):
        collecting.collect(nn.Identity(), 1.0, 1)

    with pytest.raises(
        FloatingPointError, match=rf"every {where} must be finite, got .* from environment 1 of .* at step 6"
    ):
        collecting.collect(nn.Identity(), 1.0, 1)
    assert len(collecting.memory) == 4


@pytest.mark.parametrize("error", [KeyError, FloatingPointError, RuntimeError])
def test_steps_that_failed_ahead_do_not_keep_processes_alive(error: type[Exception]) -> None:
    class Failing:
        num_envs = 1
        is_closed = False

        def start(self, *_: Any) -> None:
            pass

        def finish(self) -> None:
            raise error

        def close(self) -> None:
            self.is_closed = True

    runner: Any = Failing()
    collector = Collector(runner, ReplayMemory(4, (1,)))
    collector.start_ahead(nn.Identity(), 0.0, 1)
    collector.close()
    assert runner.is_closed


def test_large_finite_observations_are_no_error() -> None:
    check_finite(SyncVectorEnv([CartPoleEnv]), 0, np.full((1, 4), 1e30, dtype=np.float32), np.array([1e300]))


def test_acting_leaves_torchs_global_generator_alone() -> None:
    collecting = collector(AutoresetMode.SAME_STEP)
    before = torch.get_rng_state()
    for _ in range(10):
        collecting.collect(ActionOfStep(), 0.5, 1)

    assert torch.equal(before, torch.get_rng_state())
