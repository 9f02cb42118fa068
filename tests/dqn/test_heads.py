"""Heads, their losses and targets against numbers worked by hand."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Table, batch, linear_of, table_of
from runs import train
from torch import nn

from acro import DQN, Batch, Experience
from acro.dqn.heads import CategoricalHead, QuantileHead, warn_of_narrow_support
from acro.dqn.munchausen import munchausen_target
from acro.dqn.noisy import NoisyLinear

# ---- quantiles

# States 0 and 1, two actions, two quantiles.
ONLINE_QUANTILES = [[[0.0, 1.0], [5.0, 5.0]], [[1.0, 2.0], [0.0, 6.0]]]
TARGET_QUANTILES = [[[0.0, 0.0], [0.0, 0.0]], [[10.0, 30.0], [4.0, 8.0]]]


def quantile_dqn(**kwargs: Any) -> DQN:
    module = DQN(1, 2, head="quantile", num_quantiles=2, network=Table(ONLINE_QUANTILES), **kwargs)
    table_of(module.target_network).data = torch.tensor(TARGET_QUANTILES)
    return module


def test_quantile_action_values_are_the_means() -> None:
    assert quantile_dqn()(torch.tensor([[0.0], [1.0]])).tolist() == [[0.5, 5.0], [1.5, 3.0]]


def test_quantile_target_moves_every_quantile_of_the_best_action() -> None:
    minibatch = batch([0, 0], [0, 1], [-1.0, 2.0], [1, 1], [0.5, 0.0])

    # The target network likes action 0 best (mean 20); the online one, with double, action 1 (mean 3).
    assert quantile_dqn(double=False).td_target(minibatch).tolist() == [[4.0, 14.0], [2.0, 2.0]]
    assert quantile_dqn(double=True).td_target(minibatch).tolist() == [[1.0, 3.0], [2.0, 2.0]]


def test_quantile_huber_loss() -> None:
    head = QuantileHead(2)

    # Midpoints 0.25 and 0.75. Errors of quantile 0: 0.5 and -2, of Huber 0.125 and 1.5, weighted by 0.25 and 0.75;
    # of quantile 1 (which is 1): -0.5 and -3, of Huber 0.125 and 2.5, weighted by 0.25 both. Mean over the target's.
    losses = head.losses(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, -2.0]]))
    expected = (0.25 * 0.125 + 0.75 * 1.5) / 2 + (0.25 * 0.125 + 0.25 * 2.5) / 2
    assert losses.tolist() == pytest.approx([expected])


def test_quantile_td_error_is_that_of_the_mean() -> None:
    minibatch = batch([0], [0], [-1.0], [1], [0.5])
    value, td_errors = quantile_dqn(double=True).loss(minibatch)

    # Target quantiles 1 and 3, mean 2; online 0 and 1, mean 0.5.
    assert td_errors.tolist() == [1.5]
    assert value.shape == ()


def test_median_regression_finds_the_median() -> None:
    head = QuantileHead(1)
    outputs = torch.zeros(1, 1, requires_grad=True)
    targets = torch.tensor([[-100.0], [10.0], [10.0], [10.0], [400.0]])
    optimizer = torch.optim.SGD([outputs], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(head.losses(outputs.expand(5, 1), targets).mean())
        optimizer.step()

    assert outputs.item() == pytest.approx(10.0, abs=0.5)


# ---- categories


def test_categorical_target_is_projected_onto_the_atoms() -> None:
    head = CategoricalHead(5, -2.0, 2.0)  # Atoms -2, -1, 0, 1, 2.
    next_probabilities = torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1]] * 3)

    # -0.5 + 0.5 * atom: -1.5, -1, -0.5, 0, 0.5, each shared by its neighbours.
    halved = [0.05, 0.05 + 0.2 + 0.2, 0.2 + 0.2 + 0.05, 0.05, 0.0]
    # Terminated with reward 1.25; and 5 + atom, beyond the end.
    target = head.target(torch.tensor([-0.5, 1.25, 5.0]), torch.tensor([0.5, 0.0, 1.0]), next_probabilities)
    torch.testing.assert_close(target, torch.tensor([halved, [0.0, 0.0, 0.0, 0.75, 0.25], [0.0, 0.0, 0.0, 0.0, 1.0]]))


def test_categorical_projection_keeps_the_mean_inside_the_support() -> None:
    head = CategoricalHead(51, -99.3, 0.0)
    torch.manual_seed(0)
    probabilities = torch.randn(64, 51).softmax(dim=1)
    target = head.target(torch.full((64,), -0.5), torch.full((64,), 0.99), probabilities)

    torch.testing.assert_close(target.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(head.means(target), -0.5 + 0.99 * head.means(probabilities), rtol=1e-4, atol=1e-2)


def test_categorical_loss_is_the_cross_entropy() -> None:
    head = CategoricalHead(2, 0.0, 1.0)
    logits = torch.tensor([[0.0, math.log(3.0)]])  # Probabilities 1/4 and 3/4.

    losses = head.losses(logits, torch.tensor([[0.4, 0.6]]))
    assert losses.tolist() == pytest.approx([-0.4 * math.log(0.25) - 0.6 * math.log(0.75)])
    assert head.means(head.returns(logits)).tolist() == pytest.approx([0.75])


def test_categorical_td_error_is_that_of_the_mean() -> None:
    logits = [[[0.0, math.log(3.0)], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]
    module = DQN(1, 2, head="categorical", num_atoms=2, v_min=0.0, v_max=1.0, network=Table(logits))
    _, td_errors = module.loss(batch([0], [0], [0.25], [1], [0.5]))

    # 0.25 + 0.5 * 0.5 - 0.75
    assert td_errors.tolist() == pytest.approx([-0.25])


@pytest.mark.parametrize("support", [(-10.0, 10.0), (-99.4, -1.0)])
def test_support_that_cannot_hold_the_returns_is_warned_of(support: tuple[float, float]) -> None:
    with pytest.warns(UserWarning, match=r"cannot hold the returns, which lie between -99.3\d* and 0"):
        warn_of_narrow_support(support, (-99.34, 0.0))


def test_support_that_holds_the_returns_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_narrow_support((-99.34, 0.0), (-99.34, 0.0))


@pytest.mark.parametrize("v_min", [None, -40.0])
def test_munchausens_lower_targets_are_told_of_unless_v_min_was_chosen(
    v_min: float | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = {"head": "categorical", "return_range": (-30.0, 0.0), "v_min": v_min, "munchausen_temperature": 0.03}
    train(tmp_path, epochs=1, model=model)
    assert ("Munchausen targets may be lower" in caplog.text) == (v_min is None)


def test_training_warns_of_a_support_that_cannot_hold_acrobots_returns(tmp_path: Path) -> None:
    model = {"head": "categorical", "v_min": -10.0, "v_max": 10.0, "return_range": Experience().return_range}
    with pytest.warns(UserWarning, match="v_min=-10 and v_max=10 cannot hold the returns"):
        train(tmp_path, epochs=1, model=model)


def test_support_is_derived_from_the_return_range() -> None:
    module = DQN(6, 3, head="categorical", return_range=Experience(gamma=0.9).return_range)

    assert isinstance(module.head, CategoricalHead)
    assert module.head.atoms[[0, -1]].tolist() == pytest.approx([-10.0, 0.0], abs=1e-5)


# ---- Munchausen


def test_munchausen_target() -> None:
    head = DQN(1, 2).head
    returns, next_returns = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[math.log(4.0), 0.0]])
    minibatch = batch([0], [0], [-1.0], [0], [0.5])
    target = munchausen_target(head, 1.0, minibatch, returns, next_returns)

    # The taken action has probability 1/4, and log(1/4) < -1 is cut at -1. The next policy is (0.8, 0.2).
    soft_value = 0.8 * (math.log(4.0) - math.log(0.8)) + 0.2 * (0.0 - math.log(0.2))
    assert target.tolist() == pytest.approx([-1.0 + 0.9 * -1.0 + 0.5 * soft_value])


def test_munchausen_mixes_the_quantiles_of_all_actions() -> None:
    head = QuantileHead(2)
    next_returns = torch.tensor([[[1.0, 3.0], [0.0, 4.0]]])  # Equal means: the policy is (0.5, 0.5).
    minibatch = batch([0], [0], [0.0], [0], [1.0])
    target = munchausen_target(head, 0.1, minibatch, torch.zeros(1, 2, 2), next_returns)

    bonus, entropy = 0.9 * 0.1 * math.log(0.5), 0.1 * math.log(2.0)
    assert target.tolist()[0] == pytest.approx([0.5 + bonus + entropy, 3.5 + bonus + entropy])


# ---- noise


def test_noisy_layer_is_its_mean_in_evaluation_and_another_each_time_in_training() -> None:
    layer = NoisyLinear(3, 2)
    inputs = torch.ones(1, 3)
    plain = nn.functional.linear(inputs, layer.weight, layer.bias)

    first, second = layer(inputs), layer(inputs)
    assert not torch.equal(first, second)
    assert torch.equal(layer.eval()(inputs), plain)


def test_noise_of_the_weights_is_the_product_of_the_noise_of_inputs_and_outputs() -> None:
    layer = NoisyLinear(3, 2)
    state = layer.get_extra_state()
    outputs = layer(torch.eye(3)) - layer.eval()(torch.eye(3))  # (3, 2), with the bias's noise

    noise = torch.randn(5, generator=torch.Generator().set_state(state))
    noise = noise.sign() * noise.abs().sqrt()
    size = 0.5 / math.sqrt(3.0)
    expected = size * (torch.outer(noise[:3], noise[3:]) + noise[3:])
    torch.testing.assert_close(outputs, expected)


def test_noise_draws_nothing_from_the_global_generator() -> None:
    layer = NoisyLinear(3, 2)
    before = torch.get_rng_state()
    layer(torch.ones(1, 3))

    assert torch.equal(torch.get_rng_state(), before)


def test_target_networks_noise_is_its_own() -> None:
    module = DQN(3, 2, hidden=(4,), noisy=True)
    own, targets = (linear_of(network, 1).get_extra_state() for network in (module.q_network, module.target_network))

    assert not torch.equal(own, targets)


# ---- averaged weights


def test_averaged_weights_follow_exponentially_and_serve_in_evaluation() -> None:
    module = DQN(1, 2, hidden=(4,), average_updates=4)
    assert module.averaged_network is not None
    start = linear_of(module.averaged_network, 0).weight.clone()
    minibatch = batch([0, 1], [0, 1], [1.0, 2.0], [1, 0], [0.5, 0.5])
    columns = Batch(*(None if column is None else torch.stack([column] * 2) for column in minibatch))
    module.configure_optimizers()
    module.learn(columns)

    share = 1 - 0.75**2
    expected = start + share * (linear_of(module.q_network, 0).weight - start)
    torch.testing.assert_close(linear_of(module.averaged_network, 0).weight, expected.detach())
    obs = torch.ones(1, 1)
    assert torch.equal(module.train()(obs), module.q_network(obs))
    assert torch.equal(module.eval()(obs), module.averaged_network(obs))


# ---- together


@pytest.mark.parametrize("head", ["value", "quantile", "categorical"])
@pytest.mark.parametrize("options", [{"dueling": True}, {"double": False}, {"noisy": True}], ids=str)
def test_every_head_learns_one_step_returns(head: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = DQN(1, 2, hidden=(32,), head=head, v_min=-2.0, v_max=2.0, learning_rate=0.01, **options)
    # Terminated: the values are the rewards.
    minibatch = batch([0, 0, 1, 1], [0, 1, 0, 1], [-1.0, 1.0, 0.5, -0.5], [0] * 4, [0.0] * 4)
    columns = Batch(*(None if column is None else torch.stack([column] * 400) for column in minibatch))
    module.configure_optimizers()
    module.learn(columns)

    values = module.eval()(torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(values, torch.tensor([[-1.0, 1.0], [0.5, -0.5]]), rtol=0, atol=0.15)


def test_dueling_quantiles_are_centred_over_actions_one_by_one() -> None:
    module = DQN(1, 2, hidden=(), dueling=True, head="quantile", num_quantiles=2)
    layer = linear_of(module.q_network, 0)
    layer.weight.data.zero_()
    layer.bias.data = torch.tensor([10.0, 20.0, 1.0, 2.0, 3.0, 6.0])

    # Advantages (1, 2) and (3, 6) have means 2 and 4, one by one.
    assert module.q_network(torch.zeros(1, 1)).tolist() == [[[9.0, 18.0], [11.0, 22.0]]]


@pytest.mark.parametrize("model", [{}, {"head": "quantile"}, {"dueling": True}], ids=str)
def test_training_under_the_trainer_changes_the_weights(model: dict[str, Any], tmp_path: Path) -> None:
    module, _ = train(tmp_path, epochs=2, model=model)
    torch.manual_seed(0)
    weights = [parameter.clone() for parameter in module.q_network.parameters()]
    (tmp_path / "short").mkdir()
    short, _ = train(tmp_path / "short", epochs=1, model=model)

    assert any(not torch.equal(a, b) for a, b in zip(weights, short.q_network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"head": "iqn"}, "head must be one of ['value', 'quantile', 'categorical'], got 'iqn'"),
        ({"head": "quantile", "loss": "mse"}, "loss='mse' is the value head's; head='quantile' has a loss of its own"),
        ({"head": "quantile", "num_quantiles": 0}, "num_quantiles must be at least 1, got 0"),
        (
            {"head": "categorical"},
            "head='categorical' needs v_min and v_max, or a return_range such as Experience.return_range",
        ),
        (
            {"head": "categorical", "v_min": 1.0, "v_max": -1.0},
            "v_min must be below v_max, got 1.0 and -1.0",
        ),
        ({"average_updates": 0}, "average_updates must be above 0, got 0"),
        ({"munchausen_temperature": 0.0}, "munchausen_temperature must be above 0, got 0.0"),
    ],
)
def test_bad_settings_are_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        DQN(2, 2, **kwargs)
    assert str(error.value) == message
