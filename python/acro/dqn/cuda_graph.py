"""Rounds of updates as CUDA graphs: for small networks, launching a kernel takes longer than running it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from acro.dqn.optimizer import FlatAdam, restore_views
from acro.overrides import has_gradient_hooks, has_module_hooks
from acro.replay import Batch

if TYPE_CHECKING:
    from acro.dqn.learner import Learner

# The columns of a batch that the learning rule reads.
_COLUMNS = ("obs", "actions", "rewards", "next_obs", "discounts", "weights")
# Libraries initialise themselves in their first calls, which cannot be captured.
_WARM_UP_ROUNDS = 3


class CapturedRound(NamedTuple):
    """A CUDA graph with the tensors that it reads and those that it writes."""

    inputs: dict[str, Tensor]
    graph: torch.cuda.CUDAGraph
    td_errors: Tensor
    statistics: dict[str, float | Tensor]


@contextmanager
def _in_one_order() -> Iterator[None]:
    """Make cuDNN sum a convolution's gradients in the same order every time, so that rounds can be compared."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


class CudaGraphUpdates:
    """`Learner.learn` except its last step, as one CUDA graph for each number of minibatches.

    A graph repeats the same kernels, so what differs between rounds (the learning rate, whether the target network is
    updated) is an input. The first round of each size is also computed without a graph. If the two differ, or if no
    graph can be made, training continues without graphs and a warning says so.
    """

    def __init__(self, learner: Learner, optimizer: FlatAdam) -> None:
        self._learner = learner
        self._optimizer = optimizer
        self._graphs: dict[int, CapturedRound] = {}
        self._settings = self._find_settings()
        self._has_failed = False

    def _find_settings(self) -> tuple[object, ...]:
        """Return what a graph has of the optimizer's settings."""
        (group,) = self._optimizer.param_groups
        return tuple(group[name] for name in ("betas", "eps", "weight_decay", "maximize"))

    def __call__(self, batch: Batch, step: Callable[[], Any]) -> Tensor | None:
        """Make the updates of `batch`, which may be anywhere; the next round overwrites the returned tensor.

        None if no graph can be made, or if one would not do what the settings and the hooks say by now: a graph has no
        Python code in it.
        """
        is_frozen = not all(parameter.requires_grad for parameter in self._optimizer.parameters)
        networks = (self._learner.q_network, self._learner.target_network)
        is_watched = any(has_module_hooks(network) or has_gradient_hooks(network) for network in networks)
        if self._has_failed or is_frozen or is_watched or self._find_settings() != self._settings:
            return None
        restore_views(self._optimizer.flat.detach(), self._optimizer.parameters)
        learner, count = self._learner, len(batch.rewards)
        inputs = round_inputs(learner, self._optimizer, batch)
        if count not in self._graphs:
            try:
                self._graphs[count] = self._capture(inputs)
            except RuntimeError as error:
                reason = str(error).split("\n", 1)[0]
                warnings.warn(f"cuda_graph=True: rounds go on without a CUDA graph, {reason}", stacklevel=2)
                self._has_failed = True
                return None
        captured = self._graphs[count]
        _fill(captured.inputs, inputs)
        captured.graph.replay()
        learner.statistics = dict(captured.statistics)
        learner.updates += count - 1
        step()
        learner.follow()
        learner.average(count)
        return captured.td_errors

    @_in_one_order()
    def _capture(self, inputs: Mapping[str, Tensor]) -> CapturedRound:
        """Return a graph that was compared with a round without one; weights and optimizer stay as they are."""
        device = self._optimizer.flat.device
        # Graphs of other sizes write into the tensors of theirs.
        self._learner.statistics = {}
        # A copy also of a batch that is on the device: rounds overwrite it.
        static = {name: value.to(device, copy=True) for name, value in inputs.items()}
        optimizer = self._optimizer
        changed = [optimizer.flat, optimizer.flat_grad, *optimizer.state[optimizer.flat].values()]
        changed += self._learner.target_network.parameters()
        before = [tensor.detach().clone() for tensor in changed]

        def restore() -> None:
            with torch.no_grad():
                for tensor, value in zip(changed, before, strict=True):
                    tensor.copy_(value)

        try:
            current = torch.cuda.current_stream(device)
            stream = torch.cuda.Stream(device)
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_ROUNDS):
                    restore()
                    expected = [plain_round(self._learner, self._optimizer, static).clone()]
            current.wait_stream(stream)
            expected += [tensor.detach().clone() for tensor in changed]
            restore()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                td_errors = plain_round(self._learner, self._optimizer, static)
            graph.replay()
            for found, value in zip([td_errors, *changed], expected, strict=True):
                if not torch.allclose(found, value, rtol=1e-3, atol=1e-5):
                    raise RuntimeError("which differs from a round without one")
        finally:
            restore()
        return CapturedRound(static, graph, td_errors, dict(self._learner.statistics))


def _fill(inputs: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy `values`, which may change afterwards, to where a graph reads them."""
    for name, tensor in inputs.items():
        tensor.copy_(values[name])


def round_inputs(learner: Learner, optimizer: FlatAdam, batch: Batch) -> dict[str, Tensor]:
    """Return what differs between rounds: the columns, the learning rate, and the target network's shares (M - 1,)."""
    inputs = {name: column for name, column in batch._asdict().items() if name in _COLUMNS and column is not None}
    every, count = learner.target_update_every, len(batch.rewards)
    shares = [learner.tau if (learner.updates + number) % every == 0 else 0.0 for number in range(1, count)]
    learning_rate = torch.tensor(optimizer.param_groups[0]["lr"], dtype=torch.float32)
    return {**inputs, "target_shares": torch.tensor(shares), "learning_rate": learning_rate}


def plain_round(learner: Learner, optimizer: FlatAdam, inputs: Mapping[str, Tensor]) -> Tensor:
    """Do a round except its last step, without waiting for the device; return the errors (M, B)."""
    batch = Batch(**{name: inputs.get(name) for name in Batch._fields})
    td_errors: list[Tensor] = []
    for number, minibatch in enumerate(batch.unbind()):
        if number > 0:
            optimizer.step_by(inputs["learning_rate"])
            share = inputs["target_shares"][number - 1]
            with torch.no_grad():
                for own, other in zip(learner.target_network.parameters(), learner.q_network.parameters(), strict=True):
                    own.lerp_(other, share)
        loss, td_error = learner.loss(minibatch)  # (), (B,)
        optimizer.zero_grad()
        loss.backward()
        learner.clip()
        td_errors.append(td_error)
    learner.statistics["loss"] = loss.detach()
    return torch.stack(td_errors)
