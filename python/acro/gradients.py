"""The gradients of a round's minibatches, in turn, each left with the parameters until the next is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from acro.networks import QNetwork
from acro.optimizer import FlatAdam
from acro.replay import Batch

# Minibatches in one forward of the target network: more outgrow the processor's cache, and were slower.
_TARGET_BLOCK = 8


def autograd_gradients(
    loss: Callable[[Batch, Tensor], tuple[Tensor, Tensor]],
    batch: Batch,
    target_outputs: Iterator[Tensor],
    optimizer: FlatAdam,
    last_backward: Callable[[Tensor], None],
) -> Iterator[Tensor]:
    """Differentiate `loss` of each minibatch of `batch` (M, B), and yield its temporal-difference errors (B,)."""
    count = len(batch.rewards)
    columns = zip(*(_unbind(column, count) for column in batch), strict=True)
    for number, (minibatch, outputs) in enumerate(zip(map(Batch._make, columns), target_outputs, strict=True)):
        value, td_error = loss(minibatch, outputs)
        optimizer.zero_grad()
        (last_backward if number == count - 1 else torch.Tensor.backward)(value)
        yield td_error


def direct_gradients(
    network: QNetwork,
    batch: Batch,
    target_values: Iterator[Tensor],
    *,
    is_double: bool,
    is_huber: bool,
    own_target: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Do what `autograd_gradients` does for plain action values, without autograd, in fewer, larger operations.

    `own_target` makes the target (B,) from obs, actions, rewards, discounts and the target network's values, in place
    of rewards + discounts * the value of the best next action.
    """
    layers = DirectLayers(network)
    count, size = batch.rewards.shape
    columns = zip(
        # One forward answers for both observations.
        (torch.cat((batch.obs, batch.next_obs), dim=1) if is_double else batch.obs).unbind(),
        batch.actions.unsqueeze(2).unbind(),
        batch.rewards.unsqueeze(2).unbind(),
        batch.discounts.unsqueeze(2).unbind(),
        _unbind(None if batch.weights is None else batch.weights.unsqueeze(2), count),
        target_values,
        strict=True,
    )
    for obs, actions, rewards, discounts, weights, target_q in columns:
        with torch.no_grad():
            activations = layers.activate(obs)
            if own_target is None:
                chooser = activations[-1][size:] if is_double else target_q  # (B, A)
                next_q = target_q.gather(1, chooser.argmax(dim=1, keepdim=True))  # (B, 1)
                td_target = torch.addcmul(rewards, discounts, next_q)  # (B, 1)
            else:
                terms = actions.squeeze(1), rewards.squeeze(1), discounts.squeeze(1)
                td_target = own_target(obs, *terms, target_q).unsqueeze(1)  # (B, 1)
            *inputs, q = (activation[:size] for activation in activations)
            td_error = td_target - q.gather(1, actions)  # (B, 1)
            # The loss's derivative by the taken action's value; Huber with its corner at 1 clips it there.
            slope = td_error.clamp(-1.0, 1.0) if is_huber else 2.0 * td_error
            slope.mul_(-1.0 / size)
            if weights is not None:
                slope.mul_(weights)
            layers.backpropagate(inputs, torch.zeros_like(q).scatter_(1, actions, slope))
        yield td_error.squeeze(1)


class DirectLayers:
    """The linear layers of a network, for a forward and a backward pass without autograd.

    Autograd, and looking parameters up in modules, cost about as much as the arithmetic of networks this small. The
    tensors are looked up once; they must stay the parameters' storage, and `grad` theirs.
    """

    def __init__(self, network: QNetwork) -> None:
        self._layers = [
            (layer.weight, layer.weight.t(), layer.bias, layer.weight.grad, layer.bias.grad)
            for layer in cast(Iterable[nn.Linear], network.layers)
        ]

    def activate(self, obs: Tensor) -> list[Tensor]:
        """Return the float32 inputs (B, n) of every layer, and last the outputs (B, A)."""
        activations = [obs.flatten(1).float()]
        for _, transposed, bias, _, _ in self._layers:
            if len(activations) > 1:
                activations[-1].relu_()
            activations.append(torch.addmm(bias, activations[-1], transposed))
        return activations

    def backpropagate(self, inputs: list[Tensor], gradient: Tensor) -> None:
        """Overwrite every parameter's `grad`, given the layers' inputs and the loss's gradient by the outputs."""
        for (weight, _, _, weight_grad, bias_grad), layer_inputs in zip(
            reversed(self._layers), reversed(inputs), strict=True
        ):
            torch.mm(gradient.t(), layer_inputs, out=weight_grad)
            torch.sum(gradient, 0, out=bias_grad)
            if layer_inputs is not inputs[0]:
                gradient = _threshold_backward(gradient.mm(weight), layer_inputs, 0)


_threshold_backward = torch.ops.aten.threshold_backward.default


def target_outputs(
    target_network: nn.Module, next_obs: Tensor, until_update: int, update_every: int
) -> Iterator[Tensor]:
    """Yield the target network's answer to each minibatch of `next_obs` (M, B, ...).

    One forward serves as many minibatches as there are before the target network's next update, which comes after
    `until_update` of them, and after every `update_every` from then on.
    """
    start = 0
    while start < len(next_obs):
        block = next_obs[start : start + min(until_update, _TARGET_BLOCK)]  # (m, B, ...)
        with torch.no_grad():
            outputs = target_network(block.flatten(0, 1)).unflatten(0, block.shape[:2])
        yield from outputs.unbind()
        start += len(block)
        until_update = until_update - len(block) or update_every


def _unbind(column: Tensor | None, count: int) -> Sequence[Tensor | None]:
    return [None] * count if column is None else column.unbind()
