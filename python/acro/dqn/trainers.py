"""Checks of the Trainer, its callbacks and the module's hooks."""

from __future__ import annotations

from typing import cast

import lightning as L
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.strategies import SingleDeviceStrategy

from acro.overrides import overridden

# Lightning runs these under manual optimization without a warning, but they have no use there.
_REFUSED_CALLBACKS = {
    StochasticWeightAveraging: "its average is neither evaluated nor saved; EMAWeightAveraging's is both",
    LearningRateFinder: "it reads the loss that training_step returns, and here it returns none; search with Optuna",
    BatchSizeFinder: "it looks for what fits in memory, not for what learns; choose data.batch_size yourself",
}

# Lightning's hooks within an update.
UPDATE_HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad")

# Hooks that Lightning does not call under manual optimization, and what to override instead.
_UNCALLED_HOOKS = {
    "optimizer_step": "learn",
    "optimizer_zero_grad": "learn",
    "configure_gradient_clipping": "clip",
    "lr_scheduler_step": "training_step",
}


def check_hooks(module: L.LightningModule) -> None:
    """Check that `module` overrides no hook that would never be called.

    Raises:
        ValueError: It does.
    """
    for name in overridden(module, L.LightningModule, _UNCALLED_HOOKS):
        raise ValueError(
            f"{type(module).__name__} overrides {name}, which is never called: DQN makes its own updates; "
            f"override {_UNCALLED_HOOKS[name]}"
        )


def check_trainer(trainer: L.Trainer) -> None:
    """Check that `trainer` uses one process, one device and 32-bit numbers, and has nothing to do with updates.

    Raises:
        ValueError: It does not.
    """
    if trainer.world_size != 1:
        raise ValueError(f"acro trains on one device, this Trainer has {trainer.world_size}: use devices=1")
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        raise ValueError(
            f"acro trains in one process, this Trainer has a {type(trainer.strategy).__name__}: leave strategy out"
        )
    if trainer.precision != "32-true":
        raise ValueError(f"acro trains in 32-bit, this Trainer has precision {trainer.precision!r}: leave it out")
    if trainer.gradient_clip_val is not None:
        raise ValueError("gradient_clip_val does not reach a DQN, which makes its own updates: use model.max_grad_norm")
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"accumulate_grad_batches={trainer.accumulate_grad_batches} does not work with DQN, which makes its own "
            "updates: use a larger data.batch_size; gradients are clipped by model.max_grad_norm"
        )
    if not trainer.fast_dev_run:  # type: ignore[attr-defined] # Lightning does not declare it
        _check_length(trainer)
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # Lightning does not declare it
        for refused, advice in _REFUSED_CALLBACKS.items():
            if isinstance(callback, refused):
                raise ValueError(f"{refused.__name__} does not work with DQN: {advice}")


def _check_length(trainer: L.Trainer) -> None:
    for name, unset in {"max_steps": -1, "min_steps": None}.items():
        if (value := getattr(trainer, name)) != unset:
            raise ValueError(f"{name}={value} would count rounds: bound the run by {name[:3]}_epochs")
    for name, every in {"overfit_batches": 0.0, "limit_train_batches": 1.0}.items():
        if (value := getattr(trainer, name)) != every:
            raise ValueError(
                f"{name}={value} would cut epochs short: an epoch is data.steps_per_epoch environment steps"
            )


def find_callback_with_update_hooks(trainer: L.Trainer) -> L.Callback | None:
    """Return a callback of `trainer` with hooks within an update; None if there is none."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # Lightning does not declare it
        if overridden(callback, L.Callback, UPDATE_HOOKS):
            return cast(L.Callback, callback)
    return None
