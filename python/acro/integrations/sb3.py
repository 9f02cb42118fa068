"""acro's memory for Stable-Baselines3: `DQN("MlpPolicy", env, replay_buffer_class=ReplayBuffer)`."""

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
    """Stable-Baselines3's replay buffer on a `ReplayMemory`, with the same arguments and samples.

    Each observation is stored once, and time limits are handled too. Draws come from the memory's own generator, whose
    seed comes from NumPy's global one, which the model seeds, unless it is given. `observations`, `actions` and the
    other arrays of Stable-Baselines3's buffer are copies that are made each time they are read.
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
            observation_space: Any space except a Dict or Tuple.
            action_space: Any that Stable-Baselines3 supports.
            device: The device of samples.
            n_envs: Number of environments.
            optimize_memory_usage: Ignored: memory usage is always optimized.
            handle_timeout_termination: Whether to bootstrap from episodes that a time limit cut off.
            n_steps: Steps of an n-step return.
            gamma: Discount factor, required for `n_steps` above 1: Stable-Baselines3 does not pass the model's to
                a custom buffer.
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
            raise TypeError(f"observation_space must not be a Dict, got {observation_space}; flatten it first")
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
        """Add one step of every environment."""
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
        """Draw random transitions; with `n_steps` above 1 they have `discounts`.

        Raises:
            ValueError: n-step rewards cannot be normalised, since `env` clips the rewards of single steps.
        """
        if env is not None and env.norm_reward and self.n_steps > 1:
            raise ValueError(f"n_steps={self.n_steps} needs rewards that are not normalised; use norm_reward=False")
        return self._samples(self.memory.sample(batch_size, n_step=self.n_steps, gamma=self.gamma), env)

    def _get_samples(self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return the transitions at these positions, each of a random environment, as Stable-Baselines3 does."""
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
        """Remove all transitions."""
        super().reset()
        self.memory.clear()

    @property
    def observations(self) -> NDArray[Any]:  # type: ignore[override]
        """(buffer_size, n_envs, *obs_shape), zeros where nothing was added yet; a read-only copy."""
        return self._positions("obs")

    @property
    def next_observations(self) -> NDArray[Any]:  # type: ignore[override]
        """The next observations, like `observations`."""
        return self._positions("next_obs")

    @property
    def actions(self) -> NDArray[Any]:  # type: ignore[override]
        """(buffer_size, n_envs, action_dim); a read-only copy."""
        return self._positions("actions")

    @property
    def rewards(self) -> NDArray[np.float32]:  # type: ignore[override]
        """(buffer_size, n_envs) float32; a read-only copy."""
        return self._positions("rewards")

    @property
    def timeouts(self) -> NDArray[np.float32]:  # type: ignore[override]
        """(buffer_size, n_envs) float32: 1 where an episode was cut off; 0 everywhere if that is not handled."""
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
        """(buffer_size, n_envs) float32: 1 where an episode terminated or was cut off; a copy.

        Writing to it has no effect: Stable-Baselines3 marks the newest step when `learn` starts again, and the
        memory itself notices that the next step does not follow.
        """
        return np.maximum(self._positions("terminated").astype(np.float32), self.timeouts)

    def _positions(self, field: str) -> NDArray[Any]:
        """Return a column of all transitions, in the positions at which they were added."""
        positions = np.arange(len(self.memory) // self.n_envs)
        rows = self.memory.gather(self._indices(positions[:, None]).T.ravel())
        column = getattr(rows, field)
        spread = np.zeros((self.buffer_size, self.n_envs, *column.shape[1:]), column.dtype)
        spread[: len(positions)] = column.reshape(self.n_envs, len(positions), *column.shape[1:]).swapaxes(0, 1)
        spread.setflags(write=False)
        return spread

    def _indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the memory's indices (N, n_envs) of the transitions at `positions` (N, 1) of all environments."""
        state = self.memory.state_dict()
        heads, counts = state["heads"], state["counts"]
        # The newest position is the one before the head; positions from the head on were written one turn earlier.
        order = counts - heads + positions - np.where(positions >= heads, self.buffer_size, 0)
        return np.arange(self.n_envs) + self.n_envs * order  # type: ignore[no-any-return]

    def _column(self, numbers: NDArray[Any]) -> torch.Tensor:
        return self._tensor(numbers.reshape(-1, 1))

    def _tensor(self, array: Any) -> torch.Tensor:
        # Nothing else uses a batch's arrays, so tensors can share their memory.
        return self.to_torch(array, copy=False)
