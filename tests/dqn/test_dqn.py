"""The learning rule against numbers worked by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from batches import Table, batch, random_rounds
from runs import train
from torch import nn

from acro import DQN, Batch, QNetwork, ReplayMemory
from acro.dqn.optimizer import FlatAdam

ONLINE = [[1.0, 2.0], [5.0, 3.0], [0.0, 7.0]]
TARGET = [[10.0, 20.0], [40.0, 60.0], [80.0, 70.0]]


def dqn(**kwargs: object) -> DQN:
    module = DQN(1, 2, network=Table(ONLINE), **kwargs)
    module.target_network.values.data = torch.tensor(TARGET)
    return module


THREE = batch(
    obs=[0, 0, 1], actions=[0, 1, 0], rewards=[-1.0, -1.0, 2.0], next_obs=[1, 2, 0], discounts=[0.5, 0.5, 0.0]
)


def test_plain_target_takes_the_target_networks_maximum() -> None:
    # -1 + 0.5 * max(40, 60); -1 + 0.5 * max(80, 70); terminated: the reward alone
    assert dqn(double=False).td_target(THREE).tolist() == [29.0, 39.0, 2.0]


def test_double_target_values_the_online_networks_choice() -> None:
    # State 1: online prefers action 0 (5 > 3), worth 40; state 2: action 1 (7 > 0), worth 70.
    assert dqn(double=True).td_target(THREE).tolist() == [19.0, 34.0, 2.0]


def test_targets_of_truncated_terminated_and_cut_short_returns() -> None:
    memory = ReplayMemory(8, (1,), num_envs=1)
    # States 0 -> 1 -> 2 truncated; 1 -> 2 terminated; 0 -> 1, the newest.
    memory.push([0.0], 0, 1.0, [1.0], False, False)
    memory.push([1.0], 0, 2.0, [2.0], False, True)
    memory.push([1.0], 1, 4.0, [2.0], True, False)
    memory.push([0.0], 1, 8.0, [1.0], False, False)
    columns = memory.gather(np.arange(4), n_step=3, gamma=0.5).as_tensors()

    # 1 + 0.5 * 2 + 0.25 * 80; 2 + 0.5 * 80; 4; 8 + 0.5 * 60
    assert dqn(double=False).td_target(columns).tolist() == [22.0, 42.0, 4.0, 38.0]


@pytest.mark.parametrize(
    ("loss", "expected"),
    # Errors of target - online: 29 - 1, 39 - 2, 2 - 5
    [("huber", (27.5 + 36.5 + 2.5) / 3), ("mse", (28.0**2 + 37.0**2 + 3.0**2) / 3)],
)
def test_loss(loss: str, expected: float) -> None:
    value, td_errors = dqn(double=False, loss=loss).loss(THREE)

    assert value.item() == pytest.approx(expected)
    assert td_errors.tolist() == [28.0, 37.0, -3.0]


def test_importance_weights_scale_each_transitions_loss() -> None:
    value, _ = dqn(double=False, loss="mse").loss(THREE._replace(weights=torch.tensor([1.0, 0.5, 0.0])))

    assert value.item() == pytest.approx((28.0**2 + 0.5 * 37.0**2) / 3)


def test_gradient_reaches_the_taken_action_of_the_online_network_only() -> None:
    module = dqn(loss="mse", double=False)
    value, _ = module.loss(THREE)
    value.backward()

    # d/dq of the mean of squares: 2 * (q - target) / 3
    expected = torch.tensor([[2 * -28.0 / 3, 2 * -37.0 / 3], [2 * 3.0 / 3, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(module.q_network.values.grad, expected)
    assert module.target_network.values.grad is None
    assert not module.target_network.values.requires_grad


def test_gradient_norm_is_clipped() -> None:
    parameters = [nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([[4.0]]))]
    optimizer = FlatAdam(parameters, lr=0.1)
    (10 * parameters[0] ** 2 / 2 + 10 * parameters[1] ** 2 / 2).sum().backward()
    optimizer.clip_gradient(5.0)

    # The gradient (30, 40) has norm 50.
    assert [parameter.grad.item() for parameter in parameters] == pytest.approx([3.0, 4.0], rel=1e-5)


def rounds(count: int) -> Batch:
    return Batch(*(None if column is None else torch.stack([column] * count) for column in THREE))


def test_hard_target_update_copies_every_n_updates() -> None:
    module = dqn(target_update_every=3)
    module.configure_optimizers()
    targets, onlines = [], []
    for _ in range(4):
        module.update(rounds(1))
        targets.append(module.target_network.values.clone())
        onlines.append(module.q_network.values.detach().clone())

    assert [target.tolist() == TARGET for target in targets] == [True, True, False, False]
    assert torch.equal(targets[2], onlines[2])
    assert torch.equal(targets[3], onlines[2])
    assert not torch.equal(onlines[3], onlines[2])


def test_soft_target_update_takes_its_share() -> None:
    module = dqn(target_update_every=1, tau=0.25)
    module.configure_optimizers()
    module.update(rounds(1))

    expected = 0.75 * torch.tensor(TARGET) + 0.25 * module.q_network.values.detach()
    torch.testing.assert_close(module.target_network.values, expected)


def test_round_of_updates_equals_updates_one_by_one() -> None:
    together, apart = dqn(target_update_every=2), dqn(target_update_every=2)
    together.configure_optimizers()
    together.update(rounds(5))
    apart.configure_optimizers()
    for _ in range(5):
        apart.update(rounds(1))

    assert torch.equal(together.q_network.values, apart.q_network.values)
    assert together.updates == apart.updates == 5


HEADS: dict[str, dict[str, Any]] = {
    "huber": {},
    "mse": {"loss": "mse"},
    "dueling": {"dueling": True},
    "quantiles": {"head": "quantile", "num_quantiles": 5},
    "dueling quantiles": {"head": "quantile", "num_quantiles": 5, "dueling": True},
    "categories": {"head": "categorical", "num_atoms": 11, "v_min": -10.0, "v_max": 10.0},
}


@pytest.mark.parametrize("is_prioritized", [False, True])
@pytest.mark.parametrize("target", [{"double": False}, {"double": True}, {"munchausen_temperature": 0.1}], ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_update_without_autograd_equals_the_one_with_it(
    head: str, target: dict[str, Any], is_prioritized: bool
) -> None:
    modules, td_errors = [], []
    for _ in range(2):
        torch.manual_seed(0)
        modules.append(DQN(4, 3, (8, 8), target_update_every=2, **HEADS[head], **target))
    direct, autograd = modules
    # A subclass may override forward, so it is not taken for acro's own network.
    autograd.q_network.__class__ = type("Subclass", (QNetwork,), {})
    for module in modules:
        module.configure_optimizers()
        td_errors.append(module.update(random_rounds(5, is_prioritized=is_prioritized)))

    torch.testing.assert_close(td_errors[0], td_errors[1])
    for left, right in zip(direct.parameters(), autograd.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_training_under_the_trainer_is_training_outside_of_it(tmp_path: Path) -> None:
    class Rounds(L.Callback):
        def __init__(self) -> None:
            self.batches: list[Batch] = []

        def on_train_batch_start(self, trainer: L.Trainer, module: DQN, batch: Batch, *_: object) -> None:
            if not self.batches:
                self.start = copy.deepcopy(module.state_dict())
            if len(batch.rewards):
                self.batches.append(batch)

    rounds = Rounds()
    module, _ = train(tmp_path, epochs=2, callbacks=(rounds,))
    outside = DQN(6, 3, (16, 16), target_update_every=7)
    outside.load_state_dict(rounds.start)
    outside.configure_optimizers()
    for minibatches in rounds.batches:
        outside.update(minibatches)

    assert outside.updates == module.updates > 50
    for name, value in module.state_dict().items():
        assert not torch.equal(value, rounds.start[name]), name
        assert torch.equal(value, outside.state_dict()[name]), name


def test_stepping_directly_is_stepping() -> None:
    torch.manual_seed(0)
    optimizers = []
    for _ in range(2):
        torch.manual_seed(0)
        optimizers.append(FlatAdam(nn.Linear(5, 3).parameters(), lr=0.1))
    for _ in range(4):
        gradient = torch.randn(18)
        for optimizer, step in zip(optimizers, (torch.optim.Adam.step, FlatAdam.step), strict=True):
            optimizer.flat_grad.copy_(gradient)
            step(optimizer)

    left, right = optimizers
    assert torch.equal(left.flat, right.flat)
    assert left.state_dict()["state"][0]["step"] == right.state_dict()["state"][0]["step"] == 4


def test_flat_adam_steps_like_torchs_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    flat, adam = FlatAdam(ours.parameters(), lr=0.1), torch.optim.Adam(theirs.parameters(), lr=0.1)
    for _ in range(5):
        obs = torch.randn(4, 3)
        for module, optimizer in ((ours, flat), (theirs, adam)):
            optimizer.zero_grad()
            module(obs).square().sum().backward()
            optimizer.step()

    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_learning_rate_falls_linearly_to_its_end() -> None:
    module = dqn(learning_rate=1.0, learning_rate_end=0.2, learning_rate_decay_updates=4)
    configured = module.configure_optimizers()
    rates = []
    for module.updates in range(7):
        configured["optimizer"].step()
        configured["lr_scheduler"].step()
        rates.append(configured["optimizer"].param_groups[0]["lr"])

    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_dueling_values_are_the_state_value_plus_centred_advantages() -> None:
    module = DQN(2, 3, hidden=(), dueling=True)
    (head,) = module.q_network.layers
    head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    head.bias.data.zero_()

    # Value 5; advantages 1, 2, 3 have mean 2.
    assert module(torch.tensor([[5.0, 1.0]])).tolist() == [[4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate=0.0: it must be above 0"),
        ({"target_update_every": 0}, "target_update_every=0: it must be above 0"),
        ({"tau": 1.5}, "tau=1.5: it is a share of the online network, at most 1"),
        ({"loss": "l1"}, "loss='l1': expected one of ['huber', 'mse']"),
        ({"learning_rate_end": 0.1}, "learning_rate_end=0.1 needs learning_rate_decay_updates of at least 1"),
    ],
)
def test_bad_settings_are_errors(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        DQN(2, 2, **kwargs)
    assert str(error.value) == message
