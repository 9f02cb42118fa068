"""Atari and MinAtar: how they are made, resumed and drawn."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import pytest

from acro import DQN, Experience, envs
from acro.dqn.agent import Agent, environment_for, load_agent
from acro.envs.facts import step_limit
from acro.envs.games import FireReset
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


@needs_atari
@pytest.mark.parametrize(("stickiness", "presses"), [(0.0, 1), (0.25, 3)])
def test_a_game_that_waits_for_the_fire_button_is_served_each_life(stickiness: float, presses: int) -> None:
    env = envs.make("ALE/Breakout-v5", repeat_action_probability=stickiness)
    ale = env.unwrapped.ale  # type: ignore[attr-defined]
    env.reset(seed=0)
    # Of the steps while up to 30 frames were idle, and of the shot.
    assert ale.getEpisodeFrameNumber() <= 30 + 4 * presses
    lives = [ale.lives()]
    for _ in range(2_000):
        *_, terminated, _, info = env.step(0)
        lives.append(info["lives"])
        if terminated:
            break
    # Without a shot nothing would ever happen.
    assert terminated
    assert sorted(set(lives)) == [0, 1, 2, 3, 4, 5]


@needs_atari
@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ALE/MsPacman-v5"])
def test_a_game_without_lives_or_a_fire_button_is_left_as_it_is(env_id: str) -> None:
    env = envs.make(env_id)
    before = env.unwrapped.ale  # type: ignore[attr-defined]
    assert not isinstance(env, FireReset)
    env.reset(seed=0)
    frames = before.getEpisodeFrameNumber()
    env.step(0)
    assert before.getEpisodeFrameNumber() == frames + 4


@needs_atari
def test_a_shot_that_sticky_actions_would_drop_is_made_all_the_same() -> None:
    class Launches(gymnasium.Wrapper[Any, Any, Any, Any]):
        presses = 0

        def step(self, action: Any) -> Any:
            self.presses += action == 1
            return 0, 0.5, False, False, {"lives": 4 if action == 0 else 5}

        def reset(self, **_: Any) -> Any:
            return 0, {"lives": 5}

    inner: Any = Launches(gymnasium.make("ALE/Breakout-v5"))
    env = FireReset(inner)
    env.reset()
    assert inner.presses == 3
    # The life that was lost, and the rewards of the step and of the shot.
    assert env.step(0)[1] == 2.0
    assert inner.presses == 6


@needs_atari
def test_limit_of_an_atari_game_counts_steps_and_a_module_before_it_changes_nothing() -> None:
    env = envs.make("ale_py:ALE/Pong-v5", max_episode_steps=50)
    obs, _ = env.reset(seed=0)
    assert obs.shape == (84, 84)
    steps = 1
    while not any(env.step(0)[2:4]):
        steps += 1
    assert steps == 50
    assert step_limit(env) == 50
    assert step_limit(envs.make("ALE/Pong-v5", max_episode_steps=-1)) is None


@needs_atari
@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("ALE/Pong-v5", {"mode": 77}, "cannot make ALE/Pong-v5 with the arguments .*: Invalid game mode requested"),
        ("ALE/Pong-v5", {"frameskip": 4}, "frameskip of an Atari game cannot be chosen: every fourth frame is grey"),
        ("ALE/Pong-v5", {"repeat_action_probability": 3.0}, "repeat_action_probability must be from 0 to 1, got 3.0"),
        # Version 4 exists where all games were registered.
        ("PongNoFrameskip-v9", {}, "it is ALE/Pong-v5, without sticky actions with repeat_action_probability=0"),
    ],
)
def test_wrong_arguments_of_atari_games_are_one_sentence(env_id: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        envs.make(env_id, **kwargs)


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
    env = agent.make_env()
    seen, _ = env.reset(seed=5)
    assert env.action_space.contains(np.int64(agent.act(seen)))
    assert not env.step(agent.act(seen))[3]


@needs_minatar
def test_minatar_games_have_no_window() -> None:
    with pytest.raises(ValueError, match=r"MinAtar/Breakout-v1 is drawn as an rgb_array only, got render_mode='human'"):
        envs.make("MinAtar/Breakout-v1", render_mode="human")


@needs_minatar
def test_an_environment_made_for_an_agent_is_the_one_it_was_evaluated_in() -> None:
    _, dqn = started("MinAtar/Breakout-v1", {"frame_stack": 3})
    agent = Agent(dqn.eval(), "MinAtar/Breakout-v1", {"max_episode_steps": 40}, 3)
    played = evaluate(dqn, "MinAtar/Breakout-v1", 1, 7, agent.env_kwargs, 3)
    env = agent.make_env(render_mode="rgb_array")
    obs, _ = env.reset(seed=7)
    total, ended = 0.0, False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(agent.act(obs))
        total, ended = total + float(reward), terminated or truncated
    assert total == played.returns[0] == agent.evaluate(1, 7).returns[0]
    assert env.render() is not None


@needs_minatar
def test_frames_that_were_not_stacked_say_how_to() -> None:
    _, dqn = started("MinAtar/Breakout-v1", {"frame_stack": 2})
    expected = r"takes observations \(2, 10, 10, 4\), MinAtar/Breakout-v1 shows \(10, 10, 4\); give frame_stack=2$"
    with pytest.raises(ValueError, match=expected):
        evaluate(dqn, "MinAtar/Breakout-v1", 1)
    with pytest.raises(ValueError, match=r"give an environment that it was made for$"):
        evaluate(dqn, "CartPole-v1", 1)


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
