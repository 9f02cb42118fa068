"""Convolutional networks that map pictures to action values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from acro.dqn.networks import QNetwork

Convolutions = Sequence[tuple[int, int, int]]
"""Channels, kernel and stride of each layer."""

NATURE: Convolutions = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""The layers of Mnih et al. (2015), for 84 x 84 pixels."""
MINATAR: Convolutions = ((16, 3, 1),)
"""The layers of Young and Tian (2019), for 10 x 10 cells."""

# Observations with shorter sides are matrices, not pictures.
_SHORTEST_SIDE = 8
# A smaller picture is too small for the last layer of `NATURE`.
_NATURE_SIDE = 36


class Planes(NamedTuple):
    """The axes of an observation as a picture."""

    channels: int
    height: int
    width: int
    is_channels_last: bool
    """Whether the channels are the last axis, not the first one."""


def planes_of(shape: Sequence[int], dtype: str = "float32") -> Planes | None:
    """Return the axes of observations of this shape as a picture; None if they are not pictures.

    Pictures are (channels, height, width) or (height, width, channels), whichever has fewer channels, with or without
    a leading axis of a stack; with dtype uint8 also (height, width).
    """
    sides = tuple(shape)
    if len(sides) == 2 and dtype == "uint8":
        planes = Planes(1, *sides, False)
    elif len(sides) in (3, 4):
        stack = sides[0] if len(sides) == 4 else 1
        first, middle, last = sides[-3:]
        is_last = last <= first
        planes = Planes(stack * last, first, middle, True) if is_last else Planes(stack * first, middle, last, False)
    else:
        return None
    return planes if min(planes.height, planes.width) >= _SHORTEST_SIDE else None


def convolutions_for(planes: Planes) -> Convolutions:
    """Return the published layers for pictures of that size."""
    return MINATAR if min(planes.height, planes.width) < _NATURE_SIDE else NATURE


def sizes_after(planes: Planes, convolutions: Convolutions) -> tuple[int, int, int]:
    """Return the channels, height and width of the last layer's output.

    Raises:
        ValueError: A layer's numbers are not positive integers, or its kernel is larger than its input.
    """
    channels, sides = planes.channels, (planes.height, planes.width)
    for number, layer in enumerate(convolutions, start=1):
        if len(layer) != 3 or not all(isinstance(size, int) and size > 0 for size in layer):
            raise ValueError(
                "convolutions must be (channels, kernel, stride) of at least 1 each, got "
                f"{tuple(layer)} as number {number}"
            )
        channels, kernel, stride = layer
        if kernel > min(sides):
            raise ValueError(
                f"convolution {number} has a kernel of {kernel} x {kernel}, and only {sides[0]} x {sides[1]} are left "
                f"of the picture's {planes.height} x {planes.width}; take smaller kernels or strides, or fewer of them"
            )
        sides = ((sides[0] - kernel) // stride + 1, (sides[1] - kernel) // stride + 1)
    return channels, *sides


class ConvQNetwork(nn.Module):
    """Convolutions with ReLU, followed by a `QNetwork`.

    Bytes are scaled to [0, 1] here, so bytes are stored and moved. Weights are initialised as PyTorch does
    it, uniformly within 1 / sqrt(inputs), as in both publications.

    Args:
        observation_shape: The shape of a picture, see `planes_of`.
        num_actions: Outputs, one value per action.
        hidden: Width of each fully connected hidden layer.
        observation_dtype: The pictures' dtype; those of uint8 are scaled, in whatever dtype their values come later.
        convolutions: Channels, kernel and stride of each layer; None for the published ones of that size.
        dueling: See `QNetwork`.
        outputs_per_action: Outputs of a distributional head per action; None for one action value.
        noisy: Learned noise, on no convolution and not on the first fully connected layer if there are several.
        layer_norm: Normalise the input of each fully connected layer's ReLU.

    Raises:
        ValueError: Observations of that shape are not pictures, or a convolution does not fit.
    """

    def __init__(
        self,
        observation_shape: Sequence[int],
        num_actions: int,
        hidden: Sequence[int] = (512,),
        *,
        observation_dtype: str = "float32",
        convolutions: Convolutions | None = None,
        dueling: bool = False,
        outputs_per_action: int | None = None,
        noisy: bool = False,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        planes = planes_of(observation_shape, "uint8")
        if planes is None:
            raise ValueError(
                "observation_shape must be a picture's, with sides of at least "
                f"{_SHORTEST_SIDE}, for convolutions, got {tuple(observation_shape)}"
            )
        layers = convolutions_for(planes) if convolutions is None else convolutions
        channels, height, width = sizes_after(planes, layers)
        self.observation_shape = tuple(observation_shape)
        self.observation_dtype = observation_dtype
        self.planes = planes
        inputs = [planes.channels, *(layer[0] for layer in layers)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride)
            for (before, after), (_, kernel, stride) in zip(itertools.pairwise(inputs), layers, strict=True)
        )
        self.dense = QNetwork(
            channels * height * width,
            num_actions,
            hidden,
            dueling=dueling,
            outputs_per_action=outputs_per_action,
            noisy=noisy,
            layer_norm=layer_norm,
        )

    def forward(self, obs: Tensor) -> Tensor:
        """Return (B, num_actions) of pictures (B, ...), with `outputs_per_action` as a last axis if it is given."""
        # Moved while they are bytes. Made contiguous, or an export would tie the strides to its example's batch size.
        planes = obs.movedim(-1, -3).contiguous() if self.planes.is_channels_last else obs
        if torch.uint8 in (obs.dtype, getattr(torch, self.observation_dtype)):
            planes = planes.to(torch.float32, copy=True).div_(255.0)
        else:
            planes = planes.float()
        if planes.dim() == 3:
            planes = planes.unsqueeze(1)
        elif planes.dim() == 5:
            planes = planes.flatten(1, 2)
        # (B, channels, height, width)
        for convolution in self.convolutions:
            planes = convolution(planes).relu_()
        values: Tensor = self.dense(planes)  # (B, num_actions)
        return values


def make_network(
    observation_shape: Sequence[int],
    observation_dtype: str,
    num_actions: int,
    hidden: Sequence[int],
    convolutions: Convolutions | None,
    **settings: Any,
) -> QNetwork | ConvQNetwork:
    """Return acro's network for observations of that shape; `settings` are arguments that both classes have.

    Raises:
        ValueError: The convolutions do not fit the observations.
    """
    is_picture = planes_of(observation_shape, observation_dtype) is not None
    if convolutions or (convolutions is None and is_picture):
        pictures: dict[str, Any] = {"observation_dtype": observation_dtype, "convolutions": convolutions}
        return ConvQNetwork(observation_shape, num_actions, hidden, **pictures, **settings)
    return QNetwork(math.prod(observation_shape), num_actions, hidden, **settings)
