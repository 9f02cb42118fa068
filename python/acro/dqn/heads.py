"""Heads: what a network predicts of an action's return: its mean, quantiles, or probabilities of fixed values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSSES: dict[str, Callable[..., Tensor]] = {"huber": F.smooth_l1_loss, "mse": F.mse_loss}
HEADS = ("value", "quantile", "categorical")


class Head(Protocol):
    """What the numbers of a network mean, and how they are learned.

    The network outputs one number per action (B, A), or N numbers (B, A, N). The head turns them into *returns* of the
    same shape, which targets are made of.
    """

    @property
    def outputs(self) -> int | None:
        """Numbers per action; None for a single one without an axis of its own."""

    def returns(self, outputs: Tensor) -> Tensor:
        """Return the predicted returns: the network's outputs, or probabilities made from them."""

    def means(self, returns: Tensor) -> Tensor:
        """Return the expected returns, without the axis N."""

    def target(self, rewards: Tensor, discounts: Tensor, next_returns: Tensor) -> Tensor:
        """Return the target, rewards + discounts * next return, (B,) or (B, N)."""

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return each transition's loss (B,) between the taken action's outputs and the target."""


class ValueHead:
    """Predicts the expected return; learned with the Huber loss (threshold 1) or the squared error."""

    outputs = None

    def __init__(self, loss: Literal["huber", "mse"] = "huber") -> None:
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {loss!r}")
        self.loss: Literal["huber", "mse"] = loss

    def returns(self, outputs: Tensor) -> Tensor:
        """Return the outputs."""
        return outputs

    def means(self, returns: Tensor) -> Tensor:
        """Return the values."""
        return returns

    def target(self, rewards: Tensor, discounts: Tensor, next_returns: Tensor) -> Tensor:
        """Return rewards + discounts * next value (B,)."""
        return torch.addcmul(rewards, discounts, next_returns)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return each transition's loss (B,)."""
        return LOSSES[self.loss](outputs, target, reduction="none")


class QuantileHead(nn.Module):
    """Predicts N quantiles of the return, at (i + 0.5) / N, as in QR-DQN (Dabney et al. 2018).

    Args:
        num_quantiles: N.
    """

    midpoints: Tensor

    def __init__(self, num_quantiles: int) -> None:
        super().__init__()
        if num_quantiles < 1:
            raise ValueError(f"num_quantiles must be at least 1, got {num_quantiles}")
        midpoints = (torch.arange(num_quantiles) + 0.5) / num_quantiles
        self.register_buffer("midpoints", midpoints, persistent=False)

    @property
    def outputs(self) -> int:
        """Quantiles per action."""
        return len(self.midpoints)

    def returns(self, outputs: Tensor) -> Tensor:
        """Return the quantiles."""
        return outputs

    def means(self, returns: Tensor) -> Tensor:
        """Return the mean over quantiles."""
        return returns.mean(dim=-1)

    def target(self, rewards: Tensor, discounts: Tensor, next_returns: Tensor) -> Tensor:
        """Return rewards + discounts * every next quantile (B, N)."""
        return torch.addcmul(rewards.unsqueeze(1), discounts.unsqueeze(1), next_returns)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the quantile Huber loss (B,): the sum over quantiles of the mean over the target's quantiles."""
        errors = target.unsqueeze(1) - outputs.unsqueeze(2)  # (B, quantile, target's quantile)
        weights = self._weights(errors < 0)
        huber = F.smooth_l1_loss(errors, torch.zeros((), device=errors.device).expand_as(errors), reduction="none")
        return (weights * huber).mean(dim=2).sum(dim=1)

    def _weights(self, is_above: Tensor) -> Tensor:
        """Return |midpoint - [output above target]| without casting the comparison to float."""
        return torch.where(is_above, 1.0 - self.midpoints.unsqueeze(1), self.midpoints.unsqueeze(1))


class CategoricalHead(nn.Module):
    """Predicts the probabilities of N evenly spaced returns, as in C51 (Bellemare et al. 2017), from logits.

    Args:
        num_atoms: N.
        v_min: The least return, the first atom.
        v_max: The largest return, the last atom.
    """

    atoms: Tensor

    def __init__(self, num_atoms: int, v_min: float, v_max: float) -> None:
        super().__init__()
        if num_atoms < 2:
            raise ValueError(f"num_atoms must be at least 2, got {num_atoms}")
        if not v_min < v_max:
            raise ValueError(f"v_min must be below v_max, got {v_min} and {v_max}")
        self.register_buffer("atoms", torch.linspace(v_min, v_max, num_atoms), persistent=False)
        self._v_min, self._v_max = v_min, v_max
        self._spacing = (v_max - v_min) / (num_atoms - 1)

    @property
    def outputs(self) -> int:
        """Atoms per action."""
        return len(self.atoms)

    def returns(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of the atoms."""
        return outputs.softmax(dim=-1)

    def means(self, returns: Tensor) -> Tensor:
        """Return the expected atoms."""
        return returns @ self.atoms

    def target(self, rewards: Tensor, discounts: Tensor, next_returns: Tensor) -> Tensor:
        """Return the probabilities (B, N) of rewards + discounts * atom, projected onto the atoms.

        A shifted atom's probability is split between its two neighbours by distance; beyond an end, the end gets it.
        """
        moved = torch.addcmul(rewards.unsqueeze(1), discounts.unsqueeze(1), self.atoms)  # (B, N)
        positions = (moved.clamp(self._v_min, self._v_max) - self._v_min) / self._spacing  # (B, N), in atoms
        # Rounding may put a position slightly above the last atom.
        lower = positions.floor().clamp(max=self.outputs - 2)
        share = positions - lower  # (B, N), of the upper neighbour
        index = lower.long()
        target = torch.zeros_like(next_returns)
        target.scatter_add_(1, index, next_returns * (1.0 - share))
        return target.scatter_add_(1, index + 1, next_returns * share)

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy (B,) between the target's probabilities and the predicted ones."""
        return -(target * outputs.log_softmax(dim=-1)).sum(dim=-1)


# Heads whose expected return is the mean of the network's outputs; Rust supports no others.
MEAN_HEADS = (ValueHead, QuantileHead)


def of_actions(of_all: Tensor, actions: Tensor) -> Tensor:
    """Select the actions (B,) from (B, A) or (B, A, N); return (B,) or (B, N)."""
    index = actions.unsqueeze(1)
    if of_all.dim() == 3:
        index = index.unsqueeze(2).expand(-1, 1, of_all.shape[2])
    return of_all.gather(1, index).squeeze(1)


def support_of(v_min: float | None, v_max: float | None, returns: tuple[float, float] | None) -> tuple[float, float]:
    """Return the first and last atom of a categorical head: those given, else the bounds of the `returns`.

    Raises:
        ValueError: An end is neither given nor known.
    """
    if returns is None and (v_min is None or v_max is None):
        raise ValueError("head='categorical' needs v_min and v_max, or a return_range such as Experience.return_range")
    low, high = (0.0, 0.0) if returns is None else returns
    return (low if v_min is None else v_min, high if v_max is None else v_max)


def warn_of_narrow_support(support: tuple[float, float], returns: tuple[float, float]) -> None:
    """Warn if returns can lie outside `support`: a categorical head would count them as its ends."""
    if support[0] > returns[0] or support[1] < returns[1]:
        warnings.warn(
            f"v_min={support[0]:g} and v_max={support[1]:g} cannot hold the returns, which lie between "
            f"{returns[0]:g} and {returns[1]:g}: what is outside counts as the nearer end; "
            "leave v_min and v_max out to derive them",
            stacklevel=2,
        )


def make_head(
    name: str, *, loss: Literal["huber", "mse"], num_quantiles: int, num_atoms: int, support: tuple[float, float] | None
) -> ValueHead | QuantileHead | CategoricalHead:
    """Return the head called `name`; only "categorical" needs a support."""
    if name == "value":
        return ValueHead(loss)
    if loss != "huber":
        raise ValueError(f"loss={loss!r} is the value head's; head={name!r} has a loss of its own")
    if name == "quantile":
        return QuantileHead(num_quantiles)
    if name == "categorical" and support is not None:
        return CategoricalHead(num_atoms, *support)
    raise ValueError(f"head must be one of {list(HEADS)}, got {name!r}")
