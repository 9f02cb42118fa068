"""Where experience comes from: act, store, sample."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from acro import envs
from acro.envs.facts import return_range
from acro.envs.facts import reward_range as known_reward_range
from acro.evaluation import Episodes
from acro.experience.collector import Collector, EnvRunner
from acro.experience.environments import check_given, check_same, describe, single_of
from acro.experience.exploration import EpsilonGreedy, ExponentialSchedule, LinearSchedule
from acro.experience.loaders import EpisodeLoader, RoundLoader
from acro.experience.mirror import mirror_half, reflection_of
from acro.experience.settings import SAME_SETTINGS, check_collectors, check_same_settings, check_settings
from acro.experience.shards import EnvShard
from acro.overrides import overridden
from acro.replay import Batch, ReplayMemory
from acro.storage.tensors import to_arrays, to_tensors

logger = logging.getLogger(__name__)

# Every random stream is seeded with `seed` and one of these, so that no two are the same.
_ENVIRONMENT, _EXPLORATION, _MEMORY, _VALIDATION, _TEST = range(5)


class Experience(L.LightningDataModule):
    """Rounds of experience from a vector environment, through a replay memory.

    A round steps the environments with the module's greedy actions and some exploration, stores what happened, and
    draws the minibatches of all updates that are due then, as one `Batch` with leading axes (M, B).

    Args:
        env_id: A Gymnasium environment with a Box observation and Discrete actions ("module:Name-v0" imports module),
            or a function that makes one (or its name, "module:function"); a function with a parameter `num_envs` makes
            a vector of them. Or a vector environment, which is stepped as it is and left open.
        num_envs: Environments that are stepped together; a vector environment brings its own number.
        capacity: Transitions that the memory holds.
        batch_size: Transitions in a minibatch.
        learning_starts_steps: Environment steps before the first update.
        updates_per_step: Gradient updates per environment step from then on.
        steps_per_round: Environment steps of one round, all environments together; a multiple of `num_envs`.
        steps_per_epoch: Environment steps between evaluations; a multiple of `steps_per_round`.
        gamma: Discount factor.
        n_step: Steps that a target sums rewards over, at the start.
        n_step_end: Its final value, after a linear decay, rounded; None keeps it constant.
        n_step_decay_steps: Environment steps until `n_step_end` is reached.
        epsilon_start: Probability of starting an exploratory action, at the start; it changes between rounds.
        epsilon_end: Its final value.
        epsilon_decay_steps: Environment steps of the linear decay to `epsilon_end`.
        epsilon_decay_per_episode: Instead of the linear decay, multiply epsilon by this after every episode.
        zeta_exponent: Exploratory actions are held for zeta-distributed durations; None for one step.
        prioritized: Sample by temporal-difference error (Schaul et al. 2016).
        alpha: Exponent of the priorities.
        beta_start: Exponent of the importance weights at the start; it rises to 1.
        beta_steps: Environment steps until beta is 1.
        eval_episodes: Greedy episodes per evaluation.
        autoreset_mode: Mode of the training environments: "SameStep", "NextStep" or "Disabled", as in Gymnasium. In
            "NextStep" the step that resets counts as an environment step and is never stored.
        seed: All randomness of training and evaluation derives from it.
        env_kwargs: Arguments of the environment.
        reward_range: The least and the largest reward of a step, for `return_range`; None looks it up
            for Gymnasium's classic control tasks; for others it is not known.
        eval_env: The environment to evaluate in, an id or a function without arguments; None for `env_id`.
        frame_stack: Number of successive observations that the network sees, on a leading axis, the newest last; each
            is stored once. None for one observation without that axis.
        clip_rewards: Learn from rewards clipped to [-1, 1] (Mnih et al. 2015); the true ones are logged.
        life_loss_ends: Learn as if the loss of a life ended the episode (Mnih et al. 2015); the game goes on.
        mirror: Replace half of each minibatch with its mirror image (Lin et al. 2020); for the ids of Acrobot, CartPole
            and LunarLander.
        collectors: Ray processes that step `num_envs / collectors` environments each, for slow environments; 0 steps
            all of them in this process. On a CPU a run is the same to the bit for any number of collectors.
        lag: Rounds by which the acting weights are behind: 0, or 1 to step the environments while the learner learns.

    Raises:
        ValueError: A number is out of its range, the environment cannot be made or does not fit, its mirror image is
            not known, or a vector environment does not tell what evaluation should make.
        TypeError: `env_id` is neither an id, nor a function, nor a vector environment.
    """

    def __init__(
        self,
        env_id: str | Callable[..., Any] | VectorEnv[Any, Any, Any] = "acro/Acrobot-v1",
        num_envs: int = 8,
        capacity: int = 100_000,
        batch_size: int = 128,
        *,
        learning_starts_steps: int = 1_000,
        updates_per_step: float = 0.5,
        steps_per_round: int = 64,
        steps_per_epoch: int = 1_024,
        gamma: float = 0.99,
        n_step: int = 1,
        n_step_end: int | None = None,
        n_step_decay_steps: int = 0,
        epsilon_start: float = 1.0,
        epsilon_end: float = 0.05,
        epsilon_decay_steps: int = 5_000,
        epsilon_decay_per_episode: float | None = None,
        zeta_exponent: float | None = 2.0,
        prioritized: bool = False,
        alpha: float = 0.6,
        beta_start: float = 0.4,
        beta_steps: int = 100_000,
        eval_episodes: int = 100,
        autoreset_mode: str = "SameStep",
        seed: int = 0,
        env_kwargs: dict[str, Any] | None = None,
        reward_range: tuple[float, float] | None = None,
        eval_env: str | Callable[..., Any] | None = None,
        frame_stack: int | None = None,
        clip_rewards: bool = False,
        life_loss_ends: bool = False,
        mirror: bool = False,
        collectors: int = 0,
        lag: int = 0,
    ) -> None:
        super().__init__()
        self._given = env_id if isinstance(env_id, VectorEnv) else None
        if isinstance(env_id, VectorEnv):
            check_given(env_id, num_envs, env_kwargs)
            num_envs = env_id.num_envs
            env_id, env_kwargs = single_of(env_id, eval_env)
        self.env_id = env_id
        self.eval_env = env_id if eval_env is None else eval_env
        self.eval_env_kwargs = dict(env_kwargs or {}) if eval_env is None else {}
        # Checkpoints hold no code, so they get a function's name.
        env_id, eval_env = envs.name_of(env_id), None if eval_env is None else envs.name_of(eval_env)
        # A run does not depend on where its environments are stepped.
        self.save_hyperparameters(ignore=["collectors"])
        # Not `hparams`: a subclass's arguments of the same name replace them there.
        check_settings(locals())
        check_collectors(
            collectors, num_envs, self.env_id, is_given=self._given is not None, frame_stack=frame_stack, lag=lag
        )
        self.env_kwargs = dict(env_kwargs or {})
        self.seed = seed
        self.num_envs = num_envs
        self.capacity = capacity
        self.batch_size = batch_size
        self.learning_starts_steps = learning_starts_steps
        self.updates_per_step = updates_per_step
        self.steps_per_round = steps_per_round
        self.steps_per_epoch = steps_per_epoch
        self.gamma = gamma
        self.zeta_exponent = zeta_exponent
        self.prioritized = prioritized
        self.alpha = alpha
        self.eval_episodes = eval_episodes
        self.reward_range = reward_range
        self.frame_stack = frame_stack
        self.clip_rewards = clip_rewards
        self.life_loss_ends = life_loss_ends
        self._reflection = reflection_of(env_id) if mirror else None
        self.collectors = collectors
        self.lag = lag
        self.rounds_per_epoch = steps_per_epoch // steps_per_round
        own = describe(self.env_id if self._given is None else self._given, self.env_kwargs, frame_stack)
        self.observation_space, self.action_space, self._step_limit = own
        if eval_env is not None or self._given is not None:
            check_same(own, describe(self.eval_env, self.eval_env_kwargs))
        self._autoreset_mode = AutoresetMode(autoreset_mode)
        self._n_step = LinearSchedule(n_step, n_step if n_step_end is None else n_step_end, n_step_decay_steps)
        self._beta = LinearSchedule(beta_start, 1.0, beta_steps)
        self._epsilon_by_step = LinearSchedule(epsilon_start, epsilon_end, epsilon_decay_steps)
        self._epsilon_by_episode = (
            None
            if epsilon_decay_per_episode is None
            else ExponentialSchedule(epsilon_start, epsilon_decay_per_episode, epsilon_end)
        )
        self.collector: Collector | None = None
        self._priorities: NDArray[np.float64] | None = None
        """Those of the last round's transitions."""
        self._began: tuple[float, int] | None = None
        """When training began in this process, in seconds, and at which environment step."""

    def __repr__(self) -> str:
        done = (
            "not begun"
            if self.collector is None
            else f"{self.env_steps} steps, {len(self.collector.episodes)} episodes"
        )
        return (
            f"Experience({self.hparams['env_id']!r}, num_envs={self.num_envs}, seed={self.seed}): "
            f"observations {self.observation_shape}, {self.num_actions} actions; {done}"
        )

    # Lightning's own would ask the loader for a round.
    __str__ = __repr__

    # ---- facts

    @property
    def observation_size(self) -> int:
        """Numbers in one observation."""
        return math.prod(self.observation_shape)

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """The shape of what the network sees: of one observation, or of a stack of them."""
        stack = () if self.frame_stack is None else (self.frame_stack,)
        return (*stack, *self.observation_space.shape)

    @property
    def observation_dtype(self) -> str:
        """One observation's dtype, by NumPy's name."""
        return str(self.observation_space.dtype)

    @property
    def num_actions(self) -> int:
        """Actions are the integers from 0 to `num_actions - 1`."""
        return int(self.action_space.n)

    @property
    def env_steps(self) -> int:
        """Environment steps taken so far, of all environments together."""
        return self._collecting.env_steps

    @property
    def epsilon(self) -> float:
        """The probability of starting an exploratory action now."""
        if self._epsilon_by_episode is not None:
            return self._epsilon_by_episode(len(self._collecting.episodes))
        return self._epsilon_by_step(self.env_steps)

    @property
    def return_range(self) -> tuple[float, float] | None:
        """The least and the largest discounted return of an episode; None if the rewards' range is not known."""
        known = known_reward_range(self.env_id, self.env_kwargs)
        rewards = (-1.0, 1.0) if self.clip_rewards else self.reward_range or known
        return None if rewards is None else return_range(rewards, self.gamma, self._step_limit)

    def metrics(self) -> dict[str, float]:
        """Return what a logger gets, by name; "step" is Lightning's name for the x axis."""
        if self.collector is None:
            return {}
        metrics = {"step": float(self.env_steps), "train/epsilon": self.epsilon, **self.collector.episodes.metrics()}
        if self._priorities is not None:
            metrics["train/priority_spread"] = float(self._priorities.std() / self._priorities.mean())
        if self._began is not None:
            began_at, began_steps = self._began
            seconds = time.monotonic() - began_at
            metrics |= {"time/seconds": seconds, "time/steps_per_second": (self.env_steps - began_steps) / seconds}
        return metrics

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        """Make the sampled transitions as likely as their temporal-difference errors are large."""
        # Schaul et al. (2016), section 3.3: a small constant, so that an error of 0 can be drawn again.
        self._priorities = (td_errors.abs().double() + 1e-6).cpu().numpy()
        self._collecting.memory.update_priorities(indices.cpu().numpy(), self._priorities)

    @property
    def _collecting(self) -> Collector:
        if self.collector is None:
            raise RuntimeError("Experience has no environments yet: setup('fit') makes them, which Trainer.fit calls")
        return self.collector

    # ---- Lightning's hooks

    def setup(self, stage: str) -> None:
        """Make the environments and the memory before training starts; they stay for a second `fit`."""
        self._began = None
        if stage != "fit" or self.collector is not None:
            return
        memory = ReplayMemory.from_spaces(
            self.capacity,
            self.observation_space,
            self.action_space,
            num_envs=self.num_envs,
            seed=self._derived_seed(_MEMORY),
            prioritized=self.prioritized,
            alpha=self.alpha,
            frame_stack=self.frame_stack,
        )
        self.collector = Collector(self._make_runner(memory), memory)

    def _make_runner(self, memory: ReplayMemory) -> EnvRunner:
        if not self.collectors:
            observe = None if self.frame_stack is None else memory.latest
            return self._shard(self.make_exploration(), 0, self.num_envs).make(self._given, observe)
        from acro.experience.ray_runner import RayRunner

        if overridden(self, Experience, ["make_exploration"]):
            raise ValueError(f"{type(self).__name__} overrides make_exploration; use collectors=0")
        count = self.num_envs // self.collectors
        firsts = range(0, self.num_envs, count)
        return RayRunner([self._shard(self._epsilon_greedy(count, first), first, count) for first in firsts])

    def _shard(self, exploration: EpsilonGreedy, first_env: int, count: int) -> EnvShard:
        return EnvShard(
            env_id=self.env_id,
            env_kwargs=self.env_kwargs,
            autoreset_mode=self._autoreset_mode,
            exploration=exploration,
            seed=self._derived_seed(_ENVIRONMENT),
            first_env=first_env,
            num_envs=count,
            total_envs=self.num_envs,
            clip_rewards=self.clip_rewards,
            life_loss_ends=self.life_loss_ends,
        )

    def make_exploration(self) -> EpsilonGreedy:
        """Return what chooses the exploratory actions; override this for another kind of exploration."""
        return self._epsilon_greedy(self.num_envs, 0)

    def _epsilon_greedy(self, count: int, first_env: int) -> EpsilonGreedy:
        return EpsilonGreedy(
            count,
            self.num_actions,
            zeta_exponent=self.zeta_exponent,
            seed=self._derived_seed(_EXPLORATION),
            first_env=first_env,
        )

    def teardown(self, stage: str) -> None:
        """Stop the collectors; a second `fit` starts them again. Environments of this process stay open for it."""
        if stage == "fit" and self.collectors and self.collector is not None:
            self.collector.close()

    def on_exception(self, exception: BaseException) -> None:
        """Stop the collectors, which would live on."""
        self.teardown("fit")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return rounds and episodes as they are: the module moves rounds, to where a CUDA graph reads them."""
        # Lightning's own would look through every column, for 60 us a round.
        if isinstance(batch, Batch | Episodes):
            return batch
        # Such as the example that a model's summary is made with.
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def train_dataloader(self) -> RoundLoader:
        """Return the rounds of an epoch; each is made when it is asked for."""
        if self._began is None:
            self._began = time.monotonic(), self.env_steps
            self._tell_if_nothing_is_learned()
        return RoundLoader(self.round, self.rounds_per_epoch)

    def _tell_if_nothing_is_learned(self) -> None:
        epochs = cast(L.Trainer, self.trainer).max_epochs
        if epochs is None or epochs < 1:
            return
        steps = epochs * self.steps_per_epoch
        if self.updates_per_step * (steps - self.learning_starts_steps) < 1:
            logger.warning(
                "nothing is learned in %d steps, with learning_starts_steps=%d and updates_per_step=%g",
                *(steps, self.learning_starts_steps, self.updates_per_step),
            )

    def val_dataloader(self) -> EpisodeLoader:
        """Return the episodes of an epoch's evaluation; their starts derive from (seed, epoch)."""
        return EpisodeLoader(lambda: self._episodes(_VALIDATION, cast(L.Trainer, self.trainer).current_epoch))

    def test_dataloader(self) -> EpisodeLoader:
        """Return episodes from starts that no evaluation uses."""
        return EpisodeLoader(self.held_out_episodes)

    def held_out_episodes(self) -> Episodes:
        """Return as many episodes as an evaluation has, from starts that are never used to choose a checkpoint."""
        return self._episodes(_TEST, 0)

    def _episodes(self, purpose: int, index: int) -> Episodes:
        seed = self._derived_seed(purpose, index)
        return Episodes(self.eval_env, self.eval_episodes, seed, self.eval_env_kwargs, self.frame_stack)

    def _derived_seed(self, purpose: int, index: int = 0) -> int:
        # 31 bits, since episode i is reset with `seed + i` and some environments accept 32 bits at most.
        return int(np.random.SeedSequence([self.seed, purpose, index]).generate_state(1)[0] >> 1)

    # ---- a round

    def round(self) -> Batch:
        """Step the environments, store, and return the minibatches (M, B) of the updates that are due."""
        collector, module = self._collecting, cast(L.Trainer, self.trainer).lightning_module
        due, count = self._updates_due(), self.steps_per_round // self.num_envs
        if not (self.lag and collector.remember_ahead()):
            collector.collect(module, self.epsilon, count)
        if self.lag:
            collector.start_ahead(module, self.epsilon, count)
        return self._sample(self._updates_due() - due, module.device)

    def _sample(self, updates: int, device: torch.device) -> Batch:
        memory, shape = self._collecting.memory, (updates, self.batch_size)
        batch = memory.sample(
            shape,
            n_step=round(self._n_step(self.env_steps)),
            gamma=self.gamma,
            beta=self._beta(self.env_steps),
            out=memory.empty_batch(shape, pin_memory=True) if device.type == "cuda" else None,
        )
        if self._reflection is not None:
            mirror_half(batch, self._reflection)
        return batch.as_tensors()

    def _updates_due(self) -> int:
        learning_steps = max(0, self.env_steps - self.learning_starts_steps)
        return int(self.updates_per_step * learning_steps)

    # ---- state: all that a resumed run needs besides the module's

    def check_resumable(self, checkpoint: dict[str, Any]) -> None:
        """Check that training can continue from `checkpoint` with these settings.

        Raises:
            ValueError: The checkpoint has no experience in it, or was made with settings that do not fit.
        """
        state = checkpoint.get(type(self).__qualname__)
        if state is None:
            raise ValueError("this checkpoint holds no replay memory: it is for playing; continue from last.ckpt")
        check_same_settings(state["settings"], self.hparams)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values; empty before `setup("fit")`."""
        if self.collector is None:
            return {}
        settings = {name: self.hparams[name] for name in SAME_SETTINGS}
        return {"settings": settings, "collector": to_tensors(self.collector.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; outside of training nothing is loaded."""
        trainer: L.Trainer | None = self.trainer
        if self.collector is None or (trainer is not None and trainer.state.fn != "fit"):
            return
        check_same_settings(state["settings"], self.hparams)
        collector = to_arrays(state["collector"])
        if collector["env"] is None:
            logger.warning(
                "the state of %s cannot be saved: its episodes start afresh, the rest continues exactly",
                envs.name_of(self.env_id),
            )
        self.collector.load_state_dict(collector)
