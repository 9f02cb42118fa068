"""Whatever a subclass, a callback or an argument brings of its own is what runs, with the default network too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging
from runs import SMALL
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import StepLR

from acro import DQN, Batch, Experience, QNetwork
from acro.dqn.heads import ValueHead
from acro.fit import main as acro_fit

ROUNDS_AN_EPOCH = SMALL["steps_per_epoch"] // SMALL["steps_per_round"]
# The memory learns nothing in the first 64 steps.
LEARNING_ROUNDS = ROUNDS_AN_EPOCH - SMALL["learning_starts_steps"] // SMALL["steps_per_round"]
UPDATES_A_ROUND = SMALL["steps_per_round"] // 2


def fit(module: DQN, *callbacks: L.Callback, folder: Path | None = None, **data: Any) -> DQN:
    """Train `module` for an epoch of CartPole under a real Trainer; save `folder/own.ckpt`."""
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, Experience("CartPole-v1", **{**SMALL, **data}))
    if folder is not None:
        trainer.save_checkpoint(folder / "own.ckpt")
    assert module.updates == LEARNING_ROUNDS * UPDATES_A_ROUND
    return module


def make(kind: type[DQN] = DQN, **settings: Any) -> DQN:
    return kind(4, 2, hidden=(16,), target_update_every=7, **settings)


def layers(network: nn.Module) -> Any:
    assert isinstance(network, QNetwork)
    return network.layers


def weights(module: DQN) -> Tensor:
    flat: Tensor = nn.utils.parameters_to_vector(module.q_network.parameters())
    return flat.detach().clone()


def linear(kind: type[DQN], **settings: Any) -> DQN:
    """Return a module whose value of action 0 is obs, and of action 1 twice as much."""
    module = kind(1, 2, hidden=(), max_grad_norm=None, **settings)
    for network in (module.q_network, module.target_network):
        network.load_state_dict({"layers.0.weight": torch.tensor([[1.0], [2.0]]), "layers.0.bias": torch.zeros(2)})
    return module


# Of `linear`: the value is 2 and the target 3 + 0.5 * 2 = 4.
ONE = Batch(
    obs=torch.tensor([[[1.0]]]),
    actions=torch.tensor([[1]]),
    rewards=torch.tensor([[3.0]]),
    next_obs=torch.tensor([[[1.0]]]),
    discounts=torch.tensor([[0.5]]),
    terminated=torch.tensor([[False]]),
    indices=torch.tensor([[0]]),
    weights=None,
)


class Counting(DQN):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.calls = 0


class FourthPower(Counting):
    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.calls += 1
        values = self.q_network(batch.obs).gather(1, batch.actions.unsqueeze(1)).squeeze(1)
        errors = self.td_target(batch) - values
        return torch.mean(errors**4), errors.detach()


class RewardsAlone(Counting):
    def td_target(self, batch: Batch) -> Tensor:
        self.calls += 1
        rewards: Tensor = batch.rewards
        return rewards


class SameLoss(Counting):
    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return super().loss(batch)


class SameTarget(Counting):
    def td_target(self, batch: Batch) -> Tensor:
        self.calls += 1
        return super().td_target(batch)


class SameFollow(Counting):
    def follow(self) -> None:
        self.calls += 1
        super().follow()


class SameClip(Counting):
    def clip(self) -> None:
        self.calls += 1
        super().clip()


# ---- methods


@pytest.mark.parametrize("kind", [FourthPower, RewardsAlone, SameLoss, SameTarget, SameFollow, SameClip])
def test_overridden_part_of_an_update_runs_in_each(kind: type[Counting]) -> None:
    module = fit(make(kind))

    assert isinstance(module, kind)
    assert module.calls == module.updates


def test_own_loss_makes_the_step_that_a_hand_works_out() -> None:
    module = linear(FourthPower, optimizer=lambda parameters: SGD(parameters, lr=0.01))
    module.configure_optimizers()

    td_errors = module.learn(ONE)

    assert td_errors.tolist() == [[2.0]]
    # The derivative of (4 - w)**4 at w = 2 is -4 * 2**3 = -32.
    assert layers(module.q_network)[0].weight.flatten().tolist() == pytest.approx([1.0, 2.32])


def test_own_target_makes_the_step_that_a_hand_works_out() -> None:
    module = linear(RewardsAlone, loss="mse", optimizer=lambda parameters: SGD(parameters, lr=0.01))
    module.configure_optimizers()

    td_errors = module.learn(ONE)

    assert td_errors.tolist() == [[1.0]]
    # The derivative of (3 - w)**2 at w = 2 is -2.
    assert layers(module.q_network)[0].weight.flatten().tolist() == pytest.approx([1.0, 2.02])


@pytest.mark.parametrize("kind", [SameLoss, SameTarget, SameFollow])
def test_part_that_is_overridden_with_the_same_learns_the_same_to_the_bit(kind: type[Counting]) -> None:
    assert weights(fit(make(kind))).equal(weights(fit(make(backend="torch"))))


def test_method_that_is_replaced_on_the_instance_runs() -> None:
    module, calls = make(), []
    module.td_target = lambda batch: calls.append(1) or batch.rewards  # type: ignore[method-assign, func-returns-value]

    fit(module)

    assert len(calls) == module.updates


def test_overridden_forward_decides_how_it_acts() -> None:
    class Contrary(Counting):
        def forward(self, obs: Tensor) -> Tensor:
            self.calls += 1
            return -super().forward(obs)

    obs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0)).numpy()

    assert (make(Contrary).greedy_actions(obs) == 1 - make().greedy_actions(obs)).all()
    module = fit(make(Contrary))
    assert isinstance(module, Contrary)
    assert module.calls > LEARNING_ROUNDS


def test_forward_that_is_replaced_or_watched_on_the_instance_acts() -> None:
    obs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0)).numpy()
    module, seen = make(), []
    plain = module.greedy_actions(obs)
    module.register_forward_hook(lambda *_: seen.append(1))
    module.greedy_actions(obs)
    assert seen == [1]

    forward = module.forward
    module.forward = lambda obs: -forward(obs)  # type: ignore[method-assign]
    assert (module.greedy_actions(obs) == 1 - plain).all()


@pytest.mark.parametrize(
    ("hook", "instead"),
    [
        ("optimizer_step", "learn"),
        ("optimizer_zero_grad", "learn"),
        ("configure_gradient_clipping", "clip"),
        ("lr_scheduler_step", "training_step"),
    ],
)
def test_hook_that_lightning_would_not_call_is_refused(hook: str, instead: str) -> None:
    own = type("Own", (DQN,), {hook: lambda *_: None})

    with pytest.raises(ValueError, match=f"Own overrides {hook}, which is never called: .*; override {instead}"):
        fit(make(own))


def test_overridden_training_step_runs_once_a_round() -> None:
    class Halves(Counting):
        def training_step(self, batch: Batch, batch_idx: int = 0) -> None:
            self.calls += len(batch.rewards) > 0
            super().training_step(batch, batch_idx)

    module = fit(make(Halves))

    assert isinstance(module, Halves)
    assert module.calls == LEARNING_ROUNDS
    torch.testing.assert_close(weights(module), weights(fit(make())))


def test_training_step_of_ones_own_makes_the_updates() -> None:
    class Own(DQN):
        def training_step(self, batch: Batch, batch_idx: int = 0) -> None:
            optimizer = self.optimizers()
            for minibatch in batch.unbind():
                loss, _ = self.loss(minibatch)
                optimizer.zero_grad()  # type: ignore[union-attr]
                self.manual_backward(loss)
                self.clip()
                optimizer.step()  # type: ignore[union-attr]
                self.follow()

    assert weights(fit(make(Own))).equal(weights(fit(make(backend="torch"))))


# ---- optimizers


@pytest.mark.parametrize(
    ("interval", "halvings"), [(None, 0), ("step", LEARNING_ROUNDS // 2), ("epoch", 0)], ids=["none", "step", "epoch"]
)
def test_optimizer_of_a_subclass_makes_the_steps(interval: str | None, halvings: int) -> None:
    made: list[AdamW] = []

    class Own(DQN):
        def configure_optimizers(self) -> Any:
            made.append(AdamW(self.q_network.parameters(), lr=1e-3, weight_decay=0.1))
            if interval is None:
                return made[0]
            halve = StepLR(made[0], step_size=1, gamma=0.5)
            return {"optimizer": made[0], "lr_scheduler": {"scheduler": halve, "interval": interval, "frequency": 2}}

    module = fit(make(Own))

    (optimizer,) = made
    assert module.optimizer is optimizer
    assert {int(state["step"]) for state in optimizer.state.values()} == {module.updates}
    # A scheduler's step is a round.
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.5**halvings)


def test_optimizer_that_is_given_takes_the_step_that_a_hand_works_out() -> None:
    module = linear(DQN, loss="mse", optimizer=lambda parameters: SGD(parameters, lr=0.01, weight_decay=1.0))
    module.configure_optimizers()

    module.learn(ONE)

    # The derivative of (4 - w)**2 at w = 2 is -4; decay adds the weight itself, 1 and 2, to it.
    assert layers(module.q_network)[0].weight.flatten().tolist() == pytest.approx([0.99, 2.02])


def test_torchs_adam_that_is_given_learns_what_acros_does() -> None:
    own = fit(make(optimizer=lambda parameters: Adam(parameters, lr=1e-3)))

    torch.testing.assert_close(weights(own), weights(fit(make(backend="torch"))), rtol=1e-4, atol=1e-6)


def test_optimizer_that_is_given_is_saved(tmp_path: Path) -> None:
    module = fit(make(optimizer=lambda parameters: AdamW(parameters, lr=1e-3)), folder=tmp_path)

    checkpoint = torch.load(tmp_path / "own.ckpt", weights_only=True)
    (state,) = checkpoint["optimizer_states"]
    assert {int(of_parameter["step"]) for of_parameter in state["state"].values()} == {module.updates}


# ---- heads


class Squashed(ValueHead):
    """Values of squared returns, as an example of a head."""

    def target(self, rewards: Tensor, discounts: Tensor, next_returns: Tensor) -> Tensor:
        return torch.tanh(super().target(rewards, discounts, next_returns))


def test_head_of_ones_own_makes_the_target_and_the_loss() -> None:
    module = linear(DQN, head=Squashed(), optimizer=lambda parameters: SGD(parameters, lr=0.01))

    loss, td_error = module.loss(ONE.unbind()[0])

    target = torch.tanh(torch.tensor(4.0))
    assert loss.item() == pytest.approx(F.smooth_l1_loss(torch.tensor(2.0), target).item())
    assert td_error.tolist() == pytest.approx([target.item() - 2.0])


def test_head_of_ones_own_is_given_again_to_load(tmp_path: Path) -> None:
    module = fit(make(head=Squashed()), folder=tmp_path)

    loaded = DQN.load_from_checkpoint(tmp_path / "own.ckpt", head=Squashed())

    assert weights(loaded).equal(weights(module))
    assert isinstance(loaded.head, Squashed)
    with pytest.raises(
        ValueError, match=r"trained with the head Squashed, here it is ValueHead; give head=Squashed\(\.\.\.\)"
    ):
        DQN.load_from_checkpoint(tmp_path / "own.ckpt")


class Contrary(ValueHead):
    """The smaller the value, the better."""

    def means(self, returns: Tensor) -> Tensor:
        return -returns


@pytest.mark.parametrize(
    "settings",
    [
        {"head": Contrary()},
        {"head": "categorical", "v_min": -10.0, "v_max": 10.0},
        {"head": "quantile"},
        {"head": "quantile", "dueling": True},
    ],
)
def test_greedy_actions_have_the_largest_value_of_the_head(settings: dict[str, Any]) -> None:
    obs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    module = make(**settings)

    with torch.no_grad():
        assert module.greedy_actions(obs.numpy()).tolist() == module(obs).argmax(dim=1).tolist()


# ---- callbacks and the network's own changes


def test_callback_sees_gradients_once_a_round() -> None:
    class Gradients(L.Callback):
        def __init__(self) -> None:
            self.norms: dict[str, list[float]] = {"backward": [], "step": []}

        def _add(self, name: str, module: L.LightningModule) -> None:
            assert isinstance(module, DQN)
            gradients = [parameter.grad for parameter in module.q_network.parameters() if parameter.grad is not None]
            self.norms[name].append(float(nn.utils.get_total_norm(gradients)))

        def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self._add("backward", pl_module)

        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
            self._add("step", pl_module)

    callback = Gradients()
    fit(make(max_grad_norm=1e-3), callback)

    assert len(callback.norms["backward"]) == len(callback.norms["step"]) == LEARNING_ROUNDS
    assert min(callback.norms["backward"]) > 1e-3
    assert callback.norms["step"] == pytest.approx([1e-3] * LEARNING_ROUNDS, rel=1e-3)


def test_averaged_weights_of_a_callback_leave_training_as_it_is() -> None:
    assert weights(fit(make(SameLoss), EMAWeightAveraging(decay=0.9))).isfinite().all()


def hook(module: DQN) -> None:
    layers(module.q_network)[0].register_forward_hook(lambda *_: None)


def freeze(module: DQN) -> None:
    layers(module.q_network)[0].requires_grad_(False)


def replace_by_another_kind(module: DQN) -> None:
    for network in (module.q_network, module.target_network):
        layers(network)[0] = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.0))


def replace_by_another_width(module: DQN) -> None:
    for network in (module.q_network, module.target_network):
        layers(network)[0], layers(network)[1] = nn.Linear(4, 5), nn.Linear(5, 2)


def replace_by_one_without_bias(module: DQN) -> None:
    for network in (module.q_network, module.target_network):
        layers(network)[0] = nn.Linear(4, 16, bias=False)


CHANGES = [hook, freeze, replace_by_another_kind, replace_by_another_width, replace_by_one_without_bias]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_network_is_trained_by_torch(change: Any) -> None:
    module = make()
    change(module)
    before = weights(module)

    fit(module)

    assert module.update_backend is None
    assert not weights(module).equal(before)


def test_frozen_parameters_stay() -> None:
    module = make()
    freeze(module)
    frozen = layers(module.q_network)[0].weight.clone()

    assert layers(fit(module).q_network)[0].weight.equal(frozen)


@pytest.mark.parametrize("change", CHANGES)
def test_changed_network_with_the_rust_back_end_is_an_error(change: Any) -> None:
    module = make(backend="rust")
    change(module)

    with pytest.raises(ValueError, match=r"backend='rust' cannot be used: .*; use backend='auto' or 'torch'"):
        fit(module)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (SameLoss, {}, "SameLoss overrides loss"),
        (RewardsAlone, {}, "RewardsAlone overrides td_target"),
        (DQN, {"optimizer": SGD}, "optimizer is given"),
        (DQN, {"head": Squashed()}, "the head is a Squashed"),
    ],
)
def test_rust_back_end_beside_something_of_ones_own_is_an_error(
    kind: type[DQN], settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"backend='rust' cannot be used: {reason}"):
        make(kind, backend="rust", **settings)


# ---- the command line


def test_optimizer_by_its_class_path_is_kept_and_resumes(tmp_path: Path) -> None:
    small = ["--gif=false", f"--trainer.default_root_dir={tmp_path}", "--data.env_id=CartPole-v1"]
    small += [f"--data.{name}={value}" for name, value in SMALL.items() if name != "env_kwargs"]
    optimizer = ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.weight_decay=0.25"]
    assert acro_fit([*small, *optimizer, "--trainer.max_epochs=1"]) == 0
    run = tmp_path / "CartPole-v1" / "version_0"
    last = run / "checkpoints" / "last.ckpt"
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["optimizer"]["class_path"] == "torch.optim.AdamW"

    assert acro_fit([f"--ckpt_path={last}", "--trainer.max_epochs=2"]) == 0

    checkpoint = torch.load(last, weights_only=True)
    (state,) = checkpoint["optimizer_states"]
    assert state["param_groups"][0]["weight_decay"] == 0.25
    assert {int(of_parameter["step"]) for of_parameter in state["state"].values()} == {checkpoint["dqn"]["updates"]}
