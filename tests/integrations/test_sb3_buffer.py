"""acro's memory as Stable-Baselines3's replay buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is an extra: pip install acro-dqn[test]")

import gymnasium
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as StableReplayBuffer

from acro.integrations.sb3 import ReplayBuffer

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = spaces.Discrete(4)


def fill(buffer: StableReplayBuffer, steps: int) -> None:
    """Two environments whose every observation is another one, ended and cut off now and then."""
    for step in range(steps):
        obs = np.stack([np.full(3, step), np.full(3, 1000 + step)]).astype(np.float32)
        done = np.array([step % 7 == 6, step % 5 == 4])
        infos = [{"TimeLimit.truncated": bool(done[0] and step % 2)}, {}]
        next_obs = obs + np.where(done, 0.5, 1.0)[:, None].astype(np.float32)
        buffer.add(obs, next_obs, np.array([step % 4, 1]), np.array([step, -step], float), done, infos)


def rows(buffer: StableReplayBuffer, draws: int = 3000) -> dict[float, list[list[float]]]:
    """Every transition that is drawn, by its first observation."""
    columns = [column.numpy() for column in buffer.sample(draws) if column is not None]
    return {float(row[0][0]): [part.tolist() for part in row] for row in zip(*columns, strict=True)}


@pytest.mark.parametrize("steps", [12, 40])
@pytest.mark.parametrize("handle_timeouts", [True, False])
def test_samples_are_those_of_stable_baselines3(steps: int, handle_timeouts: bool) -> None:
    options: dict[str, Any] = {"device": "cpu", "n_envs": 2, "handle_timeout_termination": handle_timeouts}
    own = ReplayBuffer(50, OBS, ACTIONS, **options, seed=0)
    theirs = StableReplayBuffer(50, OBS, ACTIONS, **options)
    np.random.seed(0)  # noqa: NPY002
    fill(own, steps)
    fill(theirs, steps)
    found, expected = rows(own), rows(theirs)
    assert found == expected
    assert len(found) == 2 * min(steps, 25) == 2 * own.size()
    for column, same in zip(own.sample(4), theirs.sample(4), strict=True):
        if column is None or same is None:
            assert column is same
        else:
            assert (column.dtype, column.shape) == (same.dtype, same.shape)


def test_n_step_targets_are_those_of_stable_baselines3() -> None:
    options: dict[str, Any] = {"device": "cpu", "n_envs": 2, "n_steps": 3, "gamma": 0.9}
    own, theirs = ReplayBuffer(50, OBS, ACTIONS, **options, seed=0), NStepReplayBuffer(50, OBS, ACTIONS, **options)
    np.random.seed(0)  # noqa: NPY002
    fill(own, 40)
    fill(theirs, 40)

    def targets(buffer: StableReplayBuffer) -> dict[float, float]:
        batch = buffer.sample(3000)
        assert batch.discounts is not None
        values = batch.rewards + (1 - batch.dones) * batch.discounts * batch.next_observations[:, :1]
        return dict(zip(batch.observations[:, 0].tolist(), values[:, 0].tolist(), strict=True))

    assert targets(own) == pytest.approx(targets(theirs), rel=1e-5)


def test_memory_is_about_half_even_with_time_limits() -> None:
    images = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    own = ReplayBuffer(200, images, ACTIONS, device="cpu", optimize_memory_usage=True)
    theirs = StableReplayBuffer(200, images, ACTIONS, device="cpu")
    held = theirs.observations.nbytes + theirs.next_observations.nbytes
    obs = np.zeros((1, 4, 84, 84), np.uint8)
    for _ in range(200):
        own.add(obs, obs, np.array([0]), np.array([0.0]), np.array([False]), [{}])
    assert own.memory.nbytes < 0.55 * held


def test_dqn_learns_from_it_and_saves_it(tmp_path: Path) -> None:
    model = DQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        replay_buffer_class=ReplayBuffer,
        buffer_size=500,
        learning_starts=50,
        device="cpu",
        seed=1,
    )
    model.learn(300)
    assert model.replay_buffer is not None
    assert model.replay_buffer.size() == 300
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    before = model.replay_buffer.sample(8)
    model.load_replay_buffer(tmp_path / "buffer.pkl")
    assert (model.replay_buffer.sample(8).observations == before.observations).all()


@pytest.mark.parametrize("handle_timeouts", [True, False])
@pytest.mark.parametrize("steps", [0, 12, 25, 40])
def test_columns_are_those_of_stable_baselines3(steps: int, handle_timeouts: bool) -> None:
    options: dict[str, Any] = {"device": "cpu", "n_envs": 2, "handle_timeout_termination": handle_timeouts}
    own, theirs = ReplayBuffer(50, OBS, ACTIONS, **options), StableReplayBuffer(50, OBS, ACTIONS, **options)
    fill(own, steps)
    fill(theirs, steps)
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        found, expected = getattr(own, name), getattr(theirs, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=name)
    with pytest.raises(ValueError, match="read-only"):
        own.observations[0] = 1


@pytest.mark.parametrize("n_steps", [1, 3])
def test_transitions_at_positions_are_those_of_stable_baselines3(n_steps: int) -> None:
    options: dict[str, Any] = {"device": "cpu", "n_steps": n_steps, "gamma": 0.9}
    own, theirs = ReplayBuffer(25, OBS, ACTIONS, **options), NStepReplayBuffer(25, OBS, ACTIONS, **options)
    for step in range(40):
        # Cut off without an end, as their own tests have it.
        infos = [{"TimeLimit.truncated": step == 30}]
        obs = np.full((1, 3), step, np.float32)
        for buffer in (own, theirs):
            buffer.add(obs, obs + 1, np.array([step % 4]), np.array([step]), np.array([step % 7 == 6]), infos)
    for position in range(25):
        found, expected = (buffer._get_samples(np.array([position])) for buffer in (own, theirs))
        assert found.observations.tolist() == expected.observations.tolist()
        assert found.rewards.item() == pytest.approx(expected.rewards.item(), rel=1e-5)
        assert found.dones.item() == expected.dones.item()


def test_learning_goes_on_where_stable_baselines3_marks_the_last_step() -> None:
    model = DQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        replay_buffer_class=ReplayBuffer,
        replay_buffer_kwargs={"handle_timeout_termination": False},
        optimize_memory_usage=True,
        buffer_size=500,
        learning_starts=50,
        device="cpu",
    )
    model.learn(100)
    with pytest.warns(UserWarning, match="The last trajectory in the replay buffer will be truncated"):
        model.learn(100)
    assert model.replay_buffer is not None
    assert model.replay_buffer.size() == 200


def test_n_steps_without_the_model_s_gamma_are_an_error() -> None:
    with pytest.raises(ValueError, match="gamma must be the model's where n_steps is above 1, got None; use replay_"):
        ReplayBuffer(50, OBS, ACTIONS, device="cpu", n_steps=3)


def test_reset_forgets_everything() -> None:
    buffer = ReplayBuffer(10, OBS, ACTIONS, device="cpu", n_envs=2)
    fill(buffer, 7)
    buffer.reset()
    assert (buffer.size(), len(buffer.memory)) == (0, 0)
