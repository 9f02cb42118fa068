"""Noisy networks (Fortunato et al. 2018): linear layers with noise of a learned size on their weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The paper's sigma_0 for factorised noise.
INITIAL_NOISE = 0.5


class NoisyLinear(nn.Linear):
    """A linear layer with factorised Gaussian noise, drawn anew in each forward pass; none in evaluation mode.

    Each layer has a generator of its own, and its state is part of the layer's `state_dict`.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        # On the CPU, so that the noise is the same on every device.
        self._generator = torch.Generator()
        self.reseed()
        size = INITIAL_NOISE / math.sqrt(in_features)
        self.weight_noise = nn.Parameter(torch.full_like(self.weight, size))
        self.bias_noise = nn.Parameter(torch.full_like(self.bias, size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, out_features) of inputs (B, in_features)."""
        if not self.training:
            return super().forward(inputs)
        # The weights' noise is the outer product of the two parts.
        noise = torch.randn(self.in_features + self.out_features, generator=self._generator)
        noise = (noise.sign() * noise.abs().sqrt()).to(inputs.device)
        by_input, by_output = noise[: self.in_features], noise[self.in_features :]
        weight = self.weight + self.weight_noise * torch.outer(by_output, by_input)
        return F.linear(inputs, weight, self.bias + self.bias_noise * by_output)

    def reseed(self) -> None:
        """Seed the noise from PyTorch's global generator; a copied layer would repeat the original's noise."""
        self._generator.manual_seed(int(torch.randint(2**31, ())))

    def get_extra_state(self) -> Tensor:
        """Return the generator's state as bytes."""
        return self._generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue with the generator's state."""
        self._generator.set_state(state.cpu())


def reseed_noise(module: nn.Module) -> None:
    """Reseed every noisy layer in `module`."""
    for layer in module.modules():
        if isinstance(layer, NoisyLinear):
            layer.reseed()
