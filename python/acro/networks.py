"""Networks that map observations to action values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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
