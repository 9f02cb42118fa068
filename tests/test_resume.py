"""A run that stopped and resumed ends as one that never stopped, to the bit."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from runs import SMALL, differences, last_checkpoint, train

EPOCHS = 3
STEPS_PER_ROUND = SMALL["steps_per_round"]
ROUNDS_PER_EPOCH = SMALL["steps_per_epoch"] // STEPS_PER_ROUND

VARIANTS = {
    "plain": {},
    "prioritized": {"data": {"prioritized": True}},
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
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_run_ends_like_an_uninterrupted_one(variant: str, tmp_path: Path) -> None:
    settings = VARIANTS[variant]
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
