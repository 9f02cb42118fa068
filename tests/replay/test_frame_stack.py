"""Stacks of frames made at sampling, against what Gymnasium's own wrapper shows."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, TimeLimit
from numpy.typing import NDArray

from acro.replay import ReplayMemory

PADDINGS = ("reset", "zero")


class Pictures(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Noise as pictures: no two frames are alike, and episodes of one step are frequent."""

    observation_space = gymnasium.spaces.Box(0, 255, (3, 5), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def _picture(self) -> NDArray[np.uint8]:
        return self.np_random.integers(0, 255, (3, 5), dtype=np.uint8, endpoint=True)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        return self._picture(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        return self._picture(), 1.0, bool(self.np_random.random() < 0.2), False, {}


def made(name: str) -> gymnasium.Env[Any, Any]:
    return TimeLimit(Pictures() if name == "pictures" else gymnasium.make("CartPole-v1"), 9)


@pytest.mark.parametrize("name", ["pictures", "cartpole"])
@pytest.mark.parametrize("frame_stack", [1, 2, 4])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("prioritized", [True, False])
def test_stacks_are_those_of_gymnasiums_wrapper(
    name: str, frame_stack: int, padding: Literal["reset", "zero"], prioritized: bool
) -> None:
    num_envs = 3
    envs = [FrameStackObservation(made(name), frame_stack, padding_type=padding) for _ in range(num_envs)]
    memory = ReplayMemory.from_spaces(
        20 * num_envs,
        made(name).observation_space,
        made(name).action_space,
        num_envs=num_envs,
        prioritized=prioritized,
        frame_stack=frame_stack,
        padding=padding,
    )
    rng = np.random.default_rng(0)
    shown: dict[int, tuple[NDArray[Any], NDArray[Any], bool]] = {}
    stacks = [env.reset(seed=index)[0] for index, env in enumerate(envs)]
    for step in range(100):
        assert np.array_equal(memory.latest(np.stack([stack[-1] for stack in stacks])), np.stack(stacks))
        for index in rng.permutation(num_envs):
            action = int(rng.integers(2))
            stack, reward, terminated, truncated, _ = envs[index].step(np.int64(action))
            memory.push(
                stacks[index][-1], action, float(reward), stack[-1], bool(terminated), bool(truncated), env=int(index)
            )
            # A vector of environments shows copies as well: the wrapper's own stack is written again.
            shown[step * num_envs + int(index)] = (np.array(stacks[index]), np.array(stack), bool(terminated))
            stacks[index] = envs[index].reset()[0] if terminated or truncated else stack
    newest = sorted(shown)[-len(memory) :]
    assert len(newest) == 60
    drawn = memory.gather(newest)
    again = memory.sample((40, 30))
    assert drawn.obs.shape == (60, frame_stack, *memory.obs_shape)
    for batch in (drawn, *again.unbind(), *memory.sample((40, 30), out=again).unbind()):
        for row, index in enumerate(batch.indices):
            obs, next_obs, terminated = shown[int(index)]
            assert np.array_equal(batch.obs[row], obs)
            assert np.array_equal(batch.next_obs[row], next_obs)
            assert batch.terminated[row] == terminated


def test_next_stacks_of_several_steps_end_in_the_last_one() -> None:
    memory = ReplayMemory(10, (), obs_dtype=np.uint8, frame_stack=3)
    for frame in range(1, 8):
        memory.push(frame, 0, 1.0, frame + 1, terminated=frame == 7)
    batch = memory.gather([1, 4, 5], n_step=3, gamma=0.5)
    assert batch.obs.tolist() == [[1, 1, 2], [3, 4, 5], [4, 5, 6]]
    assert batch.next_obs.tolist() == [[3, 4, 5], [6, 7, 8], [6, 7, 8]]
    assert batch.discounts.tolist() == [0.125, 0.0, 0.0]


def test_a_transition_that_does_not_follow_begins_its_own_stack() -> None:
    memory = ReplayMemory(10, (), obs_dtype=np.uint8, frame_stack=2)
    memory.push(1, 0, 0.0, 2, terminated=False)
    memory.push(7, 0, 0.0, 8, terminated=False)
    assert memory.gather([0, 1]).obs.tolist() == [[1, 1], [7, 7]]
    assert memory.latest(np.array([8], np.uint8)).tolist() == [[7, 8]]
    assert memory.latest(np.array([9], np.uint8)).tolist() == [[9, 9]]


def test_frames_are_stored_once() -> None:
    frames = ReplayMemory(1000, (84, 84), obs_dtype=np.uint8, frame_stack=4)
    assert frames.nbytes < 1.02 * 1003 * 84 * 84
    assert (frames.frame_stack, frames.padding, frames.obs_shape) == (4, "reset", (84, 84))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"frame_stack": 0}, r"^frame_stack must be at least 1, got 0$"),
        ({"frame_stack": 2**62}, r"^obs_shape \[4611686018427387904, 84, 84\] is too large for one row$"),
        ({"padding": "edge"}, r"^padding must be 'reset' or 'zero', got 'edge'$"),
    ],
)
def test_what_makes_no_stacks_is_an_error(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayMemory(10, (84, 84), obs_dtype=np.uint8, **setting)


def test_frames_that_do_not_fit_are_an_error_that_says_the_bytes() -> None:
    with pytest.raises(MemoryError, match=r"^the replay memory needs \d{14} bytes, but only \d+ are available"):
        ReplayMemory(2**31 - 10, (84, 84), obs_dtype=np.uint8, frame_stack=4)


def test_a_frame_of_another_shape_is_an_error() -> None:
    memory = ReplayMemory(10, (84, 84), obs_dtype=np.uint8, frame_stack=4)
    with pytest.raises(ValueError, match=r"^obs "):
        memory.push(np.zeros((4, 84, 84), np.uint8), 0, 0.0, np.zeros((4, 84, 84), np.uint8), terminated=False)
    with pytest.raises(ValueError, match=r"^obs "):
        memory.latest(np.zeros((2, 84, 84), np.uint8))
