"""Deep Q-learning (Mnih et al. 2015): the networks, the target, the loss, and the loop of updates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from acro.dqn.heads import MEAN_HEADS, Head, of_actions
from acro.dqn.munchausen import munchausen_target
from acro.dqn.noisy import NoisyLinear, reseed_noise
from acro.dqn.optimizer import FlatAdam
from acro.dqn.rust_network import RustActing
from acro.overrides import overridden
from acro.replay import Batch

Backward = Callable[[Tensor], Any]


class UpdateBackend(Protocol):
    """A faster implementation of `Learner.learn`."""

    def __call__(self, batch: Batch, step: Callable[[], Any]) -> Tensor | None:
        """Make a round's updates, call `step` once, and return the temporal-difference errors (M, B).

        `batch` may be on another device. None means that the updates cannot be made in this way, and nothing was done.
        """


class Learner(nn.Module):
    """Learns action values from rounds of minibatches; knows nothing of environments, Trainers or files.

    A *round* is a `Batch` with leading axes (M, B): M gradient updates on B transitions each. Set `optimizer` before
    the first one. To change the algorithm, override `td_target`, `loss` or `forward`; overrides are always respected.

    Args:
        network: The online network, from observations (B, ...) to the head's outputs, (B, A) or (B, A, N).
        head: What those outputs mean.
        double: The online network chooses the next action, the target network values it (van Hasselt et al. 2016).
        munchausen_temperature: Temperature of Munchausen targets (Vieillard et al. 2020); None leaves them out.
        max_grad_norm: Euclidean norm that the gradient is clipped to; None leaves it.
        target_update_every: Updates between updates of the target network.
        tau: Share of the online network that a target update takes; 1 copies it.
        average_updates: Updates that the averaged network's weights are averaged over; None for no average.
    """

    optimizer: Optimizer

    def __init__(
        self,
        network: nn.Module,
        head: Head,
        *,
        double: bool,
        munchausen_temperature: float | None,
        max_grad_norm: float | None,
        target_update_every: int,
        tau: float,
        average_updates: int | None,
    ) -> None:
        super().__init__()
        self.head = head
        self.q_network = network
        self.target_network: nn.Module = copy.deepcopy(network).requires_grad_(False)
        reseed_noise(self.target_network)
        self.averaged_network: nn.Module | None = (
            None if average_updates is None else copy.deepcopy(self.target_network)
        )
        self.is_double = double
        self.munchausen_temperature = munchausen_temperature
        self.max_grad_norm = max_grad_norm
        self.target_update_every = target_update_every
        self.tau = tau
        self.average_updates = average_updates
        self.updates = 0
        self.update_backend: UpdateBackend | None = None
        """A faster implementation of `learn`; None for the loop below."""
        self.statistics: dict[str, float | Tensor] = {}
        """`loss`, `grad_norm` before clipping, and the taken actions' `q_mean` and `q_max`, of the last minibatch.

        Instead of the last two it may hold the actions' values (B,) as `q`.
        """
        self._acting: dict[nn.Module, RustActing | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what refers to the memory of these tensors: a copy makes its own."""
        return {**self.__dict__, "update_backend": None, "_acting": {}}

    def forward(self, obs: Tensor) -> Tensor:
        """Return the action values (B, A) of observations (B, ...).

        In evaluation mode they are the averaged network's, if there is one.
        """
        return self.head.means(self.head.returns(self.acting_network(obs)))

    @property
    def acting_network(self) -> nn.Module:
        """The online network while training; in evaluation mode the averaged one, if there is one."""
        return self.q_network if self.training or self.averaged_network is None else self.averaged_network

    @property
    def _rust_acting(self) -> RustActing | None:
        if not self._can_act_in_rust():
            return None
        network = self.acting_network
        acting = self._acting.get(network)
        if acting is None or not acting.is_current():
            # Layers may have been replaced, or the optimizer has moved the parameters into its flat tensor.
            acting = self._acting[network] = RustActing.of(network)
        return acting

    def greedy_actions(self, obs: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return the actions of largest value, (N,), in observations (N, ...)."""
        fast = self._rust_acting
        if fast is not None:
            return fast(obs)
        device = next(self.parameters()).device
        if obs.dtype == np.float64:
            obs = obs.astype(np.float32)
        with torch.inference_mode():
            actions: Tensor = self(torch.from_numpy(obs).to(device)).argmax(dim=1)  # (N,)
        return actions.cpu().numpy()

    def _can_act_in_rust(self) -> bool:
        """Whether an action's value is the mean of its outputs, and `forward` is neither overridden nor has hooks."""
        return type(self.head) in MEAN_HEADS and not self._has_own_forward()

    def _has_own_forward(self) -> bool:
        return bool(self._forward_hooks or self._forward_pre_hooks or overridden(self, Learner, ["forward"]))

    # ---- acting elsewhere

    @property
    def row_by_row_actions(self) -> RustActing | None:
        """Greedy actions that do not depend, to the bit, on the other rows of the batch; None if this has none."""
        return None if overridden(self, Learner, ["greedy_actions"]) else self._rust_acting

    def make_policy(self) -> Learner:
        """Return a copy, for the CPU of another process, that acts as this one does while training.

        Raises:
            ValueError: A copy would act differently: the network is noisy, a method is overridden, or there are hooks.
        """
        own = overridden(self, Learner, ["forward", "greedy_actions", "acting_network"])
        if own or self._has_own_forward():
            what = f"overrides {' and '.join(own)}" if own else "has hooks"
            raise ValueError(f"{type(self).__name__} {what}, which collectors would not have; use collectors=0")
        if any(isinstance(module, NoisyLinear) for module in self.modules()):
            raise ValueError("a noisy network draws its noise for all environments at once; use collectors=0")
        policy = Learner(
            copy.deepcopy(self.q_network).cpu(),
            copy.deepcopy(self.head),
            double=False,
            munchausen_temperature=None,
            max_grad_norm=None,
            target_update_every=1,
            tau=1.0,
            average_updates=None,
        )
        return policy.requires_grad_(False)

    def weights_to_send(self) -> dict[str, NDArray[np.generic]]:
        """Return the weights by name, for `load_weights` of a policy."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.q_network.state_dict().items()}

    def load_weights(self, weights: dict[str, NDArray[np.generic]]) -> None:
        """Act with a copy of `weights` from now on."""
        with torch.no_grad():
            for name, tensor in self.q_network.state_dict().items():
                tensor.copy_(torch.tensor(weights[name]))

    # ---- the rule, for one minibatch

    @torch.no_grad()
    def td_target(self, batch: Batch) -> Tensor:
        """Return the head's rewards + discounts * next return, (B,) or (B, N), without gradient.

        `rewards` sum k steps; `discounts` are gamma**k, and 0 where the episode terminated.
        """
        head = self.head
        next_returns = head.returns(self.target_network(batch.next_obs))  # (B, A) or (B, A, N)
        if self.munchausen_temperature is not None:
            returns = head.returns(self.target_network(batch.obs))  # (B, A) or (B, A, N)
            return munchausen_target(head, self.munchausen_temperature, batch, returns, next_returns)
        chooser = head.returns(self.q_network(batch.next_obs)) if self.is_double else next_returns
        next_actions = head.means(chooser).argmax(dim=1)  # (B,)
        return head.target(batch.rewards, batch.discounts, of_actions(next_returns, next_actions))

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the minibatch's loss, a scalar, and its temporal-difference errors (B,) without gradient.

        A distributional head's errors are those of the expected returns.
        """
        head, td_target = self.head, self.td_target(batch)  # (B,) or (B, N)
        outputs = of_actions(self.q_network(batch.obs), batch.actions)  # (B,) or (B, N)
        losses = head.losses(outputs, td_target)  # (B,)
        loss = losses.mean() if batch.weights is None else (batch.weights * losses).mean()
        values = head.means(head.returns(outputs.detach()))  # (B,)
        # Computing their mean and maximum in every update would take more than 1% of its time.
        self.statistics["q"] = values
        return loss, head.means(td_target) - values

    # ---- a round of updates

    def learn(
        self, batch: Batch, *, backward: Backward = Tensor.backward, step: Callable[[], Any] | None = None
    ) -> Tensor:
        """Make one gradient update per minibatch of `batch`, whose columns are (M, B, ...).

        Args:
            batch: Tensors; M is at least 1.
            backward: Called with the last minibatch's loss in place of `Tensor.backward`.
            step: Called for the last step in place of `optimizer.step`.

        Returns:
            The temporal-difference errors (M, B).
        """
        step = self.optimizer.step if step is None else step
        if self.update_backend is not None:
            made = self.update_backend(batch, step)
            if made is not None:
                return made
        minibatches, td_errors = batch.to(next(self.parameters()).device).unbind(), []
        for minibatch in minibatches:
            is_last = minibatch is minibatches[-1]
            loss, td_error = self.loss(minibatch)  # (), (B,)
            self.optimizer.zero_grad()
            (backward if is_last else Tensor.backward)(loss)
            self.clip()
            (step if is_last else self.optimizer.step)()
            self.follow()
            td_errors.append(td_error)
        self.average(len(minibatches))
        self.statistics["loss"] = loss.detach()
        return torch.stack(td_errors)

    def clip(self) -> None:
        """Scale the gradient down to a Euclidean norm of at most `max_grad_norm` over all parameters."""
        if isinstance(self.optimizer, FlatAdam):
            self.optimizer.tie_gradients()
        if self.max_grad_norm is not None:
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            self.statistics["grad_norm"] = nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    def follow(self) -> None:
        """Count an update; every `target_update_every`, move the target network towards the online one."""
        self.updates += 1
        if self.updates % self.target_update_every == 0:
            _mix(self.target_network, self.q_network, self.tau)

    def average(self, updates: int) -> None:
        """Move the averaged network towards the online one, once a round, by the share of all its updates.

        This counts the round's last weights for each of its updates, which differ little.
        """
        if self.averaged_network is not None and self.average_updates is not None:
            _mix(self.averaged_network, self.q_network, 1.0 - (1.0 - 1.0 / self.average_updates) ** updates)


@torch.no_grad()
def _mix(follower: nn.Module, leader: nn.Module, share: float) -> None:
    for parameter, leading in zip(follower.parameters(), leader.parameters(), strict=True):
        parameter.lerp_(leading, share)
    for buffer, leading_buffer in zip(follower.buffers(), leader.buffers(), strict=True):
        buffer.copy_(leading_buffer)
