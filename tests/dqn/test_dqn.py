"""The learning rule against numbers worked by hand."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from batches import Table, batch, gradient_of, linear_of, random_rounds, table_of
from runs import train
from torch import nn

from acro import DQN, Batch, ReplayMemory, evaluate
from acro.dqn.optimizer import FlatAdam

ONLINE = [[1.0, 2.0], [5.0, 3.0], [0.0, 7.0]]
TARGET = [[10.0, 20.0], [40.0, 60.0], [80.0, 70.0]]


def dqn(**kwargs: Any) -> DQN:
    module = DQN(1, 2, network=Table(ONLINE), **kwargs)
    table_of(module.target_network).data = torch.tensor(TARGET)
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
    torch.autograd.backward(value)

    # d/dq of the mean of squares: 2 * (q - target) / 3
    expected = torch.tensor([[2 * -28.0 / 3, 2 * -37.0 / 3], [2 * 3.0 / 3, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(gradient_of(table_of(module.q_network)), expected)
    assert table_of(module.target_network).grad is None
    assert not table_of(module.target_network).requires_grad


def test_gradient_norm_is_clipped() -> None:
    module = dqn(max_grad_norm=5.0)
    module.configure_optimizers()
    gradient = gradient_of(table_of(module.q_network))
    gradient.copy_(torch.tensor([[30.0, 0.0], [0.0, 40.0], [0.0, 0.0]]))  # of norm 50
    module.clip()

    expected = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(gradient_of(table_of(module.q_network)), expected, rtol=1e-5, atol=0.0)


def rounds(count: int) -> Batch:
    return Batch(*(None if column is None else torch.stack([column] * count) for column in THREE))


def test_hard_target_update_copies_every_n_updates() -> None:
    module = dqn(target_update_every=3)
    module.configure_optimizers()
    targets, onlines = [], []
    for _ in range(4):
        module.learn(rounds(1))
        targets.append(table_of(module.target_network).clone())
        onlines.append(table_of(module.q_network).detach().clone())

    assert [target.tolist() == TARGET for target in targets] == [True, True, False, False]
    assert torch.equal(targets[2], onlines[2])
    assert torch.equal(targets[3], onlines[2])
    assert not torch.equal(onlines[3], onlines[2])


def test_soft_target_update_takes_its_share() -> None:
    module = dqn(target_update_every=1, tau=0.25)
    module.configure_optimizers()
    module.learn(rounds(1))

    expected = 0.75 * torch.tensor(TARGET) + 0.25 * table_of(module.q_network).detach()
    torch.testing.assert_close(table_of(module.target_network), expected)


def test_round_of_updates_equals_updates_one_by_one() -> None:
    together, apart = dqn(target_update_every=2), dqn(target_update_every=2)
    together.configure_optimizers()
    together.learn(rounds(5))
    apart.configure_optimizers()
    for _ in range(5):
        apart.learn(rounds(1))

    assert torch.equal(table_of(together.q_network), table_of(apart.q_network))
    assert together.updates == apart.updates == 5


RULES: dict[str, dict[str, Any]] = {
    "huber": {},
    "mse": {"loss": "mse", "double": False},
    "dueling": {"dueling": True, "average_updates": 7},
    "layer normalisation": {"layer_norm": True, "tau": 0.1, "target_update_every": 1},
    "quantiles": {"head": "quantile", "num_quantiles": 5, "double": False},
    "dueling quantiles": {"head": "quantile", "num_quantiles": 5, "dueling": True, "max_grad_norm": None},
}


@pytest.mark.parametrize("is_prioritized", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_rust_learns_what_torch_does(rule: str, is_prioritized: bool) -> None:
    modules, td_errors = [], []
    for backend in ("rust", "torch"):
        torch.manual_seed(0)
        settings = {"target_update_every": 2, **RULES[rule]}
        modules.append(DQN(4, 3, (8, 8), backend=backend, **settings))
        modules[-1].configure_optimizers()
        td_errors.append([modules[-1].learn(random_rounds(5, is_prioritized=is_prioritized)) for _ in range(3)])

    for left, right in zip(*td_errors, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    for left, right in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_weight_decay_that_is_set_later_is_heeded() -> None:
    modules = [DQN(4, 3, (8, 8), backend=backend) for backend in ("auto", "torch")]
    for module in modules:
        module.configure_optimizers()
        module.optimizer.param_groups[0]["weight_decay"] = 0.1
        module.learn(random_rounds(3))

    for left, right in zip(*(module.parameters() for module in modules), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("rule", RULES)
def test_rust_acts_as_torch_does(rule: str) -> None:
    torch.manual_seed(0)
    module = DQN(4, 3, (8, 8), **RULES[rule])
    if module.averaged_network is not None:
        linear_of(module.averaged_network, 0).weight.add_(0.1)
    obs = torch.randn(200, 4)
    for is_training in (True, False):
        module.train(is_training)
        expected = module(obs).argmax(dim=1).numpy()
        assert np.array_equal(module.greedy_actions(obs.numpy()), expected)
    assert module.act(obs[0].numpy()) == expected[0]
    assert np.array_equal(module.act(obs.numpy()), expected)


@pytest.mark.parametrize("settings", [{"average_updates": 50}, {"noisy": True}])
def test_policy_acts_alike_while_training_and_after(settings: dict[str, Any]) -> None:
    module = DQN(4, 2, (8, 8), **settings)
    module.configure_optimizers()
    module.learn(random_rounds(3)._replace(actions=torch.zeros(3, 16, dtype=torch.int64)))
    module.q_network.train(mode=False)
    modes = [part.training for part in module.modules()]
    obs = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    before = module.act(obs), evaluate(module, "CartPole-v1", 3).returns

    assert [part.training for part in module.modules()] == modes
    module.eval()
    assert np.array_equal(before[0], module.act(obs))
    assert np.array_equal(before[1], evaluate(module, "CartPole-v1", 3).returns)


def test_seed_may_be_any_whole_number() -> None:
    for left, right in zip(DQN(4, 2, seed=3).parameters(), DQN(4, 2, seed=np.int64(3)).parameters(), strict=True):
        assert torch.equal(left, right)


def test_copy_of_a_module_that_was_trained_is_the_module_alone(tmp_path: Path) -> None:
    module, _ = train(tmp_path, epochs=1)
    assert module.trainer is not None

    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with pytest.raises(RuntimeError, match="not attached to a `Trainer`"):
            _ = other.trainer
        for left, right in zip(other.parameters(), module.parameters(), strict=True):
            assert torch.equal(left, right)


def test_training_under_the_trainer_is_training_outside_of_it(tmp_path: Path) -> None:
    class Rounds(L.Callback):
        def __init__(self) -> None:
            self.batches: list[Batch] = []

        def on_train_batch_start(
            self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
        ) -> None:
            if not self.batches:
                self.start = copy.deepcopy(pl_module.state_dict())
            if len(batch.rewards):
                self.batches.append(batch)

    rounds = Rounds()
    module, _ = train(tmp_path, epochs=2, callbacks=(rounds,))
    outside = DQN(6, 3, (16, 16), target_update_every=7)
    outside.load_state_dict(rounds.start)
    outside.configure_optimizers()
    for minibatches in rounds.batches:
        outside.learn(minibatches)

    assert outside.updates == module.updates > 50
    for name, value in module.state_dict().items():
        assert not torch.equal(value, rounds.start[name]), name
        assert torch.equal(value, outside.state_dict()[name]), name


def test_own_call_of_the_kernel_is_torchs_step() -> None:
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
    configured: Any = module.configure_optimizers()
    rates = []
    for module.updates in range(7):
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
        rates.append(configured["optimizer"].param_groups[0]["lr"])

    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_dueling_values_are_the_state_value_plus_centred_advantages() -> None:
    module = DQN(2, 3, hidden=(), dueling=True)
    head = linear_of(module.q_network, 0)
    head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    head.bias.data.zero_()

    # Value 5; advantages 1, 2, 3 have mean 2.
    assert module(torch.tensor([[5.0, 1.0]])).tolist() == [[4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"target_update_every": 0}, "target_update_every must be above 0, got 0"),
        ({"tau": 1.5}, "tau must be at most 1, a share of the online network, got 1.5"),
        ({"hidden": (64, 0)}, "hidden must be whole numbers of at least 1, got (64, 0)"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be above 0, got 0.0"),
        ({"average_updates": 0.5}, "average_updates must be a whole number, got 0.5"),
        (
            {"optimizer": torch.optim.SGD, "learning_rate_end": 0.1, "learning_rate_decay_updates": 5},
            "learning_rate_end=0.1 has no effect on an optimizer of your own; leave it out",
        ),
        (
            {"optimizer": torch.optim.SGD, "cuda_graph": True},
            "cuda_graph=True has no effect on an optimizer of your own; leave it out",
        ),
        ({"loss": "l1"}, "loss must be one of ['huber', 'mse'], got 'l1'"),
        ({"learning_rate_end": 0.1}, "learning_rate_end=0.1 needs learning_rate_decay_updates of at least 1"),
    ],
)
def test_bad_settings_are_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        DQN(2, 2, **kwargs)
    assert str(error.value) == message
