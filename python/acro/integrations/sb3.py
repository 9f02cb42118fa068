"""acro's memory in Stable-Baselines3: `DQN("MlpPolicy", env, replay_buffer_class=ReplayBuffer)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.buffers import ReplayBuffer as StableReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from acro.replay import Batch, ReplayMemory


class ReplayBuffer(StableReplayBuffer):
    """Stable-Baselines3's buffer with the rows in a `ReplayMemory`; same arguments, same samples.

    Memory is always optimised, and time limits are handled besides. Draws come from the memory's own generator; its
    seed is drawn from NumPy's global one, which the model seeds, unless it is given. `observations`, `actions` and the
    other columns of Stable-Baselines3's buffer are copies, made anew each time they are read.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = True,
        handle_timeout_termination: bool = True,
        n_steps: int = 1,
        gamma: float | None = None,
        seed: int | None = None,
    ) -> None:
        """Make an empty buffer.

        Args:
            buffer_size: Transitions of all environments.
            observation_space: Any but a Dict or Tuple.
            action_space: As Stable-Baselines3 takes it.
            device: Where samples go.
            n_envs: Environments.
            optimize_memory_usage: Accepted, and always so.
            handle_timeout_termination: Whether episodes that a time limit cut off are bootstrapped.
            n_steps: Steps that a return looks ahead.
            gamma: The discount of one step, needed for `n_steps` above 1: Stable-Baselines3 does not tell a buffer of
                the caller's the model's.
            seed: Where the stream of draws starts.

        Raises:
            ValueError: `n_steps` is above 1 and `gamma` is missing.
            TypeError: The observations are a Dict.
        """
        if n_steps > 1 and gamma is None:
            raise ValueError(
                f"gamma must be the model's where n_steps is above 1, got None; "
                f'use replay_buffer_kwargs={{"n_steps": {n_steps}, "gamma": ...}}'
            )
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs=n_envs)
        if isinstance(self.obs_shape, dict):
            raise TypeError(f"observation_space must be no Dict, got {observation_space}; flatten it first")
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.optimize_memory_usage = optimize_memory_usage
        self.handle_timeout_termination = handle_timeout_termination
        self.n_steps = n_steps
        self.gamma = 0.99 if gamma is None else gamma
        self.memory = ReplayMemory(
            self.buffer_size * n_envs,
            self.obs_shape,
            obs_dtype=np.dtype(observation_space.dtype),
            action_shape=(self.action_dim,),
            action_dtype=np.dtype(self._maybe_cast_dtype(np.dtype(action_space.dtype))),
            num_envs=n_envs,
            seed=int(np.random.randint(2**31)) if seed is None else seed,  # noqa: NPY002
        )

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Remember one step of every environment."""
        rows = (self.n_envs, *self.obs_shape)
        ended = np.asarray(done, bool)
        cut_off = np.array([info.get("TimeLimit.truncated", False) for info in infos], bool)
        if not self.handle_timeout_termination:
            cut_off[:] = False
        self.memory.extend(
            np.reshape(obs, rows),
            np.reshape(action, (self.n_envs, self.action_dim)),
            reward,
            np.reshape(next_obs, rows),
            ended & ~cut_off,
            cut_off,
        )
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full = True
            self.pos = 0

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions at random; with `n_steps` above 1 they have `discounts`.

        Raises:
            ValueError: n-step rewards cannot be normalised: `env` clips each step's reward, not their sum.
        """
        if env is not None and env.norm_reward and self.n_steps > 1:
            raise ValueError(f"n_steps={self.n_steps} needs rewards that are not normalised; use norm_reward=False")
        return self._samples(self.memory.sample(batch_size, n_step=self.n_steps, gamma=self.gamma), env)

    def _get_samples(self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return the transitions at these positions, each of an environment at random, as Stable-Baselines3 does."""
        envs = np.random.randint(self.n_envs, size=len(batch_inds))  # noqa: NPY002
        indices = self._indices(batch_inds[:, None])[np.arange(len(batch_inds)), envs]
        return self._samples(self.memory.gather(indices, n_step=self.n_steps, gamma=self.gamma), env)

    def _samples(self, batch: Batch, env: VecNormalize | None) -> ReplayBufferSamples:
        discounts = self._column(batch.discounts) if self.n_steps > 1 else None
        return ReplayBufferSamples(
            self._tensor(self._normalize_obs(batch.obs, env)),
            self._tensor(batch.actions),
            self._tensor(self._normalize_obs(batch.next_obs, env)),
            self._column(batch.terminated.astype(np.float32)),
            self._column(self._normalize_reward(batch.rewards, env)),
            discounts,
        )

    def reset(self) -> None:
        """Forget every transition."""
        super().reset()
        self.memory.clear()

    @property
    def observations(self) -> NDArray[Any]:  # type: ignore[override]
        """(buffer_size, n_envs, *obs_shape), zeros where nothing was added yet; a copy that cannot be written."""
        return self._positions("obs")

    @property
    def next_observations(self) -> NDArray[Any]:  # type: ignore[override]
        """As `observations`: what followed."""
        return self._positions("next_obs")

    @property
    def actions(self) -> NDArray[Any]:  # type: ignore[override]
        """(buffer_size, n_envs, action_dim); a copy that cannot be written."""
        return self._positions("actions")

    @property
    def rewards(self) -> NDArray[np.float32]:  # type: ignore[override]
        """(buffer_size, n_envs) float32; a copy that cannot be written."""
        return self._positions("rewards")

    @property
    def timeouts(self) -> NDArray[np.float32]:  # type: ignore[override]
        """(buffer_size, n_envs) float32: 1 where an episode was cut off, all 0 where that is not handled."""
        cut_off = np.zeros((self.buffer_size, self.n_envs), np.float32)
        if self.handle_timeout_termination:
            state = self.memory.state_dict()
            first = 0
            for env, (filled, head) in enumerate(zip(state["lens"], state["heads"], strict=True)):
                rows = slice(first, first + filled)
                cut_off[:filled, env] = state["last"][rows] & ~state["terminated"][rows]
                if filled and state["open"][env]:
                    cut_off[head - 1, env] = 0
                first += filled
        cut_off.setflags(write=False)
        return cut_off

    @property
    def dones(self) -> NDArray[np.float32]:  # type: ignore[override]
        """(buffer_size, n_envs) float32: 1 where an episode ended or was cut off; a copy.

        It can be written, to no effect: Stable-Baselines3 marks the newest step so when `learn` begins again, and the
        memory notices by itself that the next step does not follow from it.
        """
        return np.maximum(self._positions("terminated").astype(np.float32), self.timeouts)

    def _positions(self, field: str) -> NDArray[Any]:
        """One column of all transitions, each at the position at which `add` put it."""
        positions = np.arange(len(self.memory) // self.n_envs)
        rows = self.memory.gather(self._indices(positions[:, None]).T.ravel())
        column = getattr(rows, field)
        spread = np.zeros((self.buffer_size, self.n_envs, *column.shape[1:]), column.dtype)
        spread[: len(positions)] = column.reshape(self.n_envs, len(positions), *column.shape[1:]).swapaxes(0, 1)
        spread.setflags(write=False)
        return spread

    def _indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The memory's indices (N, n_envs) of all environments' transitions at `positions` (N, 1)."""
        state = self.memory.state_dict()
        heads, counts = state["heads"], state["counts"]
        # The position before the head is the newest; those from the head on are a turn older.
        order = counts - heads + positions - np.where(positions >= heads, self.buffer_size, 0)
        return np.arange(self.n_envs) + self.n_envs * order  # type: ignore[no-any-return]

    def _column(self, numbers: NDArray[Any]) -> torch.Tensor:
        return self._tensor(numbers.reshape(-1, 1))

    def _tensor(self, array: Any) -> torch.Tensor:
        # A batch's arrays are nobody else's: they can be shared instead of copied.
        return self.to_torch(array, copy=False)
