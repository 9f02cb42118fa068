"""What a subclass or a callback brings runs, or is refused in a sentence: nothing is left out without a word."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from batches import random_rounds
from runs import SMALL
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from acro import DQN, Batch, Experience


def fit(module: DQN, *callbacks: L.Callback, epochs: int = 1, ckpt_path: Path | None = None, **trainer: Any) -> DQN:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    made = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        callbacks=list(callbacks),
        **{**quiet, **trainer},
    )
    made.fit(module, Experience("CartPole-v1", **SMALL), ckpt_path=ckpt_path, weights_only=True)
    return module


def make(kind: type[DQN] = DQN, **settings: Any) -> DQN:
    return kind(4, 2, hidden=(16,), **settings)


def weights(module: DQN) -> Tensor:
    return nn.utils.parameters_to_vector(module.q_network.parameters()).detach().clone()


# ---- gradients


class Clamped(DQN):
    def clip(self) -> None:
        for parameter in self.q_network.parameters():
            assert parameter.grad is not None
            parameter.grad.clamp_(-0.01, 0.01)


class ClampedByAssignment(DQN):
    def clip(self) -> None:
        for parameter in self.q_network.parameters():
            assert parameter.grad is not None
            parameter.grad = parameter.grad.clamp(-0.01, 0.01)


class Halved(DQN):
    def on_after_backward(self) -> None:
        for parameter in self.q_network.parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(0.5)


class HalvedByAssignment(DQN):
    def on_after_backward(self) -> None:
        for parameter in self.q_network.parameters():
            assert parameter.grad is not None
            parameter.grad = parameter.grad * 0.5


@pytest.mark.parametrize(("in_place", "assigned"), [(Clamped, ClampedByAssignment), (Halved, HalvedByAssignment)])
def test_assigned_gradients_are_those_that_learn(in_place: type[DQN], assigned: type[DQN]) -> None:
    expected, found = weights(fit(make(in_place))), weights(fit(make(assigned)))

    assert found.equal(expected)
    assert not found.equal(weights(fit(make())))


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_layer_that_is_frozen_between_rounds_stays(backend: Any) -> None:
    module = make(backend=backend)
    module.configure_optimizers()
    module.learn(random_rounds(5)._replace(obs=torch.randn(5, 16, 4), actions=torch.ones(5, 16, dtype=torch.long)))
    layer = next(module.q_network.children())[0]  # type: ignore[index] # the layers
    layer.requires_grad_(False)
    frozen, others = layer.weight.clone(), weights(module)

    module.learn(random_rounds(5)._replace(actions=torch.ones(5, 16, dtype=torch.long)))

    assert layer.weight.equal(frozen)
    assert not weights(module).equal(others)


def test_hook_that_is_set_on_the_instance_is_called() -> None:
    module = make()
    calls: list[int] = []
    module.on_after_backward = lambda: calls.append(module.updates)  # type: ignore[method-assign]

    fit(module)

    # Once a round.
    assert len(calls) == (SMALL["steps_per_epoch"] - SMALL["learning_starts_steps"]) // SMALL["steps_per_round"]


# ---- the learning rate


class SetRate(L.Callback):
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 0.0


def test_learning_rate_that_a_callback_sets_stays() -> None:
    module = make()
    assert weights(module).equal(weights(fit(module, SetRate())))


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-5}, 1e-5),
        # A hundred updates of a thousand: a tenth of the way.
        (
            {"learning_rate": 1e-3, "learning_rate_end": 1e-5, "learning_rate_decay_updates": 1000},
            {"learning_rate": 1e-4, "learning_rate_end": 1e-5, "learning_rate_decay_updates": 1000},
            None,
        ),
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-3}, 1e-3),
    ],
)
def test_resumed_run_has_the_learning_rate_that_is_given(
    first: dict[str, Any], then: dict[str, Any], expected: float | None, tmp_path: Path
) -> None:
    class Save(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "last.ckpt")

    fit(make(**first), Save())
    module = fit(make(**then), epochs=2, ckpt_path=tmp_path / "last.ckpt")

    if expected is None:
        expected = then["learning_rate"] + (then["learning_rate_end"] - then["learning_rate"]) * module.updates / 1000
    assert module.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_scheduler_steps_at_epochs_as_lightning_has_it() -> None:
    class Own(DQN):
        def configure_optimizers(self) -> Any:
            optimizer = Adam(self.q_network.parameters(), lr=1.0e-3)
            return [optimizer], [StepLR(optimizer, 1, 0.5)]

    # Before the second and the third epoch.
    assert fit(make(Own), epochs=3).optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-4)


class OnPlateau(DQN):
    def configure_optimizers(self) -> Any:
        optimizer = Adam(self.q_network.parameters())
        return {"optimizer": optimizer, "lr_scheduler": ReduceLROnPlateau(optimizer)}


# ---- what is refused


class ReturnsLoss(DQN):
    def training_step(self, batch: Batch, batch_idx: int = 0) -> Any:
        return sum(self.loss(minibatch)[0] for minibatch in batch.unbind()) if len(batch.rewards) else None


class Auxiliary(DQN):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auxiliary = nn.Linear(4, 1)


class OwnSetup(DQN):
    def setup(self, stage: str) -> None:
        pass


class OwnZeroGrad(DQN):
    def on_before_zero_grad(self, optimizer: Any) -> None:
        pass


class OwnStart(DQN):
    def on_train_start(self) -> None:
        pass


class OwnCallbacks(DQN):
    def configure_callbacks(self) -> Any:
        return []


@pytest.mark.parametrize(
    ("kind", "trainer", "message"),
    [
        (ReturnsLoss, {}, "ReturnsLoss.training_step returned a loss, which is not used"),
        (OwnSetup, {}, r"OwnSetup overrides setup, which must call super\(\).setup"),
        (OwnStart, {}, r"OwnStart overrides on_train_start, which must call super\(\).on_train_start"),
        (OwnZeroGrad, {}, "OwnZeroGrad overrides on_before_zero_grad, which is never called"),
        (OwnCallbacks, {"limit_train_batches": 1}, "limit_train_batches=1 would cut epochs short"),
        (OnPlateau, {}, "ReduceLROnPlateau is never given its metric"),
    ],
)
def test_what_would_be_left_out_is_refused(kind: type[DQN], trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(make(kind), **trainer)


def test_parameters_that_no_optimizer_has_are_named() -> None:
    with pytest.warns(UserWarning, match=r"the optimizer does not have auxiliary.weight, auxiliary.bias, which stay"):
        fit(make(Auxiliary))


class Replace(L.Callback):
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, DQN)
        if trainer.current_epoch == 1:
            network: Any = pl_module.q_network
            network.layers[-1] = nn.Linear(16, 2)


def test_layer_that_is_replaced_while_training_is_named() -> None:
    with pytest.warns(UserWarning, match=r"the optimizer does not have q_network.layers.1.weight"):
        fit(make(), Replace(), epochs=2)


class Returns(DQN):
    def training_step(self, batch: Batch, batch_idx: int = 0) -> Any:
        super().training_step(batch)
        return {"updates": self.updates}


class ReturnsAfterLearning(DQN):
    def training_step(self, batch: Batch, batch_idx: int = 0) -> Any:
        return self.learn(batch).square().mean() if len(batch.rewards) else None


@pytest.mark.parametrize("kind", [Returns, ReturnsAfterLearning])
def test_step_that_makes_updates_may_return_what_it_likes(kind: type[DQN]) -> None:
    assert fit(make(kind)).updates > 0


class Hooked(L.Callback):
    """Watch a layer in the second epoch."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, DQN)
        if trainer.current_epoch == 1:
            self.handle = pl_module.q_network.register_forward_hook(lambda *_: None)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.handle.remove()


def test_run_that_was_watched_for_an_epoch_resumes_to_the_bit(tmp_path: Path) -> None:
    class Save(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "last.ckpt")

    straight = fit(make(), Hooked(), epochs=4)
    fit(make(), Hooked(), Save(), epochs=2)
    resumed = fit(make(), Hooked(), epochs=4, ckpt_path=tmp_path / "last.ckpt")

    assert weights(resumed).equal(weights(straight))


def test_evaluation_before_training_leaves_weights_that_can_be_trained() -> None:
    module = make()
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    experience = Experience("CartPole-v1", **SMALL)
    trainer.validate(module, experience, verbose=False)
    before = weights(module)

    trainer.fit(module, experience)

    assert not weights(module).equal(before)


def test_trained_module_is_pickled() -> None:
    module = fit(make(learning_rate_end=1e-4, learning_rate_decay_updates=100))
    module.trainer = None

    assert weights(pickle.loads(pickle.dumps(module))).equal(weights(module))


class ZeroGradCallback(L.Callback):
    def on_before_zero_grad(self, *_: Any) -> None:
        pass


def test_callback_that_would_not_be_called_is_refused() -> None:
    with pytest.raises(ValueError, match="ZeroGradCallback overrides on_before_zero_grad, which is never called"):
        fit(make(), ZeroGradCallback())


class OwnLoad(DQN):
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        pass


class OwnSave(DQN):
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize(
    ("saved", "loaded", "message"),
    [
        (DQN, OwnLoad, r"OwnLoad overrides on_load_checkpoint, which must call super\(\)"),
        (OwnSave, DQN, r"a subclass's on_save_checkpoint must call super\(\).on_save_checkpoint"),
    ],
)
def test_checkpoint_without_acros_counters_is_not_continued(
    saved: type[DQN], loaded: type[DQN], message: str, tmp_path: Path
) -> None:
    class Save(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "last.ckpt")

    fit(make(saved), Save())
    with pytest.raises(ValueError, match=message):
        fit(make(loaded), epochs=2, ckpt_path=tmp_path / "last.ckpt")
