"""Networks that map observations to action values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acro.dqn.noisy import NoisyLinear


class QNetwork(nn.Module):
    """A multilayer perceptron with ReLU between its layers, and an action-value head.

    Args:
        observation_size: Numbers in one observation; observations of more axes are flattened.
        num_actions: Outputs, one value per action.
        hidden: Width of each hidden layer.
        dueling: Split the head into a state value and advantages whose mean is taken off (Wang et al. 2016).
        outputs_per_action: Numbers that a distributional head has for an action; None for one action value.
        noisy: Learned noise on the weights of the head and of every hidden layer but the first (Fortunato et al.
            2018), while training.
    """

    def __init__(
        self,
        observation_size: int,
        num_actions: int,
        hidden: Sequence[int] = (128, 128),
        *,
        dueling: bool = False,
        outputs_per_action: int | None = None,
        noisy: bool = False,
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.noisy = noisy
        self.dueling = dueling
        self.outputs_per_action = outputs_per_action
        *inner, last = itertools.pairwise(
            [observation_size, *hidden, (num_actions + dueling) * (outputs_per_action or 1)]
        )
        linear = NoisyLinear if noisy else nn.Linear
        first = [nn.Linear(*sizes) for sizes in inner[:1]]
        self.layers = nn.ModuleList([*first, *(linear(*sizes) for sizes in [*inner[1:], last])])

    def forward(self, obs: Tensor) -> Tensor:
        """Return (B, num_actions) of observations (B, ...), with `outputs_per_action` as a last axis if it is given."""
        *hidden_layers, head = self.layers
        activation = obs.flatten(1).float()
        for layer in hidden_layers:
            # In place: what a linear layer puts out is needed by nobody else, not even by its own backward pass.
            activation = layer(activation).relu_()
        return self.arrange(head(activation))

    def arrange(self, outputs: Tensor) -> Tensor:
        """Return what `forward` does, given the last layer's outputs (B, n)."""
        if self.outputs_per_action is not None:
            outputs = outputs.view(len(outputs), -1, self.outputs_per_action)
        if not self.dueling:
            return outputs
        value, advantages = outputs[:, :1], outputs[:, 1:]
        return value + advantages - advantages.mean(dim=1, keepdim=True)

    def arrange_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient by the last layer's outputs (B, n), given the one by what `arrange` returns."""
        if self.dueling:
            value_gradient = gradient.sum(dim=1, keepdim=True)
            gradient = torch.cat((value_gradient, gradient - value_gradient / gradient.shape[1]), dim=1)
        return gradient.flatten(1)
