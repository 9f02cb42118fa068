"""A run that stopped and resumed ends as one that never stopped, to the bit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import pytest
import torch
from batches import random_rounds
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from runs import SMALL, differences, last_checkpoint, train

from acro import DQN, Experience, envs
from acro.experience.loaders import RoundLoader

EPOCHS = 3
STEPS_PER_ROUND = SMALL["steps_per_round"]
ROUNDS_PER_EPOCH = SMALL["steps_per_epoch"] // STEPS_PER_ROUND

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "prioritized": {"data": {"prioritized": True}},
    "mirrored": {"data": {"mirror": True}},
    "soft targets": {"model": {"tau": 0.05, "target_update_every": 1}},
    "next-step autoreset": {"data": {"autoreset_mode": "NextStep"}},
    "exponential epsilon": {"data": {"epsilon_decay_per_episode": 0.9}},
    "dueling, decaying rate": {
        "model": {"dueling": True, "learning_rate_end": 1e-4, "learning_rate_decay_updates": 150}
    },
    "quantiles, prioritized": {"data": {"prioritized": True}, "model": {"head": "quantile", "num_quantiles": 5}},
    "categories": {"model": {"head": "categorical", "num_atoms": 11, "v_min": -100.0, "v_max": 0.0}},
    "noisy, averaged": {"model": {"noisy": True, "average_updates": 50, "munchausen_temperature": 0.03}},
    "gymnasium's acrobot": {"env_id": "Acrobot-v1"},
    "cartpole": {"env_id": "CartPole-v1"},
    "lunarlander": {"env_id": "LunarLander-v3"},
    "lunarlander, next-step autoreset": {"env_id": "LunarLander-v3", "data": {"autoreset_mode": "NextStep"}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_run_ends_like_an_uninterrupted_one(variant: str, tmp_path: Path) -> None:
    settings = VARIANTS[variant]
    if "lunarlander" in variant:
        pytest.importorskip("Box2D")
    (tmp_path / "straight").mkdir()
    train(tmp_path / "straight", epochs=EPOCHS, **settings)
    expected = last_checkpoint(tmp_path / "straight")

    for stop_after in (2, ROUNDS_PER_EPOCH, 2 * ROUNDS_PER_EPOCH + 3):
        folder = tmp_path / f"stopped {stop_after}"
        folder.mkdir()
        train(folder, epochs=EPOCHS, stop_after=stop_after, **settings)
        assert last_checkpoint(folder)["Experience"]["collector"]["env_steps"] == stop_after * STEPS_PER_ROUND
        train(folder, epochs=EPOCHS, resume=True, **settings)
        assert differences(expected, last_checkpoint(folder)) == [], stop_after


@pytest.mark.parametrize("first_epochs", [1, 3])
def test_finished_run_is_extended(first_epochs: int, tmp_path: Path) -> None:
    (tmp_path / "straight").mkdir()
    train(tmp_path / "straight", epochs=EPOCHS)
    (tmp_path / "extended").mkdir()
    train(tmp_path / "extended", epochs=first_epochs)
    train(tmp_path / "extended", epochs=EPOCHS, resume=True)

    assert differences(last_checkpoint(tmp_path / "straight"), last_checkpoint(tmp_path / "extended")) == []


class Renamed(Experience):
    pass


def resume(folder: Path, experience: Experience, **model: Any) -> None:
    settings: dict[str, Any] = {"hidden": (16, 16), "target_update_every": 7, **model}
    module = DQN(experience.observation_size, experience.num_actions, **settings)
    trainer = L.Trainer(accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False)
    trainer.fit(module, experience, ckpt_path=folder / "last.ckpt", weights_only=True)


def test_another_experience_or_support_does_not_go_on_in_python(tmp_path: Path) -> None:
    support = {"head": "categorical", "num_atoms": 11, "v_min": -100.0, "v_max": 0.0}
    train(tmp_path, epochs=1, model=support)

    with pytest.raises(ValueError, match="holds no replay memory"):
        resume(tmp_path, Renamed(**SMALL), **support)
    with pytest.raises(ValueError, match=r"returns from -100 to 0, here they are from -100 to 100"):
        resume(tmp_path, Experience(**SMALL), **{**support, "v_max": 100.0})
    with pytest.raises(ValueError, match=r"seed is 0 in it, 3 here"):
        resume(tmp_path, Experience(**SMALL, seed=3), **support)


def test_what_makes_the_same_network_goes_on_in_python(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)

    # As YAML has it; and a setting of another head.
    resume(tmp_path, Experience(**SMALL), hidden=[16, 16], num_atoms=21)


class Measured(L.LightningDataModule):
    """Rounds of one's own, with metrics and no other part of an Experience."""

    def train_dataloader(self) -> Any:
        return RoundLoader(lambda: random_rounds(2), 3)

    def val_dataloader(self) -> Any:
        return RoundLoader(lambda: random_rounds(1), 1)

    def metrics(self) -> dict[str, float]:
        return {"step": 7.0, "own": 0.5}


def test_data_module_of_ones_own_is_resumed_and_its_metrics_are_logged(tmp_path: Path) -> None:
    class Validated(DQN):
        def validation_step(self, *_: Any) -> None:
            self.log_dict(self._training_metrics(), batch_size=1)

    for epochs, path in ((1, None), (2, tmp_path / "last.ckpt")):
        module = Validated(4, 3, (8,))
        trainer = L.Trainer(accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False)
        trainer.fit(module, Measured(), ckpt_path=path, weights_only=True)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        assert module.updates == 6 * epochs
        assert trainer.callback_metrics["own"] == 0.5


def test_checkpoint_that_is_tested_leaves_the_experience_alone(tmp_path: Path) -> None:
    module, experience = train(tmp_path, epochs=1)
    trainer = L.Trainer(accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False)
    trainer.fit(module, experience)
    steps = experience.env_steps
    trainer.test(module, experience, ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)

    assert experience.env_steps == steps == 3 * SMALL["steps_per_epoch"]


def test_checkpoint_holds_no_code(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)

    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "last.ckpt") == []


def test_comparison_notices_another_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        train(tmp_path / str(seed), epochs=1, seed=seed)

    assert len(differences(last_checkpoint(tmp_path / "0"), last_checkpoint(tmp_path / "1"))) > 10


def test_checkpoint_is_saved_before_anything_was_remembered(tmp_path: Path) -> None:
    class SaveFirst(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "first.ckpt")

    train(tmp_path, epochs=1, callbacks=(SaveFirst(),))

    assert torch.load(tmp_path / "first.ckpt", weights_only=True)["Experience"]["collector"]["env_steps"] == 0


def make_pole() -> Any:
    return gymnasium.make("CartPole-v1", max_episode_steps=60)


def make_poles(num_envs: int) -> Any:
    return gymnasium.vector.SyncVectorEnv([make_pole] * num_envs)


def make_poles_elsewhere(num_envs: int) -> Any:
    return gymnasium.vector.AsyncVectorEnv([lambda: envs.Recorder(make_pole())] * num_envs)


@pytest.mark.parametrize(
    "factory",
    [
        make_pole,
        lambda: RecordEpisodeStatistics(make_pole()),
        make_poles,
        make_poles_elsewhere,
        "test_resume:make_poles",
    ],
    ids=["function", "lambda", "vector", "other processes", "named"],
)
def test_run_in_what_a_function_makes_is_resumed(factory: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"env_id": factory, "data": {"env_kwargs": {}}}
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", epochs=2, **settings)
    train(tmp_path / "stopped", epochs=2, stop_after=ROUNDS_PER_EPOCH + 3, **settings)
    train(tmp_path / "stopped", epochs=2, resume=True, **settings)

    expected = last_checkpoint(tmp_path / "straight")
    assert differences(expected, last_checkpoint(tmp_path / "stopped")) == []
    assert expected["datamodule_hyper_parameters"]["env_id"].startswith("test_resume:")


# ---- environments whose state cannot be saved


class Unsavable(CartPoleEnv):
    """Grows heavier with every step that it ever takes, which nothing tells."""

    def step(self, action: Any) -> Any:
        self.gravity += 0.01
        return super().step(action)  # type: ignore[no-untyped-call]


@pytest.fixture
def unsavable() -> Iterator[str]:
    """The id of an environment whose state cannot be saved."""
    gymnasium.register("Unsavable-v0", f"{__name__}:Unsavable")
    yield "Unsavable-v0"
    del gymnasium.registry["Unsavable-v0"]


def test_unsavable_environment_starts_afresh_and_says_so_once(
    unsavable: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop_after = ROUNDS_PER_EPOCH + 3
    train(tmp_path, epochs=2, stop_after=stop_after, env_id=unsavable)
    stopped = last_checkpoint(tmp_path)
    with caplog.at_level(logging.WARNING, "acro"):
        _, experience = train(tmp_path, epochs=2, resume=True, env_id=unsavable)

    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("acro")]
    before, after = (state["Experience"]["collector"] for state in (stopped, last_checkpoint(tmp_path)))
    in_the_middle = torch.nonzero(before["lengths"]).flatten().tolist()
    assert len(in_the_middle) > 1
    for index in in_the_middle:
        assert f"environment {index} has another observation at step 1 of its open episode" in message
    assert message.endswith(": their episodes start afresh, the rest continues exactly")
    assert experience.env_steps == 2 * SMALL["steps_per_epoch"]
    episodes = len(before["episodes"]["returns"])
    assert torch.equal(before["episodes"]["returns"], after["episodes"]["returns"][:episodes])
    # No episode counts the steps of one that was cut off: of CartPole both are the length.
    assert torch.equal(after["episodes"]["returns"], after["episodes"]["lengths"].double())
    assert int(after["episodes"]["lengths"].max()) <= SMALL["env_kwargs"]["max_episode_steps"]


def test_unsavable_environment_resumes_in_one_way_only(unsavable: str, tmp_path: Path) -> None:
    train(tmp_path, epochs=2, stop_after=ROUNDS_PER_EPOCH + 3, env_id=unsavable)
    content = (tmp_path / "last.ckpt").read_bytes()
    ends = []
    for _ in range(2):
        (tmp_path / "last.ckpt").write_bytes(content)
        train(tmp_path, epochs=2, resume=True, env_id=unsavable)
        ends.append(last_checkpoint(tmp_path))

    first, second = ends
    assert differences(first, second) == []


def test_unsavable_environment_leaves_no_transition_across_the_stop(unsavable: str, tmp_path: Path) -> None:
    train(tmp_path, epochs=1, stop_after=3, env_id=unsavable)
    _, experience = train(tmp_path, epochs=1, resume=True, env_id=unsavable)

    assert experience.collector is not None
    # Each of CartPole's steps moves the cart by its velocity times 0.02 s.
    batch = experience.collector.memory.sample(2_000, n_step=1, gamma=0.99)
    moved = batch.obs[:, 0] + np.float32(0.02) * batch.obs[:, 1]
    np.testing.assert_allclose(batch.next_obs[:, 0], moved, rtol=0, atol=1e-6)
