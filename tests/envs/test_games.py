"""Atari and MinAtar: how they are made, resumed and drawn."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest

from acro import DQN, Experience, envs
from acro.dqn.agent import environment_for, load_agent
from acro.evaluation import Episodes, evaluate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
needs_atari = pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="acro-dqn[atari] is missing")
needs_minatar = pytest.mark.skipif(importlib.util.find_spec("minatar") is None, reason="acro-dqn[minatar] is missing")
GAMES = [
    pytest.param("MinAtar/Breakout-v1", {}, marks=needs_minatar),
    pytest.param("MinAtar/Asterix-v1", {}, marks=needs_minatar),
    pytest.param("MinAtar/SpaceInvaders-v1", {"frame_stack": 2}, marks=needs_minatar),
    pytest.param(
        "ALE/Breakout-v5", {"frame_stack": 4, "clip_rewards": True, "life_loss_ends": True}, marks=needs_atari
    ),
]


def started(env_id: str, settings: dict[str, Any]) -> tuple[Experience, DQN]:
    experience = Experience(
        env_id, num_envs=2, capacity=400, steps_per_round=8, steps_per_epoch=64, seed=3, eval_episodes=2, **settings
    )
    dqn = DQN(
        experience.observation_size,
        experience.num_actions,
        (8,),
        observation_shape=experience.observation_shape,
        observation_dtype=experience.observation_dtype,
    )
    experience.setup("fit")
    return experience, dqn


@pytest.mark.parametrize(("env_id", "settings"), GAMES)
def test_a_game_goes_on_to_the_bit(env_id: str, settings: dict[str, Any]) -> None:
    (experience, dqn), (other, _) = started(env_id, settings), started(env_id, settings)
    assert experience.collector is not None
    assert other.collector is not None
    for _ in range(60):
        experience.collector.collect(dqn, 0.5, 1)
    other.load_state_dict(experience.state_dict())
    for _ in range(60):
        experience.collector.collect(dqn, 0.5, 1)
        other.collector.collect(dqn, 0.5, 1)
    one, same = experience.collector.memory.state_dict(), other.collector.memory.state_dict()
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert experience.collector.episodes.returns == other.collector.episodes.returns


@needs_atari
def test_atari_games_are_preprocessed_as_published() -> None:
    env = envs.make("ALE/Pong-v5")
    obs, _ = env.reset(seed=0)
    assert (obs.shape, obs.dtype) == ((84, 84), np.uint8)
    ale = env.unwrapped.ale  # type: ignore[attr-defined]
    before = ale.getEpisodeFrameNumber()
    env.step(0)
    assert ale.getEpisodeFrameNumber() == before + 4
    assert ale.getFloat("repeat_action_probability") == 0.25


@needs_minatar
def test_minatar_games_are_drawn_without_smoothing() -> None:
    env = envs.make("MinAtar/Breakout-v1", render_mode="rgb_array")
    env.reset(seed=0)
    cells, *_ = env.step(0)
    picture: Any = env.render()
    assert (picture.shape, picture.dtype) == ((240, 240, 3), np.uint8)
    corners = picture[::24, ::24]
    assert np.array_equal(picture, corners.repeat(24, axis=0).repeat(24, axis=1))
    empty = ~cells.any(axis=-1)
    assert len(np.unique(corners[empty], axis=0)) == 1
    assert len(np.unique(corners.reshape(-1, 3), axis=0)) == 1 + cells.shape[-1]


@pytest.mark.parametrize(
    ("env_id", "frame_stack"),
    [
        pytest.param("MinAtar/Breakout-v1", 2, marks=needs_minatar),
        pytest.param("MinAtar/Breakout-v1", None, marks=needs_minatar),
        pytest.param("ALE/Pong-v5", 4, marks=needs_atari),
    ],
)
def test_a_trained_agent_is_loaded_for_its_frames(tmp_path: Path, env_id: str, frame_stack: int | None) -> None:
    experience, dqn = started(env_id, {"frame_stack": frame_stack})
    L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    ).fit(dqn, experience)
    assert dqn.trainer is not None
    dqn.trainer.save_checkpoint(tmp_path / "agent.ckpt")
    agent = load_agent(tmp_path / "agent.ckpt")
    assert agent.frame_stack == frame_stack
    assert environment_for(agent) == (env_id, {})
    obs = np.ones((3, *experience.observation_shape), experience.observation_dtype)
    assert np.array_equal(agent.act(obs), dqn.act(obs))


@needs_minatar
def test_games_are_played_greedily() -> None:
    _, dqn = started("MinAtar/Breakout-v1", {"frame_stack": 2})
    episodes = Episodes("MinAtar/Breakout-v1", 2, 0, {}, 2)
    first, again = evaluate(dqn, *episodes), evaluate(dqn, *episodes)
    assert np.array_equal(first.returns, again.returns)


@pytest.mark.parametrize(
    ("env_id", "module", "extra"),
    [("ALE/Pong-v5", "ale_py", "atari"), ("MinAtar/Breakout-v1", "minatar.gym", "minatar")],
)
def test_a_game_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, env_id: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"^cannot make the environment '{env_id}': .*'acro-dqn\[{extra}\]'$"):
        Experience(env_id)
