"""A trained agent, ready to act."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from runs import SMALL, train
from torch import nn

import acro
from acro import DQN

OBS = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder whose checkpoints have averaged weights that act differently from the last ones."""
    folder = tmp_path_factory.mktemp("run")
    model = {"average_updates": 10_000, "learning_rate": 1e-2}
    train(folder, epochs=2, env_id="CartPole-v1", model=model)
    (folder / "checkpoints").mkdir()
    content = torch.load(folder / "last.ckpt", weights_only=True)
    others = DQN(4, 2, hidden=(16, 16), seed=5).q_network.state_dict()
    content["state_dict"] |= {f"averaged_network.{name}": weights for name, weights in others.items()}
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    return folder


def of_weights(path: Path, name: str) -> list[int]:
    """Return the actions of the checkpoint's network `name`, by torch."""
    module = DQN(4, 2, hidden=(16, 16), average_updates=10_000)
    module.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    with torch.no_grad():
        actions: list[int] = getattr(module, name)(torch.from_numpy(OBS)).argmax(dim=1).tolist()
    return actions


def test_agent_of_a_run_folder_acts_by_the_averaged_weights(run: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    agent = acro.load_agent(run)

    assert agent.act(OBS).tolist() == of_weights(last, "averaged_network")  # type: ignore[union-attr]
    assert agent.act(OBS).tolist() != of_weights(last, "q_network")  # type: ignore[union-attr]
    assert not agent.module.training
    assert agent.env_id == "CartPole-v1"


def test_agent_of_a_run_folder_is_its_best(run: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name, seed in {"best": 1, "last": 2}.items():
        content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        content["state_dict"] |= DQN(4, 2, hidden=(16, 16), seed=seed, average_updates=1).state_dict()
        torch.save(content, tmp_path / "checkpoints" / f"{name}.ckpt")

    best = DQN(4, 2, hidden=(16, 16), seed=1)
    assert np.array_equal(acro.load_agent(tmp_path).act(OBS), best.act(OBS))


def test_one_observation_has_an_int_and_several_an_array(run: Path) -> None:
    agent = acro.load_agent(run)

    assert type(agent.act(OBS[0])) is int
    assert type(agent.act(OBS[0].tolist())) is int
    several = agent.act(OBS)
    assert isinstance(several, np.ndarray)
    assert several.shape == (64,)
    assert several.dtype == np.int64
    with pytest.raises(ValueError, match=r"obs must have shape \(4,\), or \(N, 4,\) for several, got \(64, 3\)"):
        agent.act(OBS[:, :3])


@pytest.mark.parametrize(
    ("obs", "epsilon", "message"),
    [
        ([0.0, float("nan"), 0.0, 0.0], 0.0, r"obs must be finite, got \[0.0, nan, 0.0, 0.0\]"),
        ([0.0, 0.0, 0.0, 0.0], 2.0, r"epsilon must be from 0 to 1, got 2\.0"),
    ],
)
def test_what_no_action_follows_from_is_an_error(obs: list[float], epsilon: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DQN(4, 2).act(obs, epsilon)


def test_epsilon_is_the_share_of_random_actions(run: Path) -> None:
    agent = acro.load_agent(run)
    obs = np.repeat(OBS[:1], 10_000, axis=0)

    greedy = agent.act(OBS[0])
    changed = agent.act(obs, epsilon=0.5, generator=np.random.default_rng(0)) != greedy

    # Half explore, and half of those choose the greedy action.
    assert np.mean(changed) == pytest.approx(0.25, abs=0.02)


def test_agent_of_an_environment_that_is_not_here_acts(run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    content["datamodule_hyper_parameters"]["env_id"] = "nowhere:Own-v0"
    torch.save(content, tmp_path / "own.ckpt")

    assert np.array_equal(acro.load_agent(tmp_path / "own.ckpt").act(OBS), acro.load_agent(run).act(OBS))


def test_network_of_ones_own_is_given(tmp_path: Path) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    module, _ = train(tmp_path, epochs=1, env_id="CartPole-v1", model={"network": network()})

    agent = acro.load_agent(tmp_path / "last.ckpt", network=network())
    assert np.array_equal(agent.act(OBS), module.eval().act(OBS))
    with pytest.raises(ValueError, match=r"do not fit acro\.QNetwork"):
        acro.load_agent(tmp_path / "last.ckpt")


def test_agent_of_a_subclass_with_more_arguments_says_how_it_is_loaded(run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "last.ckpt", weights_only=True)
    content["hyper_parameters"]["beta"] = 0.5
    torch.save(content, tmp_path / "own.ckpt")

    with pytest.raises(ValueError, match=r"is of a subclass of DQN with beta; load it by that class's load_from_check"):
        acro.load_agent(tmp_path / "own.ckpt")


def test_loaded_module_acts_at_once(run: Path) -> None:
    module = DQN.load_from_checkpoint(run / "checkpoints" / "last.ckpt")

    assert not module.training
    assert np.array_equal(module.act(OBS), acro.load_agent(run).act(OBS))


def test_loaded_module_that_is_trained_further_acts_by_its_newest_weights(run: Path, tmp_path: Path) -> None:
    acting = []

    class Watched(DQN):
        def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
            acting.append(self.acting_network is self.q_network)

    module = Watched.load_from_checkpoint(run / "checkpoints" / "last.ckpt")
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    trainer.fit(module, acro.Experience("CartPole-v1", **SMALL))

    assert acting
    assert all(acting)


def test_folder_without_checkpoints_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a run folder: there is no .*best\.ckpt; name a checkpoint"):
        acro.load_agent(tmp_path)
