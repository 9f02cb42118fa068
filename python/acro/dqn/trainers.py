"""Checks of the Trainer, its callbacks and the module's hooks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import cast

import lightning as L
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from acro.dqn.optimizer import FlatAdam
from acro.overrides import overridden

# Lightning runs these under manual optimization without a warning, but they have no use there.
_REFUSED_CALLBACKS = {
    StochasticWeightAveraging: "its average is neither evaluated nor saved; EMAWeightAveraging's is both",
    LearningRateFinder: "it reads the loss that training_step returns, and here it returns none; search with Optuna",
    BaseFinetuning: "it adds parameters to the optimizer; freeze and unfreeze them in configure_optimizers of your own",
    BatchSizeFinder: "it looks for what fits in memory, not for what learns; choose data.batch_size yourself",
}

# Networks that follow the one that is trained.
_FOLLOWERS = ("target_network.", "averaged_network.")

# Lightning's hooks within an update.
UPDATE_HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")

# Hooks that Lightning does not call under manual optimization, and what to override instead.
_UNCALLED_HOOKS = {
    "optimizer_step": "learn",
    "optimizer_zero_grad": "learn",
    "on_before_zero_grad": "learn",
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


def check_hooks_were_called(module: L.LightningModule, was_called: Mapping[str, bool]) -> None:
    """Check that a subclass calls `super()` in the hooks that training needs.

    Raises:
        ValueError: It does not.
    """
    for name, called in was_called.items():
        if not called and (name != "on_load_checkpoint" or module.trainer.ckpt_path):
            raise ValueError(f"{type(module).__name__} overrides {name}, which must call super().{name}(...)")


def check_optimizer(module: L.LightningModule, optimizer: Optimizer, *, is_stepped_here: bool) -> None:
    """Warn of parameters that `optimizer` does not have; check that its schedule needs no metric.

    Args:
        module: The module.
        optimizer: Its optimizer.
        is_stepped_here: Whether the module steps the schedulers itself.

    Raises:
        ValueError: A scheduler needs a metric.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    known = set(map(id, optimizer.parameters if isinstance(optimizer, FlatAdam) else trained))
    names = [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in known and not name.startswith(_FOLLOWERS)
    ]
    if names:
        warnings.warn(
            f"the optimizer does not have {', '.join(names)}, which stay as they are unless training_step trains them; "
            "override configure_optimizers",
            stacklevel=2,
        )
    plateaus = any(isinstance(config.scheduler, ReduceLROnPlateau) for config in module.trainer.lr_scheduler_configs)
    if plateaus and is_stepped_here:
        raise ValueError("ReduceLROnPlateau is never given its metric: keep it, and step it in on_validation_epoch_end")


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
        if overridden(callback, L.Callback, ["on_before_zero_grad"]):
            raise ValueError(
                f"{type(callback).__name__} overrides on_before_zero_grad, which is never called: DQN makes its own "
                "updates; use on_before_backward"
            )
        for refused, advice in _REFUSED_CALLBACKS.items():
            if isinstance(callback, refused):
                raise ValueError(f"{refused.__name__} does not work with DQN: {advice}")


def _check_length(trainer: L.Trainer) -> None:
    for name, unset in {"max_steps": -1, "min_steps": None}.items():
        if (value := getattr(trainer, name)) != unset:
            raise ValueError(f"{name}={value} would count rounds: bound the run by {name[:3]}_epochs")
    for name, every in {"overfit_batches": 0.0, "limit_train_batches": 1.0}.items():
        # An integer counts batches: 1 is not 1.0.
        if (value := getattr(trainer, name)) != every or (value and isinstance(value, int)):
            raise ValueError(
                f"{name}={value} would cut epochs short: an epoch is data.steps_per_epoch environment steps"
            )


def find_callback_with_update_hooks(trainer: L.Trainer) -> L.Callback | None:
    """Return a callback of `trainer` with hooks within an update; None if there is none."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # Lightning does not declare it
        if overridden(callback, L.Callback, UPDATE_HOOKS):
            return cast(L.Callback, callback)
    return None
