"""Rounds of updates of a `QNetwork` on a CPU, in Rust (`rust/network`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acro.dqn.heads import MEAN_HEADS, ValueHead
from acro.dqn.learner import Learner
from acro.dqn.networks import QNetwork
from acro.dqn.optimizer import FlatAdam, flatten_parameters
from acro.dqn.rust_network import make_network, why_not_network
from acro.replay import Batch

# Methods of the learner that Rust replaces: an override of one must run, so Rust cannot.
_REPLACED = ("td_target", "loss", "clip", "follow", "average")


def why_not(learner: Learner) -> str | None:
    """Return why Rust cannot make the updates of `learner`; None if it can."""
    overridden = [
        name
        for name in _REPLACED
        if getattr(type(learner), name) is not getattr(Learner, name) or name in vars(learner)
    ]
    if overridden:
        return f"{type(learner).__name__} overrides {', '.join(overridden)}"
    if type(learner.head) not in MEAN_HEADS:
        return f"the head is a {type(learner.head).__name__}, neither a ValueHead nor a QuantileHead"
    if learner.munchausen_temperature is not None:
        return "munchausen_temperature is set"
    if not all(parameter.requires_grad for parameter in learner.q_network.parameters()):
        return "parameters of the network are frozen"
    return why_not_network(learner.q_network)


class RustRounds:
    """`Learner.learn` in Rust, in the memory of the torch tensors: nothing is copied."""

    def __init__(self, learner: Learner, optimizer: FlatAdam) -> None:
        assert isinstance(learner.q_network, QNetwork)
        self._learner = learner
        self._optimizer = optimizer
        self._network = make_network(learner.q_network)
        # In the same order as the online network's, so that an update of the target is one pass.
        self._target = flatten_parameters(learner.target_network.parameters()).numpy()
        average = learner.averaged_network
        self._average = None if average is None else flatten_parameters(average.parameters()).numpy()

    def __call__(self, batch: Batch, step: Callable[[], Any]) -> Tensor:
        """Make the updates of `batch` when `step` calls the optimizer; return the errors (M, B)."""
        (group,) = self._optimizer.param_groups
        if group["weight_decay"] or group["maximize"]:
            # Rust's Adam has neither.
            self._learner.rounds = None
            return self._learner.learn(batch, step=step)
        td_errors: list[NDArray[np.float32]] = []
        self._optimizer.round = lambda: td_errors.append(self._learn(batch))
        try:
            step()
        finally:
            self._optimizer.round = None
        return torch.from_numpy(td_errors[0])

    def _learn(self, batch: Batch) -> NDArray[np.float32]:
        learner, optimizer = self._learner, self._optimizer
        (group,), state = optimizer.param_groups, optimizer.state[optimizer.flat]
        td_errors, numbers = self._network.learn(
            optimizer.flat.detach().numpy(),
            state["exp_avg"].numpy(),
            state["exp_avg_sq"].numpy(),
            self._target,
            self._average,
            batch.obs.float().numpy(),
            batch.actions.numpy(),
            batch.rewards.numpy(),
            batch.next_obs.float().numpy(),
            batch.discounts.numpy(),
            None if batch.weights is None else batch.weights.numpy(),
            loss=learner.head.loss if isinstance(learner.head, ValueHead) else "quantile",
            double=learner.is_double,
            learning_rate=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            eps=group["eps"],
            adam_steps=int(state["step"]),
            max_grad_norm=learner.max_grad_norm,
            target_update_every=learner.target_update_every,
            tau=learner.tau,
            updates=learner.updates,
            average_updates=learner.average_updates,
        )
        state["step"] += len(td_errors)
        learner.updates += len(td_errors)
        learner.numbers = {
            "loss": numbers["loss"],
            "grad_norm": numbers["grad_norm"],
            "q_mean": numbers["mean_q"],
            "q_max": numbers["max_q"],
        }
        return td_errors
