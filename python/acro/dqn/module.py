"""DQN as a LightningModule: settings, hooks, logging and checkpoints around the `Learner`."""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import lightning as L
import numpy as np
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from acro.dqn.backends import make_cuda_graph, takes_rust
from acro.dqn.convolution import ConvQNetwork, make_network
from acro.dqn.heads import Head, make_head, support_of, warn_of_narrow_support
from acro.dqn.learner import Learner
from acro.dqn.networks import QNetwork, check_network
from acro.dqn.optimizer import FlatAdam
from acro.dqn.rust_updates import RustUpdates
from acro.dqn.settings import check_observations, check_same_network, check_same_support, check_settings
from acro.dqn.trainers import (
    check_hooks,
    check_hooks_were_called,
    check_optimizer,
    check_trainer,
)
from acro.evaluation import Episodes, Evaluation, evaluate, evaluating
from acro.overrides import overridden
from acro.replay import Batch
from acro.storage.checkpoints import FORMAT_KEY, FORMAT_VERSION

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class ExperienceSource(Protocol):
    """What the module calls of the Trainer's data module; `Experience.check_resumable` only if it has that."""

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log, by name; "step" is the number of environment steps."""

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        """Set the priorities of the sampled transitions from their temporal-difference errors."""


class DQN(Learner, L.LightningModule):
    """Deep Q-learning from rounds of minibatches, under Lightning's Trainer.

    `training_step` takes a `Batch` with leading axes (M, B) and makes M gradient updates. Optimization is manual, and
    `global_step` counts rounds. Lightning's hooks around the backward pass and the optimizer run once a round, for its
    last update. If the module or a callback has such hooks, the torch back end trains, where they see gradients.

    Args:
        observation_size: Numbers in one observation.
        num_actions: Actions are the integers from 0 to `num_actions - 1`.
        hidden: Width of each hidden layer of the default network: `QNetwork`, or `ConvQNetwork` for pictures.
        convolutions: Channels, kernel and stride of each convolution before them; None for the published ones if
            observations are pictures (by `observation_shape`), else none. An empty list has none for pictures either.
        dueling: State value and advantages apart (Wang et al. 2016).
        double: The online network chooses the next action, the target network values it (van Hasselt et al. 2016).
        learning_rate: Adam's learning rate, at the start.
        learning_rate_end: Its final value, after a linear decay; None keeps it constant.
        learning_rate_decay_updates: Gradient updates until `learning_rate_end` is reached.
        max_grad_norm: Euclidean norm that the gradient is clipped to; None for no clipping.
        loss: "huber" (threshold 1) or "mse", of the value head's temporal-difference error.
        target_update_every: Gradient updates between updates of the target network.
        tau: Weight of the online network in an update of the target network; 1 copies it.
        noisy: Learned noise on the default network's weights while training (Fortunato et al. 2018), for exploration
            with a small epsilon or none.
        layer_norm: Layer normalisation before each ReLU of the default network (Gallici et al. 2024).
        average_updates: Gradient updates that an exponential average of the weights extends over; the averaged
            weights are evaluated, saved as the policy and played. None uses the last weights.
        head: "value" for expected returns, "quantile" for QR-DQN, "categorical" for C51, or a `Head` of one's own.
        num_quantiles: Quantiles of the quantile head.
        num_atoms: Atoms of the categorical head.
        v_min: The categorical head's least return; None takes it from `return_range`.
        v_max: Its largest return; None takes it from `return_range`.
        return_range: Bounds of the discounted return, as `Experience.return_range` gives them.
        munchausen_temperature: Temperature of Munchausen targets (0.03 in their paper), which `double` does not
            affect; None for ordinary targets.
        backend: What makes the updates: "rust" for `QNetwork` on a CPU, "torch" for any network, head and device.
            "auto" takes Rust if it computes the same and nothing that it replaces is overridden.
        cuda_graph: On a GPU, make each round one CUDA graph; it is first compared with an eager round.
        optimizer: Function from parameters to an optimizer that replaces Adam and has its own learning rate.
        network: A module of your own that replaces acro's network, from observations (B, ...) to action values
            (B, num_actions), or to (B, num_actions, N) for a head of N numbers; give it to `load_from_checkpoint` too.
        observation_shape: Shape of one observation if it has several axes; None for (observation_size,).
        observation_dtype: Dtype of the observations; `ConvQNetwork` scales uint8 to [0, 1].
        seed: The default network's initial weights derive from it, not from torch's global random state.

    Raises:
        ValueError: A number is out of its range, or `network` does not fit.
        TypeError: `network` is not a module.

    Example:
        >>> experience = Experience("CartPole-v1")
        >>> dqn = DQN(experience.observation_size, experience.num_actions, hidden=(64, 64))
        >>> L.Trainer(accelerator="cpu", max_epochs=20).fit(dqn, experience)
    """

    def __init__(
        self,
        observation_size: int,
        num_actions: int,
        hidden: Sequence[int] = (128, 128),
        *,
        convolutions: list[tuple[int, int, int]] | None = None,
        dueling: bool = False,
        noisy: bool = False,
        layer_norm: bool = False,
        double: bool = True,
        learning_rate: float = 1e-3,
        learning_rate_end: float | None = None,
        learning_rate_decay_updates: int = 0,
        max_grad_norm: float | None = 10.0,
        loss: Literal["huber", "mse"] = "huber",
        target_update_every: int = 100,
        tau: float = 1.0,
        average_updates: int | None = None,
        head: Literal["value", "quantile", "categorical"] | Head = "value",
        num_quantiles: int = 32,
        num_atoms: int = 51,
        v_min: float | None = None,
        v_max: float | None = None,
        return_range: tuple[float, float] | None = None,
        munchausen_temperature: float | None = None,
        backend: Literal["auto", "torch", "rust"] = "auto",
        cuda_graph: bool = False,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        network: nn.Module | None = None,
        observation_shape: Sequence[int] | None = None,
        observation_dtype: str = "float32",
        seed: int = 0,
    ) -> None:
        check_settings(locals())
        support = support_of(v_min, v_max, return_range) if head == "categorical" else None
        made_head: Head = (
            make_head(head, loss=loss, num_quantiles=num_quantiles, num_atoms=num_atoms, support=support)
            if isinstance(head, str)
            else head
        )
        shape = (observation_size,) if observation_shape is None else tuple(observation_shape)
        if math.prod(shape) != observation_size:
            raise ValueError(f"observation_shape must have {observation_size} numbers in all, got {shape}")
        example = torch.zeros(1, *shape, dtype=getattr(torch, observation_dtype))
        if network is not None:
            check_network(network, example, num_actions, made_head.outputs)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds GPUs too.
            torch.default_generator.manual_seed(int(seed))
            super().__init__(
                make_network(
                    shape,
                    observation_dtype,
                    num_actions,
                    hidden,
                    convolutions,
                    dueling=dueling,
                    outputs_per_action=made_head.outputs,
                    noisy=noisy,
                    layer_norm=layer_norm,
                )
                if network is None
                else network,
                made_head,
                double=double,
                munchausen_temperature=munchausen_temperature,
                max_grad_norm=max_grad_norm,
                target_update_every=target_update_every,
                tau=tau,
                average_updates=average_updates,
            )
        self.save_hyperparameters(ignore=["network", "optimizer", "seed", *([] if isinstance(head, str) else ["head"])])
        self.automatic_optimization = False
        self.num_actions = num_actions
        self.observation_shape = shape
        self.backend = backend
        self.cuda_graph = cuda_graph
        self.learning_rate = learning_rate
        self.learning_rate_end = learning_rate_end
        self.learning_rate_decay_updates = learning_rate_decay_updates
        self.return_range = return_range
        self.support = support
        self.last_evaluation: Evaluation | None = None
        self.example_input_array = example
        self._make_optimizer = optimizer
        self._td_error_sum = 0.0
        self._rounds_since_log = 0
        self._schedule: LambdaLR | None = None
        self._has_other_rate = False
        self._first_epoch = 0
        self._is_set_up = self._is_loaded = self._is_started = False
        self._takes_rust()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the Trainer, as Lightning does, and the schedule, which cannot be pickled and belongs to a run."""
        return {**super().__getstate__(), "_trainer": None, "_schedule": None}

    def act(
        self, obs: ArrayLike, epsilon: float = 0.0, generator: np.random.Generator | None = None
    ) -> int | NDArray[np.int64]:
        """Return the greedy action of one observation as an int, or those of several (N, ...) as an array (N,).

        They are those of the policy that is evaluated, also while training: the averaged weights if there are any.

        Args:
            obs: One observation of the network's shape, or several.
            epsilon: Probability of a uniformly random action instead.
            generator: Where random actions come from; None for a fresh one.

        Raises:
            ValueError: The observations have another shape, are not finite or are not values of a whole
                `observation_dtype`; or epsilon is not a probability.
        """
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon must be from 0 to 1, got {epsilon}")
        shape = self.observation_shape
        array = np.asarray(obs)
        rows = array[np.newaxis] if array.shape == shape else array
        if rows.shape[1:] != shape:
            raise ValueError(f"obs must have shape {shape}, or (N, {str(shape)[1:]} for several, got {array.shape}")
        if not np.isfinite(rows).all():
            raise ValueError(f"obs must be finite, got {reprlib.repr(obs)}")
        dtype = np.dtype(self.hparams["observation_dtype"])
        if dtype.kind != "f" and rows.dtype != dtype:
            # A list, for example; the network treats bytes and floats differently.
            given, rows = rows, rows.astype(dtype)
            if not np.array_equal(given, rows):
                raise ValueError(f"obs must have values of {dtype}, got {reprlib.repr(obs)}")
        with evaluating(self):
            actions = self.greedy_actions(rows)
        if epsilon > 0.0:
            generator = generator or np.random.default_rng()
            explores = generator.random(len(actions)) < epsilon
            actions[explores] = generator.integers(self.num_actions, size=explores.sum())
        return int(actions[0]) if array.shape == shape else actions

    # ---- rounds of updates

    def configure_callbacks(self) -> list[L.Callback]:
        """Check the Trainer before Lightning sets it up; add no callback."""
        if self.trainer.state.fn == "fit":
            check_trainer(self.trainer)
        return []

    def setup(self, stage: str) -> None:
        """Check the hooks and the sizes of the Experience before training; log what would be faster."""
        if stage != "fit":
            return
        if self._compiler_ctx is not None:
            raise ValueError("DQN cannot be compiled: compile its network instead, network=torch.compile(network)")
        if not self.training:
            # A loaded policy is in evaluation mode, where the averaged weights act; Lightning keeps the mode.
            self.train()
        check_hooks(self)
        # A subclass may override `configure_callbacks`.
        check_trainer(self.trainer)
        sizes = {name: self.hparams[name] for name in ("observation_size", "num_actions", "observation_dtype")}
        check_observations(self._experience, self.q_network, **sizes, observation_shape=self.observation_shape)
        self._is_set_up, self._is_started = True, False
        is_own = not isinstance(self.q_network, (QNetwork, ConvQNetwork))
        if unused := [name for name in ("noisy", "dueling", "layer_norm") if is_own and self.hparams[name]]:
            logger.info("%s: no effect on a network of your own", ", ".join(unused))
        is_slowed_by_threads = not self._takes_rust() and not isinstance(self.q_network, ConvQNetwork)
        if is_slowed_by_threads and self.device.type == "cpu" and torch.get_num_threads() > 1:
            logger.info(
                "torch uses %d threads; for small networks one is fastest: torch.set_num_threads(1)",
                torch.get_num_threads(),
            )
        if self.support is not None and self.return_range is not None:
            warn_of_narrow_support(self.support, self.return_range)
        if self.support is not None and self.munchausen_temperature is not None and self.hparams["v_min"] is None:
            logger.warning(
                "v_min=%g is the environment's, and Munchausen targets may be lower: give a lower one", self.support[0]
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam over flat parameters, with a schedule of the learning rate by `updates`; or the given optimizer.

        Override this for any other; torch makes the updates then.
        """
        if self._make_optimizer is not None:
            self.optimizer = self._make_optimizer(self.q_network.parameters())
            logger.info(
                "learning_rate is not used: the given optimizer's own is %g", self.optimizer.param_groups[0]["lr"]
            )
            return self.optimizer
        self.optimizer = optimizer = FlatAdam(self.q_network.parameters(), lr=self.learning_rate)
        self.update_backend = None
        if self.cuda_graph:
            self.update_backend = make_cuda_graph(self, optimizer, self._trainer)
        elif self._takes_rust():
            self.update_backend = RustUpdates(self, optimizer)
        end, duration = self.learning_rate_end, self.learning_rate_decay_updates
        if end is None or not duration:
            return {"optimizer": optimizer}

        def factor(_: int) -> float:
            return 1.0 + (end / self.learning_rate - 1.0) * min(self.updates / duration, 1.0)

        self._schedule = LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Use the Trainer's optimizer; give it the learning rate of this module if the checkpoint's was another."""
        self._is_started = True
        self._adopt_optimizer()
        self._first_epoch = 0 if self.trainer.ckpt_path else self.current_epoch
        if self._has_other_rate and isinstance(self.optimizer, FlatAdam):
            rate = self.learning_rate
            if self._schedule is not None:
                self._schedule.base_lrs = [rate]
                rate *= self._schedule.lr_lambdas[0](0)
            self.optimizer.param_groups[0]["lr"] = rate

    def _adopt_optimizer(self) -> LightningOptimizer:
        """Return the Trainer's optimizer; if a subclass or a callback has replaced acro's, use that one."""
        wrapped = self.optimizers()
        if not isinstance(wrapped, LightningOptimizer):
            raise ValueError(f"configure_optimizers must return one optimizer for DQN's updates, got {wrapped}")
        if wrapped.optimizer is not vars(self).get("optimizer"):
            self.optimizer, self.update_backend = wrapped.optimizer, None
            self._schedule = None
        return wrapped

    def training_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Make one gradient update per minibatch of `batch`, whose columns are (M, B, ...).

        Raises:
            FloatingPointError: The temporal-difference errors are not finite.
        """
        called = {"setup": self._is_set_up, "on_load_checkpoint": self._is_loaded, "on_train_start": self._is_started}
        check_hooks_were_called(self, called)
        number = self.trainer.fit_loop.epoch_loop.batch_idx
        if number == 0:
            # Layers may have been replaced since the last epoch.
            check_optimizer(self, self.optimizer, is_stepped_here=not overridden(self, DQN, ["training_step"]))
            if self.current_epoch > self._first_epoch:
                self._step_schedulers("epoch", self.current_epoch)
        if len(batch.rewards) == 0:
            return
        # Lightning's wrapped optimizer takes as long as an update, so it makes only a round's last step.
        wrapped = self._adopt_optimizer()
        if self.update_backend is None:
            batch = batch.to(self.device)
        if batch.obs.dtype == torch.float64:
            batch = batch._replace(obs=batch.obs.float(), next_obs=batch.next_obs.float())
        td_errors = self.learn(batch, backward=self.manual_backward, step=wrapped.step)
        self._step_schedulers("step", number + 1)
        self._watch(td_errors)
        if batch.weights is not None and self._experience is not None:
            self._experience.update_priorities(batch.indices, td_errors)

    def _step_schedulers(self, interval: str, count: int) -> None:
        """Step the schedulers with this `interval` as Lightning does by itself elsewhere; a step is a round."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            is_due = config.interval == interval and count % config.frequency == 0
            if is_due and not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Refuse a loss that `training_step` of a subclass returned if nothing was updated."""
        if "loss" not in (outputs or {}) or self.automatic_optimization:
            return
        steps = (state.get("step", 1) for state in self.optimizer.state.values())
        if self.updates == 0 and self.trainer.global_step == 0 and not any(float(step) > 0 for step in steps):
            raise ValueError(
                f"{type(self).__name__}.training_step returned a loss, which is not used: DQN makes its own updates; "
                "override loss instead, or make the updates in training_step and return None"
            )

    def _watch(self, td_errors: Tensor) -> None:
        # A sum of squares is finite only if every term is. Reading one number a round from the device is cheap.
        if not torch.linalg.vector_norm(td_errors).isfinite():
            raise FloatingPointError(
                f"the temporal-difference errors are not finite after {self.updates} updates: a reward, an "
                "observation or a weight is NaN or infinite; a lower learning_rate or max_grad_norm may help"
            )
        # The mean absolute error of the last minibatch.
        self._td_error_sum += torch.linalg.vector_norm(td_errors[-1], ord=1).item() / td_errors.shape[1]
        self._rounds_since_log += 1

    def _takes_rust(self) -> bool:
        return takes_rust(self, self.backend, self._trainer, has_given_optimizer=self._make_optimizer is not None)

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients, which are views of the optimizer's flat tensor."""

    # ---- evaluation: the loader's items are sets of episodes to play

    def validation_step(self, episodes: Episodes, batch_idx: int = 0) -> None:
        """Play greedy episodes, and log them with the training metrics since the last evaluation."""
        self.last_evaluation = evaluate(self, *episodes)
        metrics = self.last_evaluation.metrics("eval")
        # Lightning's progress bar shows it.
        self.log("eval/return", metrics.pop("eval/return"), prog_bar=True, batch_size=1)
        self.log_dict({**metrics, **self._training_metrics()}, batch_size=1)

    def test_step(self, episodes: Episodes, batch_idx: int = 0) -> None:
        """Play greedy episodes from held-out starts, which are not used for model selection."""
        self.last_evaluation = evaluate(self, *episodes)
        trained = {} if self._experience is None else self._experience.metrics()
        # Loggers use "step" as the x axis.
        step = {name: value for name, value in trained.items() if name == "step"}
        self.log_dict({**self.last_evaluation.metrics("test"), **step}, batch_size=1)

    def _training_metrics(self) -> dict[str, float]:
        metrics = {"epoch": float(self.current_epoch), "train/updates": float(self.updates)}
        if self._rounds_since_log:
            metrics["train/td_error"] = self._td_error_sum / self._rounds_since_log
            metrics["train/learning_rate"] = self.optimizer.param_groups[0]["lr"]
            statistics = dict(self.statistics)
            if isinstance(q := statistics.pop("q", None), Tensor):
                statistics |= {"q_mean": q.mean(), "q_max": q.max()}
            metrics |= {f"train/{name}": float(value) for name, value in statistics.items()}
        self._td_error_sum, self._rounds_since_log = 0.0, 0
        return metrics if self._experience is None else {**metrics, **self._experience.metrics()}

    @property
    def _experience(self) -> ExperienceSource | None:
        """The Trainer's `Experience`; None if batches come from anything else."""
        found = getattr(self.trainer, "datamodule", None)
        return found if hasattr(found, "metrics") else None

    # ---- checkpoints

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Self:
        """Do what Lightning's method does, and return the module in evaluation mode, ready to act."""
        return super().load_from_checkpoint(*args, **kwargs).eval()

    def check_resumable(self, checkpoint: dict[str, Any]) -> None:
        """Check that training can continue from `checkpoint` with this network.

        Raises:
            ValueError: The checkpoint's network has other sizes.
        """
        check_same_network(checkpoint.get("hyper_parameters", {}), self.hparams)

    def check_head(self, saved: dict[str, Any]) -> None:
        """Check that a checkpoint was `saved` with the same class of head: to another, the weights mean something else.

        Raises:
            ValueError: It was saved with another one.
        """
        found, here = saved.get("head"), type(self.head).__name__
        if found not in (None, here):
            raise ValueError(f"this agent was trained with the head {found}, here it is {here}; give head={found}(...)")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counters; leave the memory out of files that only have weights."""
        if "optimizer_states" not in checkpoint and self._experience is not None:
            checkpoint.pop(type(self._experience).__qualname__, None)
        checkpoint[FORMAT_KEY] = FORMAT_VERSION
        checkpoint["dqn"] = {
            "updates": self.updates,
            "td_error_sum": self._td_error_sum,
            "rounds": self._rounds_since_log,
            "head": type(self.head).__name__,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the counters; when training is resumed, check first that the Experience can go on from there.

        Raises:
            ValueError: The checkpoint has another head or support, no optimizer state, or is of another Experience.
        """
        if len(states := checkpoint.get("optimizer_states", [None])) != 1:
            # Lightning would continue with a new optimizer.
            raise ValueError(f"a checkpoint must have one optimizer's state, got {len(states)}; use another checkpoint")
        if "dqn" not in checkpoint:
            raise ValueError(
                "the checkpoint does not have acro's counters; a subclass's on_save_checkpoint must call "
                "super().on_save_checkpoint"
            )
        counters = checkpoint["dqn"]
        self.check_head(counters)
        saved = checkpoint.get("hyper_parameters", {})
        if self.support is not None:
            check_same_support(saved, self.support)
        if self._trainer is not None and self._trainer.state.fn == "fit":
            experience: Any = self._experience
            if hasattr(experience, "check_resumable"):
                experience.check_resumable(checkpoint)
        self._is_loaded = True
        names = ("learning_rate", "learning_rate_end", "learning_rate_decay_updates")
        self._has_other_rate = any(saved.get(name, self.hparams[name]) != self.hparams[name] for name in names)
        self.updates = counters["updates"]
        self._td_error_sum, self._rounds_since_log = counters["td_error_sum"], counters["rounds"]
