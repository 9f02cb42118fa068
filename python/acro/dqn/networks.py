"""Networks that map observations to action values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from acro.dqn.noisy import NoisyLinear


class QNetwork(nn.Module):
    """A multilayer perceptron with ReLU between its layers, and an action-value head.

    Args:
        observation_size: Numbers in one observation; observations of more axes are flattened.
        num_actions: Outputs, one value per action.
        hidden: Width of each hidden layer.
        dueling: Split the head into a state value and advantages with a mean of 0 (Wang et al. 2016).
        outputs_per_action: Outputs of a distributional head per action; None for one action value.
        noisy: While training, add learned noise to the weights of the head and of every hidden layer except the first
            (Fortunato et al. 2018).
        layer_norm: Normalise the input of each ReLU (Ba et al. 2016), as PQN does (Gallici et al. 2024).
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
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.observation_size = observation_size
        self.num_actions = num_actions
        self.hidden = tuple(hidden)
        self.dueling = dueling
        self.outputs_per_action = outputs_per_action
        self.noisy = noisy
        self.layer_norm = layer_norm
        last = (num_actions + dueling) * (outputs_per_action or 1)
        linears: list[nn.Module] = [
            (NoisyLinear if noisy and index else nn.Linear)(inputs, outputs)
            for index, (inputs, outputs) in enumerate(itertools.pairwise([observation_size, *hidden, last]))
        ]
        if noisy and not hidden:
            linears = [NoisyLinear(observation_size, last)]
        if layer_norm:
            normed = zip(linears, hidden, strict=False)
            linears[:-1] = [nn.Sequential(linear, nn.LayerNorm(width)) for linear, width in normed]
        self.layers = nn.ModuleList(linears)
        self.built_as = repr(self)
        """The layers that it was built with, so that code which only uses the weights can tell if one was replaced."""

    def forward(self, obs: Tensor) -> Tensor:
        """Return (B, num_actions) of observations (B, ...), with `outputs_per_action` as a last axis if it is given."""
        *hidden_layers, head = self.layers
        activation = obs.flatten(1).float()  # (B, observation_size)
        for layer in hidden_layers:
            # In place: nothing else needs the layer's output, not even its own backward pass.
            activation = layer(activation).relu_()  # (B, width)
        outputs: Tensor = head(activation)  # (B, n)
        if self.outputs_per_action is not None:
            outputs = outputs.unflatten(1, (-1, self.outputs_per_action))
        if not self.dueling:
            return outputs
        value, advantages = outputs[:, :1], outputs[:, 1:]
        return value + advantages - advantages.mean(dim=1, keepdim=True)


def check_network(network: nn.Module, obs: Tensor, num_actions: int, outputs: int | None) -> None:
    """Check that `network` maps an observation `obs` (1, ...) to what the learning rule needs.

    Raises:
        TypeError: It is not a module.
        ValueError: It raises, returns another shape, or has batch normalisation.
    """
    if isinstance(network, type):
        raise TypeError(f"network must be a module, got the class {network.__name__}; give {network.__name__}()")
    if not isinstance(network, nn.Module):
        raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}")
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise ValueError("network must have no BatchNorm: acting alone would change its statistics; use LayerNorm")
    expected = (1, num_actions) if outputs is None else (1, num_actions, outputs)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            found = network(obs)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        hint = "" if obs.dim() > 2 else "; if observations have several axes, give observation_shape"
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"network must take observations {tuple(obs.shape)} of float32, and failed: {reason}{hint}"
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(found, Tensor) or found.shape != expected:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"network must return {expected} for one observation, got {shape}")
