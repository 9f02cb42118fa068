"""Vector environments that are made already train as they are; evaluation makes single ones like theirs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeLimit
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics
from runs import SMALL, differences, train

import acro
from acro import DQN, Experience
from acro.experience.stepper import Stepper

N = SMALL["num_envs"]
DATA: dict[str, Any] = {"env_kwargs": None}


def make_short() -> gymnasium.Env[Any, Any]:
    return TimeLimit(CartPoleEnv(), 20)


def make_stacked() -> gymnasium.Env[Any, Any]:
    return FrameStackObservation(make_short(), 2)


class Pool(VectorEnv[Any, Any, Any]):
    """EnvPool 1.2.5's interface: next-step mode, a spec without an id, starts that no `reset` seeds, float32 rewards.

    EnvPool itself has no wheel for every Python that acro supports.
    """

    def __init__(self, num_envs: int) -> None:
        self._env = SyncVectorEnv([make_short] * num_envs)
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = self._env.single_observation_space
        self.single_action_space = self._env.single_action_space
        # EnvPool's are those of one environment.
        self.observation_space, self.action_space = self.single_observation_space, self.single_action_space
        settings: Any = type("CartPoleEnvSpec", (), {"max_episode_steps": 20})()
        self.spec = settings
        self._env.reset(seed=0)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self._env.reset(options=options)

    def step(self, actions: Any) -> Any:
        obs, rewards, *rest, _ = self._env.step(actions)
        return obs, rewards.astype(np.float32), *rest, {"env_id": np.arange(self.num_envs, dtype=np.int32)}


def sync(**settings: Any) -> SyncVectorEnv:
    return SyncVectorEnv([make_short] * N, **settings)


def registered(**settings: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("CartPole-v1", N, **settings)


def trained(folder: Path, env: Any, epochs: int = 1, **data: Any) -> tuple[DQN, Experience]:
    return train(folder, epochs=epochs, env_id=env, data={**DATA, **data}, resume=epochs > 1)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        *((partial(sync, autoreset_mode=mode), "test_environments:make_short") for mode in AutoresetMode),
        (partial(RecordEpisodeStatistics, sync()), "test_environments:make_short"),
        (partial(registered, vectorization_mode="sync"), "CartPole-v1"),
        (registered, "CartPole-v1"),
        (partial(gymnasium.make_vec, "acro/Acrobot-v1", N), "acro/Acrobot-v1"),
    ],
)
def test_vector_environment_that_is_made_already_trains_and_evaluates(
    make: Callable[[], Any], name: str, tmp_path: Path
) -> None:
    module, experience = trained(tmp_path, env := make())

    assert experience.collector is not None
    assert isinstance(experience.collector.runner, Stepper)
    assert experience.collector.runner.env is env
    assert experience.num_envs == N
    assert experience.env_steps == SMALL["steps_per_epoch"]
    assert module.updates > 0
    assert module.last_evaluation is not None
    assert acro.load_agent(tmp_path / "last.ckpt").env_id == name
    # It is the user's: acro leaves it open.
    env.reset()


def test_vector_environment_in_other_processes_trains_and_resumes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for epochs in (1, 2):
        env = AsyncVectorEnv([make_short] * N, autoreset_mode=AutoresetMode.SAME_STEP)
        _, experience = trained(tmp_path, env, epochs)
        env.close()

    assert experience.env_steps == 2 * SMALL["steps_per_epoch"]
    assert "the state of test_environments:make_short cannot be saved: its episodes start afresh" in caplog.text


def test_resumed_sync_environments_continue_to_the_bit(tmp_path: Path) -> None:
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    straight, _ = train(tmp_path / "straight", epochs=2, env_id=sync(), data=DATA)
    trained(tmp_path / "stopped", sync())
    resumed, _ = trained(tmp_path / "stopped", sync(), 2)

    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_environment_with_the_interface_of_envpool_trains(tmp_path: Path) -> None:
    module, experience = trained(tmp_path, Pool(N), eval_env=make_short)

    assert module.updates > 0
    assert experience.collector is not None
    assert 20 >= max(experience.collector.episodes.lengths) > 0
    assert experience.hparams["env_id"] == "Pool"
    # What it was evaluated in is what it plays in.
    assert acro.load_agent(tmp_path / "last.ckpt").env_id == "test_environments:make_short"


def test_envpool_trains(tmp_path: Path) -> None:
    envpool = pytest.importorskip("envpool")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of its own spaces.
        env = envpool.make_gymnasium("CartPole-v1", num_envs=N, num_threads=1, seed=3)
    with pytest.warns(UserWarning, match="seeds are fixed when the environment is created"):
        module, _ = trained(tmp_path, env, eval_env="CartPole-v1")

    assert module.updates > 0


def test_environment_that_reuses_its_arrays_is_remembered_as_it_was(tmp_path: Path) -> None:
    memories = []
    for copy in (True, False):
        _, experience = trained(tmp_path, sync(copy=copy))
        assert experience.collector is not None
        memories.append(experience.collector.memory.state_dict())

    assert differences(memories[0], memories[1]) == []


def test_evaluation_may_play_in_another_environment(tmp_path: Path) -> None:
    module, experience = train(
        tmp_path, epochs=1, env_id="CartPole-v1", data={"env_kwargs": {"max_episode_steps": 5}, "eval_env": make_short}
    )

    assert experience.collector is not None
    assert max(experience.collector.episodes.lengths) == 5
    assert module.last_evaluation is not None
    assert module.last_evaluation.lengths.max() > 5


class Blind(VectorEnv[Any, Any, Any]):
    """Does not tell what its environments are."""

    def __init__(self) -> None:
        self.num_envs = N
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = Box(-1, 1, (4,)), Discrete(2)


class Foreign:
    """Has no interface of Gymnasium, as Stable-Baselines3's vector environments."""


def without_mode() -> SyncVectorEnv:
    env: Any = sync()
    env.metadata = {}
    del env.autoreset_mode
    assert isinstance(env, SyncVectorEnv)
    return env


@pytest.mark.parametrize(
    ("env", "settings", "message"),
    [
        (
            NormalizeObservation(sync()),
            {},
            "eval_env must say what evaluation plays in, an id or a function: Normalize",
        ),
        (Blind(), {}, "eval_env must say what evaluation plays in, an id or a function: Blind does not tell"),
        (sync(), {"env_kwargs": {"a": 1}}, "env_kwargs must be left out when the environment is made already"),
        (sync(), {"num_envs": 3}, "num_envs must be 4 as the given environment's, got 3; leave it out"),
        (
            sync(),
            {"eval_env": make_stacked},
            r"eval_env must have observations \(4,\) and 2 actions as the environment of training, got \(2, 4\) and 2",
        ),
        (without_mode(), {}, r"metadata\['autoreset_mode'\] of SyncVectorEnv must be an AutoresetMode, got None"),
        (CartPoleEnv(), {}, "must be an id or a function that makes it, got a CartPoleEnv; training and evaluation"),
        (Foreign(), {}, "must be an id or a function that makes it, got a Foreign"),
        ("CartPole-v1", {"eval_env": CartPoleEnv()}, "must be an id or a function that makes it, got a CartPoleEnv"),
    ],
)
def test_environment_that_does_not_fit_is_one_sentence(env: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Experience(env, **settings)
