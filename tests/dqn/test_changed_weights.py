"""Networks that are changed after they acted or learned: what acts and learns is what they are now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batches import random_rounds
from torch import Tensor, nn

from acro import DQN
from acro.dqn.networks import QNetwork


def make(**settings: Any) -> DQN:
    module = DQN(4, 3, hidden=(16, 16), target_update_every=2, average_updates=5, **settings)
    module.configure_optimizers()
    return module


def layers(module: DQN) -> nn.ModuleList:
    assert isinstance(module.q_network, QNetwork)
    return module.q_network.layers


def load_by_assignment(module: DQN) -> None:
    weights = {name: -tensor for name, tensor in module.q_network.state_dict().items()}
    module.q_network.load_state_dict(weights, assign=True)


def replace_a_layer(module: DQN) -> None:
    layers(module)[1] = nn.Linear(16, 16)


def give_other_storage(module: DQN) -> None:
    # The second layer's: the first one's address alone would not tell.
    for parameter in layers(module)[1].parameters():
        parameter.data = -parameter.data


def hook_a_layer(module: DQN) -> None:
    layers(module)[-1].register_forward_hook(lambda *called: -called[-1])


def replace_forward(module: DQN) -> None:
    forward = module.q_network.forward
    module.q_network.forward = lambda obs: -forward(obs)


CHANGES = [load_by_assignment, replace_a_layer, give_other_storage, hook_a_layer, replace_forward]


@pytest.mark.parametrize("change", CHANGES)
def test_network_that_is_changed_after_it_acted_acts(change: Callable[[DQN], None]) -> None:
    module = make()
    obs = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    before = module.greedy_actions(obs)

    change(module)

    with torch.no_grad():
        values: Tensor = module(torch.from_numpy(obs))
    np.testing.assert_array_equal(module.greedy_actions(obs), values.argmax(dim=1).numpy())
    assert np.any(module.greedy_actions(obs) != before)


@pytest.mark.parametrize("backend", ["rust", "torch"])
@pytest.mark.parametrize("name", ["q_network", "target_network", "averaged_network"])
def test_weights_that_get_other_storage_between_rounds_are_those_that_learn(name: str, backend: str) -> None:
    replaced, expected = make(backend=backend), make(backend=backend)
    for module in (replaced, expected):
        module.learn(random_rounds(3))
    for parameter in getattr(replaced, name).parameters():
        parameter.data = parameter.data * 0.5
    with torch.no_grad():
        for parameter in getattr(expected, name).parameters():
            parameter.mul_(0.5)

    found = [module.learn(random_rounds(3, seed=1)) for module in (replaced, expected)]
    assert found[0].equal(found[1])
    for left, right in zip(replaced.parameters(), expected.parameters(), strict=True):
        assert left.equal(right)


def test_hook_that_is_added_while_rust_learns_is_called() -> None:
    module = make()
    calls: list[None] = []
    module.learn(random_rounds(3))
    assert module.update_backend is not None
    hook = layers(module)[0].register_forward_hook(lambda *_: calls.append(None))

    module.learn(random_rounds(3))
    hook.remove()
    module.learn(random_rounds(3))

    # The online network sees next_obs, for double Q-learning, and obs.
    assert len(calls) == 2 * 3
