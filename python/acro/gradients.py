"""The gradients of a round's minibatches, in turn, each left with the parameters until the next is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn

from acro.networks import QNetwork
from acro.optimizer import FlatAdam
from acro.products import linear, product
from acro.replay import Batch

# Minibatches in one forward of the target network: more outgrow the processor's cache, and were slower.
_TARGET_BLOCK = 8

Answers = Callable[[Tensor], Iterator[Tensor]]
"""The target network's answer to each minibatch of observations (M, B, ...), as `target_answers` gives them."""


def autograd_gradients(
    loss: Callable[[Batch, Tensor], tuple[Tensor, Tensor]],
    batch: Batch,
    answers: Answers,
    optimizer: FlatAdam,
    last_backward: Callable[[Tensor], None],
) -> Iterator[Tensor]:
    """Differentiate `loss` of each minibatch of `batch` (M, B), and yield its temporal-difference errors (B,)."""
    count = len(batch.rewards)
    columns = zip(*(_unbind(column, count) for column in batch), strict=True)
    for number, (minibatch, outputs) in enumerate(zip(map(Batch._make, columns), answers(batch.next_obs), strict=True)):
        value, td_error = loss(minibatch, outputs)
        optimizer.zero_grad()
        (last_backward if number == count - 1 else torch.Tensor.backward)(value)
        yield td_error


def direct_gradients(
    network: QNetwork,
    batch: Batch,
    answers: Answers,
    *,
    is_double: bool,
    is_huber: bool,
    own_target: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Do what `autograd_gradients` does for plain action values, without autograd, in fewer, larger operations.

    `own_target` makes the target (B,) from actions, rewards, discounts and the target network's values for obs and
    next_obs, in place of rewards + discounts * the value of the best next action.
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
        [None] * count if own_target is None else answers(batch.obs),
        answers(batch.next_obs),
        strict=True,
    )
    for obs, actions, rewards, discounts, weights, own_q, target_q in columns:
        with torch.no_grad():
            activations = layers.activate(obs)
            if own_target is None or own_q is None:
                chooser = activations[-1][size:] if is_double else target_q  # (B, A)
                next_q = target_q.gather(1, chooser.argmax(dim=1, keepdim=True))  # (B, 1)
                td_target = torch.addcmul(rewards, discounts, next_q)  # (B, 1)
            else:
                terms = actions.squeeze(1), rewards.squeeze(1), discounts.squeeze(1)
                td_target = own_target(*terms, own_q, target_q).unsqueeze(1)  # (B, 1)
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
            (layer.weight, layer.bias, layer.weight.grad, layer.bias.grad)
            for layer in cast(Iterable[nn.Linear], network.layers)
        ]

    def activate(self, obs: Tensor) -> list[Tensor]:
        """Return the float32 inputs (B, n) of every layer, and last the outputs (B, A)."""
        activations = [obs.flatten(1).float()]
        for weight, bias, _, _ in self._layers:
            is_last = len(activations) == len(self._layers)
            activations.append(linear(activations[-1], weight, bias, relu=not is_last))
        return activations

    def answer(self, obs: Tensor) -> Tensor:
        """Return the outputs (B, A)."""
        activation = obs.flatten(1).float()
        for number, (weight, bias, _, _) in enumerate(self._layers, start=1):
            activation = linear(activation, weight, bias, relu=number < len(self._layers))
        return activation

    def backpropagate(self, inputs: list[Tensor], gradient: Tensor) -> None:
        """Overwrite every parameter's `grad`, given the layers' inputs and the loss's gradient by the outputs."""
        for (weight, _, weight_grad, bias_grad), layer_inputs in zip(
            reversed(self._layers), reversed(inputs), strict=True
        ):
            product(gradient.t(), layer_inputs, out=weight_grad)
            torch.sum(gradient, 0, out=bias_grad)
            if layer_inputs is not inputs[0]:
                gradient = _threshold_backward(product(gradient, weight), layer_inputs, 0)


def is_plain(network: nn.Module) -> TypeGuard[QNetwork]:
    """Whether `DirectLayers` does what `network` does; a subclass of acro's own may override anything."""
    return (
        type(network) is QNetwork and not network.dueling and not network.noisy and network.outputs_per_action is None
    )


_threshold_backward = torch.ops.aten.threshold_backward.default


def target_answers(
    target_network: nn.Module, observations: Tensor, until_update: int, update_every: int
) -> Iterator[Tensor]:
    """Yield the target network's answer to each minibatch of `observations` (M, B, ...).

    One forward serves as many minibatches as there are before the target network's next update, which comes after
    `until_update` of them, and after every `update_every` from then on.
    """
    answer = DirectLayers(target_network).answer if is_plain(target_network) else target_network
    start = 0
    while start < len(observations):
        block = observations[start : start + min(until_update, _TARGET_BLOCK)]  # (m, B, ...)
        with torch.no_grad():
            outputs = answer(block.flatten(0, 1)).unflatten(0, block.shape[:2])
        yield from outputs.unbind()
        start += len(block)
        until_update = until_update - len(block) or update_every


def _unbind(column: Tensor | None, count: int) -> Sequence[Tensor | None]:
    return [None] * count if column is None else column.unbind()
