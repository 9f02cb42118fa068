"""The gradients of a round's minibatches, in turn, each left with the parameters until the next is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from acro.dqn.heads import Head, of_actions
from acro.dqn.networks import QNetwork
from acro.dqn.optimizer import FlatAdam
from acro.dqn.products import linear, product
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
    layers: DirectLayers,
    head: Head,
    target_of_outputs: Callable[[Batch, Tensor, Tensor | None, Tensor | None], Tensor],
    batch: Batch,
    answers: Answers,
    *,
    is_double: bool,
    is_munchausen: bool,
) -> Iterator[Tensor]:
    """Do what `autograd_gradients` does for acro's own network, without autograd, in fewer, larger operations.

    What `target_of_outputs` needs of the networks, after the minibatch: the target network's outputs for `next_obs`;
    the online network's, if `is_double`; the target network's for `obs`, if `is_munchausen`.
    """
    count, size = batch.rewards.shape
    columns = zip(
        zip(*(_unbind(column, count) for column in batch), strict=True),
        # One forward answers for both observations.
        (torch.cat((batch.obs, batch.next_obs), dim=1) if is_double else batch.obs).unbind(),
        _shares(batch, layers.num_actions, head.outputs is not None).unbind(),
        answers(batch.obs) if is_munchausen else [None] * count,
        answers(batch.next_obs),
        strict=True,
    )
    for fields, obs, shares, target_own, target_outputs in columns:
        minibatch = Batch._make(fields)
        *inputs, all_outputs = layers.activate(obs)
        own, next_own = all_outputs, None  # (B, A) or (B, A, N)
        if is_double:
            own, next_own = own[:size], own[size:]
            inputs = [layer_inputs[:size] for layer_inputs in inputs]
        outputs = of_actions(own, minibatch.actions)  # (B,) or (B, N)
        target = target_of_outputs(minibatch, target_outputs, next_own, target_own)  # (B,) or (B, N)
        layers.backpropagate(inputs, shares * head.slopes(outputs, target).unsqueeze(1))
        yield head.means(target) - head.means(head.returns(outputs))


def _shares(batch: Batch, num_actions: int, has_axis: bool) -> Tensor:
    """Return each action's share in its minibatch's loss, (M, B, A) or (M, B, A, 1): none but the taken one has any."""
    count, size = batch.rewards.shape
    shares: Tensor = batch.rewards.new_zeros(count, size, num_actions)
    if batch.weights is None:
        shares.scatter_(2, batch.actions.unsqueeze(2), 1.0 / size)
    else:
        shares.scatter_(2, batch.actions.unsqueeze(2), batch.weights.unsqueeze(2) / size)
    return shares.unsqueeze(3) if has_axis else shares


def direct_layers(network: nn.Module) -> DirectLayers | None:
    """Return what does as `network` does; None for any but acro's own, whose subclasses may override anything."""
    return DirectLayers(network) if type(network) is QNetwork and not network.noisy else None


class DirectLayers:
    """The linear layers of a network, for a forward and a backward pass without autograd.

    Autograd, and looking parameters up in modules, cost about as much as the arithmetic of networks this small. The
    tensors are looked up once; what the parameters and their gradients hold must stay where it is.
    """

    def __init__(self, network: QNetwork) -> None:
        self.num_actions = network.num_actions
        self._network = network
        # Detached, so that nothing is recorded.
        self._layers = [
            (layer.weight.detach(), layer.weight.detach().t(), layer.bias.detach(), layer.weight.grad, layer.bias.grad)
            for layer in cast(Iterable[nn.Linear], network.layers)
        ]

    def activate(self, obs: Tensor) -> list[Tensor]:
        """Return the float32 inputs (B, n) of every layer, and last the network's outputs."""
        activations = [obs.flatten(1).float()]
        for layer in self._layers:
            _, transposed, bias, _, _ = layer
            activations.append(linear(activations[-1], transposed, bias, relu=layer is not self._layers[-1]))
        activations[-1] = self._network.arrange(activations[-1])
        return activations

    def answer(self, obs: Tensor) -> Tensor:
        """Return the network's outputs."""
        return self.activate(obs)[-1]

    def backpropagate(self, inputs: list[Tensor], gradient: Tensor) -> None:
        """Overwrite every parameter's `grad`, given the layers' inputs and the loss's gradient by the outputs."""
        gradient = self._network.arrange_gradient(gradient)
        for layer, layer_inputs in zip(reversed(self._layers), reversed(inputs), strict=True):
            weight, _, _, weight_grad, bias_grad = layer
            product(gradient.t(), layer_inputs, out=weight_grad)
            torch.sum(gradient, 0, out=bias_grad)
            if layer is not self._layers[0]:
                gradient = product(gradient, weight)
                # What a rectified layer put out is 0 where it has no slope, and positive where that is 1.
                gradient.mul_(layer_inputs.sign())


def target_answers(
    answer: Callable[[Tensor], Tensor], observations: Tensor, until_update: int, update_every: int
) -> Iterator[Tensor]:
    """Yield the target network's `answer` to each minibatch of `observations` (M, B, ...).

    One forward serves as many minibatches as there are before the target network's next update, which comes after
    `until_update` of them, and after every `update_every` from then on.
    """
    start = 0
    while start < len(observations):
        block = observations[start : start + min(until_update, _TARGET_BLOCK)]  # (m, B, ...)
        with torch.no_grad():
            outputs = answer(block.flatten(0, 1))
        yield from outputs.view(*block.shape[:2], *outputs.shape[1:]).unbind()
        start += len(block)
        until_update = until_update - len(block) or update_every


def _unbind(column: Tensor | None, count: int) -> Sequence[Tensor | None]:
    return [None] * count if column is None else column.unbind()
