"""What is asked of the environment, and what is remembered, in every autoreset mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from scripted import Corridor
from torch import Tensor, nn

from acro import ReplayMemory, envs
from acro.experience.collector import Collector
from acro.experience.exploration import EpsilonGreedy

MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


class ActionOfStep(nn.Module):
    """Prefers the action that has the number of the step, up to 2."""

    def forward(self, obs: Tensor) -> Tensor:
        return nn.functional.one_hot(obs[:, 1].long().clamp(max=2), 3).float()


def collector(mode: AutoresetMode, num_envs: int = 1) -> Collector:
    env = envs.make_vec("acro-tests/Corridor-v0", num_envs, autoreset_mode=mode)
    memory = ReplayMemory.from_spaces(100, env.single_observation_space, env.single_action_space, num_envs=num_envs)
    return Collector(env, memory, EpsilonGreedy(num_envs, 3), seed=0)


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
        collecting.step(ActionOfStep(), epsilon=0.0)

    assert transitions(collecting.memory) == HAPPENED


@pytest.mark.parametrize("mode", MODES)
def test_finished_episodes_are_logged(mode: AutoresetMode) -> None:
    collecting = collector(mode)
    for _ in range(6 if mode is not AutoresetMode.NEXT_STEP else 8):
        collecting.step(ActionOfStep(), epsilon=0.0)

    assert collecting.episodes.returns == [11 + 12 + 13, 21 + 22]
    assert collecting.episodes.lengths == [3, 2]
    # The step that only resets counts in next-step mode, as everything that a vector environment steps.
    assert collecting.episodes.end_steps == ([3, 6] if mode is AutoresetMode.NEXT_STEP else [3, 5])


def test_environment_is_asked_in_order() -> None:
    collecting = collector(AutoresetMode.SAME_STEP)
    for _ in range(4):
        collecting.step(ActionOfStep(), epsilon=0.0)
    (env,) = collecting.env.envs

    assert isinstance(env.unwrapped, Corridor)
    assert env.unwrapped.calls == ["reset", "step 0", "step 1", "step 2", "reset", "step 0"]


@pytest.mark.parametrize("mode", MODES)
def test_environments_that_part_ways_keep_their_own_transitions(mode: AutoresetMode) -> None:
    collecting = collector(mode, num_envs=3)
    # The second environment is an episode ahead of the others.
    collecting.env.envs[1].reset()
    collecting._obs[1] = [2, 0]
    for _ in range(40):
        collecting.step(ActionOfStep(), epsilon=0.5)

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
        collecting.step(Recorder(), epsilon=0.0)

    # In next-step mode the environment still shows its last observation when it is asked to reset.
    fourth = [[1.0, 3.0]] if mode is AutoresetMode.NEXT_STEP else [[2.0, 0.0]]
    assert asked == [[[1.0, 0.0]], [[1.0, 1.0]], [[1.0, 2.0]], fourth]


def test_network_is_not_asked_while_everything_is_exploratory() -> None:
    class Refuses(nn.Module):
        def forward(self, obs: Tensor) -> Tensor:
            raise AssertionError(obs)

    collecting = collector(AutoresetMode.SAME_STEP)
    collecting.step(Refuses(), epsilon=1.0)

    assert collecting.env_steps == 1


def test_state_that_an_environment_cannot_give_leaves_fresh_episodes() -> None:
    first, second = collector(AutoresetMode.SAME_STEP), collector(AutoresetMode.SAME_STEP)
    for _ in range(4):
        first.step(ActionOfStep(), epsilon=0.5)
    state = first.state_dict()
    assert state["env"] is None
    second.load_state_dict(state)
    second.step(ActionOfStep(), epsilon=0.0)

    assert transitions(second.memory) == [*transitions(first.memory), ((1, 0), 0, 11, (1, 1), 0.5)]
    assert second.env_steps == 5


def test_acting_leaves_torchs_global_generator_alone() -> None:
    collecting = collector(AutoresetMode.SAME_STEP)
    before = torch.get_rng_state()
    for _ in range(10):
        collecting.step(ActionOfStep(), epsilon=0.5)

    assert torch.equal(before, torch.get_rng_state())
