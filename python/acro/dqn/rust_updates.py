"""The updates of a `QNetwork` on a CPU, in Rust (`rust/network`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acro.dqn.heads import MEAN_HEADS, ValueHead
from acro.dqn.learner import Learner
from acro.dqn.networks import QNetwork
from acro.dqn.optimizer import FlatAdam, flatten_parameters, restore_views
from acro.dqn.rust_network import Layers, make_network, why_not_network
from acro.overrides import has_gradient_hooks, overridden
from acro.replay import Batch

# Methods of the learner that Rust replaces: an override of one must run, so Rust cannot.
_REPLACED = ("td_target", "loss", "clip", "follow", "average")


def why_not_rust(learner: Learner) -> str | None:
    """Return why Rust cannot make the updates of `learner`; None if it can."""
    if own := overridden(learner, Learner, _REPLACED):
        return f"{type(learner).__name__} overrides {', '.join(own)}"
    kind = type(learner.head)
    if kind not in MEAN_HEADS:
        return f"the head is a {kind.__name__}, neither a ValueHead nor a QuantileHead"
    if _has_other_head(learner):
        return "a method of the head was replaced"
    if learner.munchausen_temperature is not None:
        return "munchausen_temperature is set"
    if not all(parameter.requires_grad for parameter in learner.q_network.parameters()):
        return "parameters of the network are frozen"
    if has_gradient_hooks(learner.q_network):
        return "parameters of the network have hooks"
    for name in ("target_network", "averaged_network"):
        network = getattr(learner, name)
        if network is not None and (reason := why_not_network(network)) is not None:
            return f"{reason}, in the {name}"
    return why_not_network(learner.q_network)


def _has_other_head(learner: Learner) -> bool:
    return bool(overridden(learner.head, type(learner.head), ("returns", "means", "target", "losses")))


class FlatFollower:
    """The weights of a network that follows the online one, as a flat array."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._parameters = list(network.parameters())
        self._flat = flatten_parameters(self._parameters)
        self._weights = self._flat.numpy()

    def weights(self) -> NDArray[np.float32]:
        """Return all parameters, which are views of the array."""
        restore_views(self._flat, self._parameters)
        return self._weights


class RustUpdates:
    """`Learner.learn` in Rust, in the memory of the torch tensors: nothing is copied."""

    def __init__(self, learner: Learner, optimizer: FlatAdam) -> None:
        assert isinstance(learner.q_network, QNetwork)
        self._learner = learner
        self._optimizer = optimizer
        self._network = make_network(learner.q_network)
        networks = (learner.q_network, learner.target_network, learner.averaged_network)
        self._layers = [Layers(network) for network in networks if network is not None]
        # In the same order as the online network's, so that an update of the target is one pass.
        self._target = FlatFollower(learner.target_network)
        self._average = None if learner.averaged_network is None else FlatFollower(learner.averaged_network)

    def __call__(self, batch: Batch, step: Callable[[], Any]) -> Tensor | None:
        """Make the updates of `batch` and return the errors (M, B); None if Rust cannot make them now."""
        (group,) = self._optimizer.param_groups
        # Rust's Adam has neither.
        if group["weight_decay"] or group["maximize"] or not all(layers.are_unchanged() for layers in self._layers):
            return None
        if not all(parameter.requires_grad for parameter in self._optimizer.parameters):
            return None
        optimizer: Any = self._optimizer
        if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
            return None
        if has_gradient_hooks(self._learner.q_network) or _has_other_head(self._learner):
            return None
        average = None if self._average is None else self._average.network
        if (self._learner.target_network, self._learner.averaged_network) != (self._target.network, average):
            return None
        td_errors = torch.from_numpy(self._learn(batch))
        self._optimizer.is_stepped = True
        try:
            step()
        finally:
            self._optimizer.is_stepped = False
        return td_errors

    def _learn(self, batch: Batch) -> NDArray[np.float32]:
        learner, optimizer = self._learner, self._optimizer
        (group,), state = optimizer.param_groups, optimizer.state[optimizer.flat]
        restore_views(optimizer.flat.detach(), optimizer.parameters)
        td_errors, statistics = self._network.learn(
            optimizer.flat.detach().numpy(),
            state["exp_avg"].numpy(),
            state["exp_avg_sq"].numpy(),
            self._target.weights(),
            None if self._average is None else self._average.weights(),
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
        learner.statistics = {**statistics}
        return td_errors
