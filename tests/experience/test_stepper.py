"""What happens in an environment does not depend on where it is stepped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from differences import differences
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from runs import last_checkpoint, train

from acro import DQN, Experience, QNetwork
from acro.dqn.optimizer import flatten_parameters
from acro.dqn.rust_network import RustActing, make_network
from acro.experience.exploration import EpsilonGreedy
from acro.experience.shards import EnvShard, concatenate_steps, merge_states, split_state
from acro.experience.stepper import Step, Stepper

ENVS = 8


def shards(count: int, env_id: str, mode: AutoresetMode) -> list[Stepper]:
    """Return the environments, `count` in each stepper."""
    kwargs = {"max_episode_steps": 20}
    return [
        EnvShard(env_id, kwargs, mode, EpsilonGreedy(count, 2, seed=5, first_env=first), 3, first, count, ENVS).make()
        for first in range(0, ENVS, count)
    ]


def taken(stepper: Stepper, module: DQN, count: int) -> Step:
    stepper.start(module, 0.2, count)
    return stepper.finish()


def make_vectors(num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("CartPole-v1", num_envs)


def own_network(size: int) -> torch.nn.Module:
    """Return a network that Rust does not know, wide enough for BLAS to tell numbers of rows apart."""
    return torch.nn.Sequential(torch.nn.Linear(size, 300), torch.nn.Tanh(), torch.nn.Linear(300, 2))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "acro/Acrobot-v1"])
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("is_own", [False, True], ids=["acro's network", "another"])
def test_environments_divided_among_steppers_go_the_same_way(env_id: str, mode: AutoresetMode, is_own: bool) -> None:
    size = {"CartPole-v1": 4, "acro/Acrobot-v1": 6}[env_id]
    module = DQN(size, 2, network=own_network(size)) if is_own else DQN(size, 2, hidden=(16, 16))
    (whole,) = shards(ENVS, env_id, mode)
    expected = taken(whole, module, 60)

    for count in (1, 2, 4):
        steppers = shards(count, env_id, mode)
        found = concatenate_steps([taken(stepper, module, 60) for stepper in steppers])
        assert differences(found._asdict(), expected._asdict()) == []
        merged = merge_states([stepper.state_dict() for stepper in steppers], [count] * len(steppers))
        assert differences(merged, whole.state_dict()) == []


@pytest.mark.parametrize("count", [2, ENVS])
def test_network_is_shown_as_many_rows_everywhere_and_once_a_step(count: int) -> None:
    network = own_network(4)
    module, seen = DQN(4, 2, network=network), list[torch.Tensor]()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    stepper = shards(count, "CartPole-v1", AutoresetMode.SAME_STEP)[-1]
    first, obs = ENVS - count, stepper.state_dict()["obs"]

    for _ in range(3):
        stepper.step(module, 0.0)

    assert [len(rows) for rows in seen] == [ENVS] * 3
    assert seen[0][first:].tolist() == obs.tolist()
    assert not seen[0][:first].any()


def test_state_of_some_places_continues_in_others() -> None:
    module = DQN(4, 2, hidden=(16, 16))
    before, after = (shards(count, "CartPole-v1", AutoresetMode.SAME_STEP) for count in (4, 2))
    for stepper in before:
        taken(stepper, module, 30)
    state = merge_states([stepper.state_dict() for stepper in before], [4, 4])
    for index, stepper in enumerate(after):
        assert stepper.load_state_dict(split_state(state, 2 * index, 2, ENVS)) == {}

    expected = concatenate_steps([taken(stepper, module, 30) for stepper in before])
    found = concatenate_steps([taken(stepper, module, 30) for stepper in after])
    assert differences(found._asdict(), expected._asdict()) == []


@pytest.mark.parametrize(
    ("inputs", "network"),
    [
        (6, {"hidden": (128, 128)}),
        (4, {"hidden": (64, 64), "dueling": True}),
        (8, {"hidden": (256, 256), "outputs_per_action": 32, "layer_norm": True}),
        (200, {"hidden": (120, 84)}),
        (3, {"hidden": ()}),
    ],
)
def test_action_is_the_same_beside_any_others(inputs: int, network: dict[str, Any]) -> None:
    torch.manual_seed(0)
    q_network = QNetwork(inputs, 4, **network)
    acting = RustActing.of(q_network)
    assert acting is not None
    values = make_network(q_network).forward
    obs = np.random.default_rng(0).normal(size=(40, inputs)).astype(np.float32)
    flat = flatten_parameters(q_network.parameters()).numpy()
    whole = values(flat, obs)

    for rows in range(2, 40):
        assert values(flat, obs[:rows]).tobytes() == whole[:rows].tobytes()
    np.testing.assert_array_equal(np.concatenate([acting(row[np.newaxis]) for row in obs]), acting(obs))


def test_policy_acts_as_its_module_does_with_the_weights_that_are_sent() -> None:
    module, obs = DQN(4, 3, hidden=(8,)), np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    policy = module.make_policy()
    with torch.no_grad():
        for parameter in module.q_network.parameters():
            parameter.mul_(-1.0)

    assert (policy.greedy_actions(obs) != module.greedy_actions(obs)).any()
    policy.load_weights(module.weights_to_send())
    np.testing.assert_array_equal(policy.greedy_actions(obs), module.greedy_actions(obs))


class OwnForward(DQN):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return super().forward(obs)


class OwnActions(DQN):
    def greedy_actions(self, obs: NDArray[np.generic]) -> NDArray[np.int64]:
        return np.zeros(len(obs), dtype=np.int64)


class OwnActor(DQN):
    @property
    def acting_network(self) -> torch.nn.Module:
        return self.target_network


@pytest.mark.parametrize(
    ("kind", "name"), [(OwnForward, "forward"), (OwnActions, "greedy_actions"), (OwnActor, "acting_network")]
)
def test_what_is_overridden_would_act_otherwise_elsewhere_and_is_refused(kind: type[DQN], name: str) -> None:
    with pytest.raises(
        ValueError, match=f"{kind.__name__} overrides {name}, which collectors would not have; use collectors=0"
    ):
        kind(4, 2).make_policy()


def test_hooks_and_noise_would_act_otherwise_elsewhere_and_are_refused() -> None:
    hooked = DQN(4, 2)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="DQN has hooks, which collectors would not have; use collectors=0"):
        hooked.make_policy()
    with pytest.raises(ValueError, match="a noisy network draws its noise for all environments at once"):
        DQN(4, 2, noisy=True).make_policy()


def test_collectors_and_lag_are_checked() -> None:
    with pytest.raises(ValueError, match="collectors must divide num_envs=8, or be 0, got 3"):
        Experience("CartPole-v1", num_envs=8, collectors=3)
    with pytest.raises(ValueError, match="lag must be 0 or 1, got 2"):
        Experience("CartPole-v1", lag=2)
    with pytest.raises(ValueError, match="make_vectors makes vectors, whose state cannot be divided"):
        Experience(make_vectors, num_envs=8, collectors=2)


def test_run_with_a_lag_resumes_exactly(tmp_path: Path) -> None:
    for folder in ("straight", "stopped"):
        (tmp_path / folder).mkdir()
    lagging = {"data": {"lag": 1}, "env_id": "CartPole-v1"}
    train(tmp_path / "straight", epochs=3, **lagging)  # type: ignore[arg-type]
    train(tmp_path / "stopped", epochs=3, stop_after=11, **lagging)  # type: ignore[arg-type]
    train(tmp_path / "stopped", epochs=3, resume=True, **lagging)  # type: ignore[arg-type]

    straight, stopped = (last_checkpoint(tmp_path / name) for name in ("straight", "stopped"))
    for name in ("state_dict", "optimizer_states", "Experience"):
        assert differences(straight[name], stopped[name]) == []
    # What was stepped ahead, with the weights of the round before, is a part of it.
    assert straight["Experience"]["collector"]["ahead"]["actions"].shape == (4, 4)
