"""Rounds of gradient updates: the steps of the online network, and the networks that follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acro.dqn.captured import CapturedRound
from acro.dqn.gradients import Answers, direct_layers, target_answers
from acro.dqn.optimizer import FlatAdam, flatten_parameters
from acro.replay import Batch

# What the learning rule reads of a batch.
_COLUMNS = ("obs", "actions", "rewards", "next_obs", "discounts", "weights")

Gradients = Callable[[Batch, Answers, FlatAdam, Callable[[Tensor], None]], Iterator[Tensor]]
"""Given a round (M, B), the target network, the optimizer and what differentiates the last loss, yields each
minibatch's temporal-difference errors (B,), its gradient being with the parameters."""


class Updater:
    """Takes the online network's steps, and lets the target network and the averaged one follow.

    Args:
        gradients: The learning rule.
        optimizer: Of the online network.
        target_network: Valued by the learning rule; a share `tau` of the online network is mixed in every
            `target_update_every` updates.
        averaged_network: Follows with a share of 1 / `average_updates` an update; None for no average.
        max_grad_norm: Euclidean norm that the gradient is clipped to; None leaves it.
    """

    def __init__(
        self,
        gradients: Gradients,
        optimizer: FlatAdam,
        online_network: nn.Module,
        target_network: nn.Module,
        averaged_network: nn.Module | None,
        *,
        max_grad_norm: float | None,
        target_update_every: int,
        tau: float,
        average_updates: int | None,
    ) -> None:
        self._gradients = gradients
        self._optimizer = optimizer
        self._online_network = online_network
        self._target_network = target_network
        self._averaged_network = averaged_network
        self._max_grad_norm = max_grad_norm
        self._target_update_every = target_update_every
        self._tau = tau
        self._average_updates = average_updates
        # In the order of the online network's, so that following it is one operation on flat tensors.
        self._flat_target = flatten_parameters(target_network.parameters())
        self._flat_average = None if averaged_network is None else flatten_parameters(averaged_network.parameters())
        layers = direct_layers(target_network)
        self._answer: Callable[[Tensor], Tensor] = target_network if layers is None else layers.answer
        self._captured: dict[int, CapturedRound] = {}

    def round(
        self,
        batch: Batch,
        updates: int,
        last_backward: Callable[[Tensor], None],
        last_step: Callable[[], Any] | None = None,
    ) -> Tensor:
        """Make one gradient update per minibatch of `batch` (M, B), after `updates` others.

        Returns:
            The temporal-difference errors (M, B).
        """
        # The Trainer cuts the gradients loose from the optimizer's flat tensor.
        self._optimizer.tie_gradients()
        count, every = len(batch.rewards), self._target_update_every
        td_errors = []
        gradients = self._clipped_gradients(batch, every - updates % every, every, last_backward)
        for number, td_error in enumerate(gradients, start=1):
            td_errors.append(td_error)
            (last_step if last_step and number == count else self._optimizer.step_directly)()
            if (updates + number) % every == 0:
                self._update_target()
        self._update_average(count)
        return torch.stack(td_errors)

    def captured_round(self, batch: Batch, updates: int, last_step: Callable[[], Any]) -> Tensor:
        """Do what `round` does, within float rounding, as one CUDA graph; `batch` is on the CPU.

        A graph does the same each time: what differs between rounds are numbers that it is given. The networks must
        have no buffers, and the learning rule no randomness.
        """
        count, every = len(batch.rewards), self._target_update_every
        inputs = {name: column for name, column in batch._asdict().items() if name in _COLUMNS and column is not None}
        target_shares = [self._tau if (updates + number) % every == 0 else 0.0 for number in range(1, count)]
        inputs["target_shares"] = torch.tensor(target_shares)
        inputs["learning_rate"] = torch.tensor(self._optimizer.param_groups[0]["lr"], dtype=torch.float32)
        self._optimizer.tie_gradients()
        if count not in self._captured:
            changed = [*self._optimizer.state_tensors, self._flat_target]
            self._captured[count] = CapturedRound(self._all_but_last_step, inputs, changed, self._flat_target.device)
        td_errors = self._captured[count](inputs)
        last_step()
        if (updates + count) % every == 0:
            self._update_target()
        self._update_average(count)
        return td_errors

    def _all_but_last_step(self, inputs: Mapping[str, Tensor]) -> Tensor:
        batch = Batch(**{name: inputs.get(name) for name in Batch._fields})
        td_errors = []
        # The target network may change with every update.
        for td_error in self._clipped_gradients(batch, 1, 1, torch.Tensor.backward):
            td_errors.append(td_error)
            if len(td_errors) < len(batch.rewards):
                self._optimizer.step_directly(inputs["learning_rate"])
                with torch.no_grad():
                    self._flat_target.lerp_(self._optimizer.flat, inputs["target_shares"][len(td_errors) - 1])
        return torch.stack(td_errors)

    def _clipped_gradients(
        self, batch: Batch, until_update: int, update_every: int, last_backward: Callable[[Tensor], None]
    ) -> Iterator[Tensor]:
        def answers(observations: Tensor) -> Iterator[Tensor]:
            return target_answers(self._answer, observations, until_update, update_every)

        for td_error in self._gradients(batch, answers, self._optimizer, last_backward):
            if self._max_grad_norm is not None:
                self._optimizer.clip_gradient(self._max_grad_norm)
            yield td_error

    @torch.no_grad()
    def _update_target(self) -> None:
        self._flat_target.lerp_(self._optimizer.flat, self._tau)
        for target, online in zip(self._target_network.buffers(), self._online_network.buffers(), strict=True):
            target.copy_(online)

    @torch.no_grad()
    def _update_average(self, updates: int) -> None:
        """Follow once a round, as if all its updates had led to its last weights.

        What a round changes is little beside what is averaged over.
        """
        if self._averaged_network is None or self._flat_average is None or self._average_updates is None:
            return
        share = 1.0 - (1.0 - 1.0 / self._average_updates) ** updates
        self._flat_average.lerp_(self._optimizer.flat, share)
        for average, online in zip(self._averaged_network.buffers(), self._online_network.buffers(), strict=True):
            average.copy_(online)
