"""Networks that map observations to action values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class QNetwork(nn.Module):
    """A multilayer perceptron with ReLU between its layers, and an action-value head.

    Args:
        observation_size: Numbers in one observation; observations of more axes are flattened.
        num_actions: Outputs, one value per action.
        hidden: Width of each hidden layer.
        dueling: Split the head into a state value and advantages whose mean is taken off (Wang et al. 2016).
    """

    def __init__(
        self, observation_size: int, num_actions: int, hidden: Sequence[int] = (128, 128), *, dueling: bool = False
    ) -> None:
        super().__init__()
        sizes = [observation_size, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], num_actions + dueling)
        self.dueling = dueling

    def forward(self, obs: Tensor) -> Tensor:
        """Return action values (B, num_actions) of observations (B, ...)."""
        outputs: Tensor = self.head(self.body(obs.flatten(1).float()))
        if not self.dueling:
            return outputs
        value, advantages = outputs[:, :1], outputs[:, 1:]
        return value + advantages - advantages.mean(dim=1, keepdim=True)

    # Autograd costs about as much as the arithmetic of networks this small: these two are forward and backward without
    # it, for the update of plain action values.

    def activate(self, obs: Tensor) -> list[Tensor]:
        """Return the float32 inputs (B, n) of every linear layer and the outputs (B, num_actions), without gradient."""
        activations = [obs.flatten(1).float()]
        for layer in self._hidden_layers():
            activations.append(torch.addmm(layer.bias, activations[-1], layer.weight.t()).relu_())
        activations.append(torch.addmm(self.head.bias, activations[-1], self.head.weight.t()))
        return activations

    def backpropagate(self, activations: list[Tensor], gradient: Tensor) -> None:
        """Overwrite the `grad` of every parameter, given the `gradient` (B, num_actions) of the loss by the outputs."""
        layers = [*self._hidden_layers(), self.head]
        for index in reversed(range(len(layers))):
            layer, inputs = layers[index], activations[index]
            torch.mm(gradient.t(), inputs, out=layer.weight.grad)
            torch.sum(gradient, 0, out=layer.bias.grad)
            if index:
                gradient = torch.ops.aten.threshold_backward(gradient.mm(layer.weight), inputs, 0)

    def _hidden_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.body if isinstance(layer, nn.Linear)]
