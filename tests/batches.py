"""Batches of transitions, a network that answers from a table, and the parts of networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from acro import Batch
from acro.dqn.networks import QNetwork


class Table(nn.Module):
    """Outputs looked up by the observation's one number."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, obs: Tensor) -> Tensor:
        return self.values[obs[:, 0].long()]


def table_of(network: nn.Module) -> nn.Parameter:
    """Return the values of a network that is a `Table`."""
    assert isinstance(network, Table)
    return network.values


def linear_of(network: nn.Module | None, index: int) -> nn.Linear:
    """Return a layer of a `QNetwork`."""
    assert isinstance(network, QNetwork)
    layer = network.layers[index]
    assert isinstance(layer, nn.Linear)
    return layer


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """Return the gradient, which is there."""
    assert parameter.grad is not None
    return parameter.grad


def batch(
    obs: list[int], actions: list[int], rewards: list[float], next_obs: list[int], discounts: list[float]
) -> Batch:
    """Return a minibatch of observations of one number each."""
    return Batch(
        obs=torch.tensor(obs).float().unsqueeze(1),
        actions=torch.tensor(actions),
        rewards=torch.tensor(rewards),
        next_obs=torch.tensor(next_obs).float().unsqueeze(1),
        discounts=torch.tensor(discounts),
        terminated=torch.tensor(discounts) == 0,
        indices=torch.arange(len(obs)),
    )


def random_rounds(count: int, *, is_prioritized: bool = False, seed: int = 0) -> Batch:
    """Return `count` minibatches of 16 transitions, with observations of 4 numbers and 3 actions."""
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        obs=torch.randn(count, 16, 4, generator=generator),
        actions=torch.randint(3, (count, 16), generator=generator),
        rewards=torch.randn(count, 16, generator=generator),
        next_obs=torch.randn(count, 16, 4, generator=generator),
        discounts=torch.rand(count, 16, generator=generator),
        terminated=torch.zeros(count, 16, dtype=torch.bool),
        indices=torch.zeros(count, 16, dtype=torch.int64),
        weights=torch.rand(count, 16, generator=generator) if is_prioritized else None,
    )
