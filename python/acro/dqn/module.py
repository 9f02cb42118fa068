"""DQN (Mnih et al. 2015) as a LightningModule: targets, loss, updates and the evaluation hooks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from acro.dqn.gradients import (
    Answers,
    autograd_gradients,
    direct_gradients,
    direct_layers,
)
from acro.dqn.heads import LOSSES, make_head, of_actions, warn_of_narrow_support
from acro.dqn.learner import Updater
from acro.dqn.munchausen import munchausen_target
from acro.dqn.networks import QNetwork
from acro.dqn.noisy import reseed_noise
from acro.dqn.optimizer import FlatAdam
from acro.dqn.trainers import check_trainer
from acro.evaluation import Episodes, Evaluation, evaluate
from acro.replay import Batch
from acro.storage.checkpoints import FORMAT_KEY, FORMAT_VERSION

# What must be the same for a checkpoint to fit.
_SIZES = ("observation_size", "num_actions", "hidden", "dueling", "noisy", "head", "num_quantiles", "num_atoms")
# Under a categorical head, what its probabilities are of.
_SUPPORT = ("v_min", "v_max", "return_range")


class DQN(L.LightningModule):
    """Deep Q-learning from rounds of minibatches.

    `training_step` takes a `Batch` with leading axes (M, B) and makes M gradient updates. Everything is manual
    optimization; `global_step` counts rounds.

    Args:
        observation_size: Numbers in one observation.
        num_actions: Actions are the integers from 0 to `num_actions - 1`.
        hidden: Width of each hidden layer of the default network.
        dueling: State value and advantages apart (Wang et al. 2016).
        double: The online network chooses the next action, the target network values it (van Hasselt et al. 2016).
        learning_rate: Adam's, at the start.
        learning_rate_end: What it falls to, linearly; None keeps it constant.
        learning_rate_decay_updates: Gradient updates until `learning_rate_end` is reached.
        max_grad_norm: Euclidean norm that the gradient is clipped to; None leaves it.
        loss: "huber" (with its corner at 1) or "mse", of the value head's temporal-difference error.
        target_update_every: Gradient updates between updates of the target network.
        tau: Share of the online network that a target update takes; 1 copies it.
        noisy: Learned noise on the default network's weights while training (Fortunato et al. 2018), to explore with
            little epsilon or none.
        average_updates: Gradient updates that the weights are averaged over, each update's share falling
            exponentially, for what is evaluated, saved as the policy and played; None uses the last ones.
        head: "value" for expected returns, "quantile" for QR-DQN or "categorical" for C51.
        num_quantiles: Quantiles of the quantile head.
        num_atoms: Atoms of the categorical head.
        v_min: The categorical head's least return; None takes it from `return_range`.
        v_max: Its largest return, likewise.
        return_range: The least and the largest discounted return there can be, as `Experience.return_range` says.
        munchausen_temperature: Of Munchausen targets (0.03 in their paper), which `double` has no part in; None
            leaves them out.
        network: A module of one's own from observations (B, ...) to action values (B, num_actions), or to
            (B, num_actions, N) under a head of N numbers, used instead of `QNetwork`; give it to
            `load_from_checkpoint` too.
    """

    def __init__(
        self,
        observation_size: int,
        num_actions: int,
        hidden: Sequence[int] = (128, 128),
        *,
        dueling: bool = False,
        noisy: bool = False,
        double: bool = True,
        learning_rate: float = 1e-3,
        learning_rate_end: float | None = None,
        learning_rate_decay_updates: int = 0,
        max_grad_norm: float | None = 10.0,
        loss: Literal["huber", "mse"] = "huber",
        target_update_every: int = 100,
        tau: float = 1.0,
        average_updates: int | None = None,
        head: Literal["value", "quantile", "categorical"] = "value",
        num_quantiles: int = 32,
        num_atoms: int = 51,
        v_min: float | None = None,
        v_max: float | None = None,
        return_range: tuple[float, float] | None = None,
        munchausen_temperature: float | None = None,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        _check_positive(observation_size=observation_size, num_actions=num_actions, learning_rate=learning_rate)
        _check_positive(target_update_every=target_update_every, tau=tau)
        if tau > 1.0:
            raise ValueError(f"tau={tau}: it is a share of the online network, at most 1")
        if loss not in LOSSES:
            raise ValueError(f"loss={loss!r}: expected one of {sorted(LOSSES)}")
        if learning_rate_end is not None and learning_rate_decay_updates < 1:
            raise ValueError(f"learning_rate_end={learning_rate_end} needs learning_rate_decay_updates of at least 1")
        optional = {"average_updates": average_updates, "munchausen_temperature": munchausen_temperature}
        _check_positive(**{name: value for name, value in optional.items() if value is not None})
        self.save_hyperparameters(ignore=["network"])
        self.automatic_optimization = False
        support = _support(v_min, v_max, return_range) if head == "categorical" else None
        self.head = make_head(head, loss=loss, num_quantiles=num_quantiles, num_atoms=num_atoms, support=support)
        self.q_network: nn.Module = network or QNetwork(
            observation_size, num_actions, hidden, dueling=dueling, outputs_per_action=self.head.outputs, noisy=noisy
        )
        self.target_network: nn.Module = copy.deepcopy(self.q_network).requires_grad_(False)
        reseed_noise(self.target_network)
        self.averaged_network: nn.Module | None = (
            None if average_updates is None else copy.deepcopy(self.target_network)
        )
        self.munchausen_temperature = munchausen_temperature
        self.is_double = double
        self.updates = 0
        self.last_evaluation: Evaluation | None = None
        self.example_input_array = torch.zeros(1, observation_size)
        self._td_error_sum = 0.0
        self._rounds = 0

    def forward(self, obs: Tensor) -> Tensor:
        """Return the action values (B, num_actions) of observations (B, ...).

        In evaluation mode they are the averaged network's where there is one.
        """
        network = self.q_network if self.training or self.averaged_network is None else self.averaged_network
        return self.head.means(self.head.returns(network(obs)))

    # ---- the learning rule

    @torch.no_grad()
    def td_target(self, batch: Batch, target_outputs: Tensor | None = None) -> Tensor:
        """Return rewards + discounts * next return as the head says it, (B,) or (B, N), without gradient.

        `discounts` are gamma**k after the k steps that `rewards` sum, and 0 where the episode terminated.

        Args:
            batch: With columns (B, ...).
            target_outputs: The target network's (B, A) or (B, A, N) for `next_obs`, where they are known already.
        """
        if target_outputs is None:
            target_outputs = self.target_network(batch.next_obs)
        is_munchausen = self.munchausen_temperature is not None
        chooser_outputs = self.q_network(batch.next_obs) if self.is_double and not is_munchausen else None
        own_outputs = self.target_network(batch.obs) if is_munchausen else None
        return self._target_of_outputs(batch, target_outputs, chooser_outputs, own_outputs)

    def _target_of_outputs(
        self, batch: Batch, target_outputs: Tensor, chooser_outputs: Tensor | None, own_outputs: Tensor | None
    ) -> Tensor:
        """Return the target, given what it needs of the networks' outputs.

        Args:
            batch: With columns (B, ...).
            target_outputs: The target network's (B, A) or (B, A, N) for `next_obs`.
            chooser_outputs: The online network's, which choose the next action of a double target.
            own_outputs: The target network's for `obs`, which a Munchausen target needs.
        """
        head = self.head
        next_returns = head.returns(target_outputs)  # (B, A) or (B, A, N)
        if self.munchausen_temperature is not None and own_outputs is not None:
            terms = batch.actions, batch.rewards, batch.discounts
            return munchausen_target(head, self.munchausen_temperature, *terms, head.returns(own_outputs), next_returns)
        chooser_returns = next_returns if chooser_outputs is None else head.returns(chooser_outputs)
        next_actions = head.means(chooser_returns).argmax(dim=1)  # (B,)
        return head.target(batch.rewards, batch.discounts, of_actions(next_returns, next_actions))

    def loss(self, batch: Batch, target_outputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the minibatch's loss, a scalar, and its temporal-difference errors (B,) without gradient.

        A distributional head's error is that of the expected return. `target_outputs` are as in `td_target`.
        """
        head, td_target = self.head, self.td_target(batch, target_outputs)  # (B,) or (B, N)
        outputs = of_actions(self.q_network(batch.obs), batch.actions)  # (B,) or (B, N)
        losses = head.losses(outputs, td_target)  # (B,)
        loss = losses.mean() if batch.weights is None else (batch.weights * losses).mean()
        return loss, head.means(td_target) - head.means(head.returns(outputs.detach()))

    # ---- rounds of updates

    def setup(self, stage: str) -> None:
        """Refuse a Trainer that rounds of updates do not work under."""
        if stage != "fit":
            return
        check_trainer(self.trainer)
        hparams = self.hparams
        if hparams["head"] == "categorical" and hparams["return_range"] is not None:
            support = _support(hparams["v_min"], hparams["v_max"], hparams["return_range"])
            warn_of_narrow_support(support, hparams["return_range"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam over flat parameters, and the learning rate's schedule over `updates`."""
        hparams = self.hparams
        optimizer = FlatAdam(self.q_network.parameters(), lr=hparams["learning_rate"])
        self._layers = direct_layers(self.q_network)
        self._updater = Updater(
            self._gradients,
            optimizer,
            self.q_network,
            self.target_network,
            self.averaged_network,
            **{name: hparams[name] for name in ("max_grad_norm", "target_update_every", "tau", "average_updates")},
        )
        end, duration = hparams["learning_rate_end"], hparams["learning_rate_decay_updates"]
        end_factor = 1.0 if end is None else end / hparams["learning_rate"]

        def factor(_: int) -> float:
            return 1.0 + (end_factor - 1.0) * (min(self.updates / duration, 1.0) if duration else 0.0)

        return {"optimizer": optimizer, "lr_scheduler": LambdaLR(optimizer, factor)}

    def training_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Make one gradient update per minibatch of `batch`, whose columns are (M, B, ...)."""
        if len(batch.rewards) == 0:
            return
        # Lightning's wrapped pair costs as much as an update: it serves for the round's last one only, so that
        # `global_step` counts rounds and callbacks around the optimizer run once a round.
        wrapped = cast(LightningOptimizer, self.optimizers())
        if self._is_captured:
            td_errors = self._count(self._updater.captured_round(batch, self.updates, wrapped.step))
        else:
            on_device = Batch(*(None if column is None else column.to(self.device) for column in batch))
            td_errors = self.update(on_device, self.manual_backward, wrapped.step)
        cast(LambdaLR, self.lr_schedulers()).step()
        if batch.weights is not None:
            self._experience.update_priorities(batch.indices, td_errors)

    def update(
        self,
        batch: Batch,
        last_backward: Callable[[Tensor], None] = torch.Tensor.backward,
        last_step: Callable[[], Any] | None = None,
    ) -> Tensor:
        """Make one gradient update per minibatch; return all temporal-difference errors (M, B).

        `configure_optimizers` must have been called; without a Trainer, call it yourself.
        """
        return self._count(self._updater.round(batch, self.updates, last_backward, last_step))

    @property
    def _is_captured(self) -> bool:
        """Whether a round is one CUDA graph: on a GPU, with acro's own network and no noise from the CPU."""
        return self.device.type == "cuda" and self._layers is not None

    def _count(self, td_errors: Tensor) -> Tensor:
        self.updates += len(td_errors)
        # The mean of the last minibatch's absolute errors, in one operation.
        self._td_error_sum += torch.linalg.vector_norm(td_errors[-1], ord=1).item() / td_errors.shape[1]
        self._rounds += 1
        return td_errors

    def _gradients(
        self, batch: Batch, answers: Answers, optimizer: FlatAdam, last_backward: Callable[[Tensor], None]
    ) -> Iterator[Tensor]:
        if self._layers is None:
            return autograd_gradients(self.loss, batch, answers, optimizer, last_backward)
        is_munchausen = self.munchausen_temperature is not None
        return direct_gradients(
            self._layers,
            self.head,
            self._target_of_outputs,
            batch,
            answers,
            is_double=self.is_double and not is_munchausen,
            is_munchausen=is_munchausen,
        )

    def on_validation_model_zero_grad(self) -> None:
        """Leave the gradients: they are views of the optimizer's flat tensor."""

    # ---- evaluation: each item of the loader is a set of episodes to play

    def validation_step(self, episodes: Episodes, batch_idx: int = 0) -> None:
        """Play greedy episodes in environments of their own, and log them beside what training did since."""
        self.last_evaluation = evaluate(self, *episodes, device=self.device)
        self._log({**self.last_evaluation.metrics(), **self._training_metrics()})

    def test_step(self, episodes: Episodes, batch_idx: int = 0) -> None:
        """Play greedy episodes from starts that never served to choose a checkpoint."""
        self.last_evaluation = evaluate(self, *episodes, device=self.device)
        self._log(self.last_evaluation.metrics())

    def _training_metrics(self) -> dict[str, float]:
        metrics = {"epoch": float(self.current_epoch), "train/updates": float(self.updates)}
        if self._rounds:
            metrics["train/td_error"] = self._td_error_sum / self._rounds
        self._td_error_sum, self._rounds = 0.0, 0
        return metrics if self._experience is None else {**metrics, **self._experience.metrics()}

    def _log(self, metrics: dict[str, float]) -> None:
        self.log_dict(metrics, batch_size=1)

    @property
    def _experience(self) -> Any:
        """The trainer's data module; None where batches come from a plain loader."""
        return getattr(self.trainer, "datamodule", None)

    # ---- checkpoints

    def check_resumable(self, checkpoint: dict[str, Any]) -> None:
        """Check that training can continue from `checkpoint` with this network.

        Raises:
            ValueError: The checkpoint's network has other sizes.
        """
        found, here = checkpoint["hyper_parameters"], self.hparams
        names = _SIZES + _SUPPORT if here["head"] == "categorical" else _SIZES
        differing = [
            f"{name} is {found[name]!r} in it, {here[name]!r} here" for name in names if found[name] != here[name]
        ]
        if (found["average_updates"] is None) != (here["average_updates"] is None):
            differing.append(f"average_updates is {found['average_updates']} in it, {here['average_updates']} here")
        if differing:
            raise ValueError(f"cannot continue from this checkpoint with another network: {'; '.join(differing)}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counters that are no parameters; leave the memory out of files of weights only."""
        if "optimizer_states" not in checkpoint and self._experience is not None:
            checkpoint.pop(type(self._experience).__qualname__, None)
        checkpoint[FORMAT_KEY] = FORMAT_VERSION
        checkpoint["dqn"] = {"updates": self.updates, "td_error_sum": self._td_error_sum, "rounds": self._rounds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the counters."""
        counters = checkpoint["dqn"]
        self.updates, self._td_error_sum, self._rounds = (
            counters["updates"],
            counters["td_error_sum"],
            counters["rounds"],
        )


def _support(v_min: float | None, v_max: float | None, return_range: tuple[float, float] | None) -> tuple[float, float]:
    if return_range is None and (v_min is None or v_max is None):
        raise ValueError("head='categorical' needs v_min and v_max, or a return_range such as Experience.return_range")
    low, high = (0.0, 0.0) if return_range is None else return_range
    return (low if v_min is None else v_min, high if v_max is None else v_max)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}={value}: it must be above 0")
