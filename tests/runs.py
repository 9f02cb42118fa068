"""Small training runs that tests compare."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from differences import differences as differences
from lightning.pytorch.utilities.exceptions import SIGTERMException

from acro import DQN, Experience
from acro.callbacks.checkpointing import SaveLast
from acro.storage.checkpoints import DurableCheckpointIO

SMALL: dict[str, Any] = {
    "num_envs": 4,
    "capacity": 400,
    "batch_size": 16,
    "learning_starts_steps": 64,
    "steps_per_round": 16,
    "steps_per_epoch": 128,
    "epsilon_decay_steps": 300,
    "n_step": 3,
    "n_step_end": 1,
    "n_step_decay_steps": 400,
    "eval_episodes": 3,
    # Episodes end within an epoch, and an untrained agent's evaluation does not take most of the time.
    "env_kwargs": {"max_episode_steps": 60},
}


class StopAfter(L.Callback):
    """Send SIGTERM during round `rounds`, counted over the whole run."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.rounds:
            signal.raise_signal(signal.SIGTERM)


def train(
    folder: Path,
    *,
    epochs: int,
    resume: bool = False,
    stop_after: int | None = None,
    callbacks: tuple[L.Callback, ...] = (),
    env_id: Any = "acro/Acrobot-v1",
    seed: int = 0,
    data: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    kind: type[DQN] = DQN,
    **trainer_kwargs: Any,
) -> tuple[DQN, Experience]:
    """Train a small agent, saving `folder/last.ckpt`; continue from it with `resume`."""
    torch.set_num_threads(1)
    L.seed_everything(seed, verbose=False)
    experience = Experience(env_id, **{"seed": seed, **SMALL, **(data or {})})
    module_kwargs = {"hidden": (16, 16), "target_update_every": 7, **(model or {})}
    module = kind(experience.observation_size, experience.num_actions, **module_kwargs)
    last = folder / "last.ckpt"
    stop = () if stop_after is None else (StopAfter(stop_after),)
    trainer = L.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": epochs,
            "num_sanity_val_steps": 0,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            "plugins": [DurableCheckpointIO()],
            "callbacks": [*stop, *callbacks, SaveLast(last)],
            **trainer_kwargs,
        }
    )
    try:
        trainer.fit(module, experience, ckpt_path=last if resume else None, weights_only=True)
    except SIGTERMException:
        assert stop_after is not None
    return module, experience


def last_checkpoint(folder: Path) -> dict[str, Any]:
    """Return all of `last.ckpt`."""
    checkpoint: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return checkpoint
