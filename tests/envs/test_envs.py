"""Making environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs import classic_control
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import acro.envs
from acro.envs.acrobot import AcrobotEnv, AcrobotVectorEnv


class OneBased(classic_control.CartPoleEnv):
    def __init__(self) -> None:
        super().__init__()
        one_based: Any = gymnasium.spaces.Discrete(2, start=1)
        self.action_space = one_based


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


def test_function_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_poles.py").write_text(
        "import gymnasium\n"
        "def make(): return gymnasium.make('CartPole-v1')\n"
        "def make_many(num_envs): return gymnasium.make_vec('CartPole-v1', num_envs)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    spec = acro.envs.make("my_poles:make").spec
    assert spec is not None
    assert spec.id == "CartPole-v1"
    assert acro.envs.name_of(acro.envs.find("my_poles:make")) == "my_poles:make"
    assert type(acro.envs.make_vec("my_poles:make_many", 2)).__name__ == "CartPoleVectorEnv"
    with pytest.raises(ValueError, match="my_poles:make_many makes vector environments; a single one is needed here"):
        acro.envs.make("my_poles:make_many")


def test_environment_that_is_made_already_is_an_error() -> None:
    made: tuple[Any, ...] = (classic_control.CartPoleEnv(), SyncVectorEnv([classic_control.CartPoleEnv]))
    for env in made:
        with pytest.raises(TypeError, match=f"must be an id or a function that makes it, got a {type(env).__name__}"):
            acro.envs.make_vec(env, 1)


def test_vector_environment_of_another_number_or_without_a_mode_is_an_error() -> None:
    def three(num_envs: int) -> Any:
        return SyncVectorEnv([classic_control.CartPoleEnv] * 3)

    def modeless(num_envs: int) -> Any:
        env: Any = SyncVectorEnv([classic_control.CartPoleEnv] * num_envs)
        env.metadata = {}
        del env.autoreset_mode
        return env

    with pytest.raises(ValueError, match="three must make 2 environments, got 3"):
        acro.envs.make_vec(three, 2)
    with pytest.raises(ValueError, match="modeless must be an AutoresetMode, got None"):
        acro.envs.make_vec(modeless, 2)


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
