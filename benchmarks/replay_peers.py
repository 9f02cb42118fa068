"""Every replay memory behind one face: filled with the same stream, asked for the same work."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from acro.replay import ReplayMemory

BATCH_SIZES = (32, 256, 1024)


class Stream(NamedTuple):
    """Transitions in the order they happened, as columns."""

    obs: NDArray[Any]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float32]
    next_obs: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


def acrobot_stream(rows: int, episode: int = 200) -> Stream:
    """Return random rows of Acrobot's shapes and dtypes, in episodes of a fixed length."""
    rng = np.random.default_rng(0)
    path = rng.standard_normal((rows + 1, 6)).astype(np.float32)
    truncated = np.arange(rows) % episode == episode - 1
    terminated = np.zeros(rows, bool)
    return Stream(path[:-1], rng.integers(3, size=rows), np.full(rows, -1, np.float32), path[1:], terminated, truncated)


class Acro:
    """This project's memory."""

    name = "acro"

    def __init__(self, capacity: int, *, num_envs: int = 1, prioritized: bool = False) -> None:
        self.memory = ReplayMemory(capacity, (6,), num_envs=num_envs, prioritized=prioritized)

    def fill(self, stream: Stream) -> None:
        """Store the stream, dealt to the environments row by row."""
        rows, num_envs = len(stream.actions), self.memory.num_envs
        self.memory.extend(*stream, envs=np.arange(rows) % num_envs)

    def sample_numpy(self, batch_size: int) -> object:
        """Draw a batch of NumPy arrays."""
        return self.memory.sample(batch_size)

    def sample_tensors(self, batch_size: int) -> object:
        """Draw a batch of tensors."""
        return self.memory.sample(batch_size).as_tensors()

    def pushing(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one transition."""
        memory, obs, next_obs = self.memory, stream.obs[0], stream.next_obs[0]
        return lambda: memory.push(obs, 1, -1.0, next_obs, False, False)

    def extending(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one step of all environments."""
        memory = self.memory
        obs, actions, rewards, next_obs, terminated, truncated = _step(stream, memory.num_envs)
        return lambda: memory.extend(obs, actions, rewards, next_obs, terminated, truncated)

    def prioritized_step(self, priorities: NDArray[np.float64]) -> object:
        """Draw a batch by priorities and change them."""
        batch = self.memory.sample(len(priorities))
        return self.memory.update_priorities(batch.indices, priorities)


class AcroReused(Acro):
    """This project's memory, asked to overwrite the batch before."""

    name = "acro, out="

    def fill(self, stream: Stream) -> None:
        """Store the stream, and make a batch of every size that is asked for, and its tensors."""
        super().fill(stream)
        self._arrays = {size: self.memory.sample(size) for size in BATCH_SIZES}
        self._tensors = {size: batch.as_tensors() for size, batch in self._arrays.items()}

    def sample_numpy(self, batch_size: int) -> object:
        """Draw into the NumPy arrays that are there."""
        return self.memory.sample(batch_size, out=self._arrays[batch_size])

    def sample_tensors(self, batch_size: int) -> object:
        """Draw into the tensors that are there."""
        self.memory.sample(batch_size, out=self._arrays[batch_size])
        return self._tensors[batch_size]


class Rlox:
    """`rlox.ReplayBuffer`."""

    name = "rlox"

    def __init__(self, capacity: int) -> None:
        import rlox

        self.buffer = rlox.ReplayBuffer(capacity, 6, 1)
        self.seed = 0

    def fill(self, stream: Stream) -> None:
        """Store the stream."""
        for obs, action, reward, next_obs, terminated, truncated in zip(*stream, strict=True):
            self.buffer.push(obs, _column(action), reward, terminated, truncated, next_obs)

    def sample_numpy(self, batch_size: int) -> dict[str, Any]:
        """Draw a batch of NumPy arrays; every call needs a seed of its own."""
        self.seed += 1
        batch: dict[str, Any] = self.buffer.sample(batch_size, self.seed)
        return batch

    def sample_tensors(self, batch_size: int) -> object:
        """Draw a batch of tensors."""
        return {name: torch.from_numpy(column) for name, column in self.sample_numpy(batch_size).items()}

    def pushing(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one transition."""
        buffer, obs, next_obs, action = self.buffer, stream.obs[0], stream.next_obs[0], _column(1)
        return lambda: buffer.push(obs, action, -1.0, False, False, next_obs)

    def extending(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one step of 8 environments."""
        buffer, step = self.buffer, _step(stream, 8)
        obs, next_obs = step.obs.ravel(), step.next_obs.ravel()
        actions, flags = step.actions.astype(np.float32), step.terminated.astype(np.uint8)
        return lambda: buffer.push_batch(obs, next_obs, actions, step.rewards, flags, flags)


class StableBaselines3:
    """`stable_baselines3.common.buffers.ReplayBuffer`."""

    name = "stable-baselines3"

    def __init__(self, capacity: int, *, num_envs: int = 1, shape: tuple[int, ...] = (6,), dtype: Any = None) -> None:
        from gymnasium import spaces
        from stable_baselines3.common.buffers import ReplayBuffer

        low, high = (-np.inf, np.inf) if dtype is None else (0, 255)
        space = spaces.Box(low, high, shape, dtype or np.float32)
        self.buffer = ReplayBuffer(capacity, space, spaces.Discrete(3), device="cpu", n_envs=num_envs)

    def fill(self, stream: Stream) -> None:
        """Store the stream."""
        for obs, action, reward, next_obs, terminated, truncated in zip(*stream, strict=True):
            ended = np.array([terminated | truncated])
            info = [{"TimeLimit.truncated": bool(truncated)}]
            self.buffer.add(obs, next_obs, np.array([action]), np.array([reward]), ended, info)

    def sample_tensors(self, batch_size: int) -> object:
        """Draw a batch of tensors, which is all it offers."""
        return self.buffer.sample(batch_size)

    def pushing(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one transition."""
        return self.extending(stream)

    def extending(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one step of all environments."""
        buffer, step = self.buffer, _step(stream, self.buffer.n_envs)
        ended: Any = step.terminated
        infos: list[dict[str, Any]] = [{} for _ in range(buffer.n_envs)]
        return lambda: buffer.add(step.obs, step.next_obs, step.actions, step.rewards, ended, infos)


class TorchRL:
    """`torchrl.data.TensorDictReplayBuffer` over a `LazyTensorStorage`."""

    name = "torchrl"

    def __init__(self, capacity: int) -> None:
        from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

        self.buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(capacity), batch_size=256)

    def fill(self, stream: Stream) -> None:
        """Store the stream."""
        self.buffer.extend(_tensordict(stream))

    def sample_tensors(self, batch_size: int) -> object:
        """Draw a batch of tensors."""
        return self.buffer.sample(batch_size)

    def pushing(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one transition, its TensorDict made beforehand."""
        buffer, one = self.buffer, _tensordict(_step(stream, 1))[0]
        return lambda: buffer.add(one)

    def extending(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one step of 8 environments, its TensorDict made beforehand."""
        buffer, rows = self.buffer, _tensordict(_step(stream, 8))
        return lambda: buffer.extend(rows)


class Cpprb:
    """`cpprb.ReplayBuffer`, or its prioritized one."""

    name = "cpprb"

    def __init__(self, capacity: int, *, prioritized: bool = False) -> None:
        import cpprb

        columns = {
            "obs": {"shape": 6},
            "act": {"dtype": np.int64},
            "rew": {},
            "next_obs": {"shape": 6},
            "done": {"dtype": bool},
        }
        kind = cpprb.PrioritizedReplayBuffer if prioritized else cpprb.ReplayBuffer
        self.buffer = kind(capacity, columns)

    def fill(self, stream: Stream) -> None:
        """Store the stream."""
        self.buffer.add(
            obs=stream.obs, act=stream.actions, rew=stream.rewards, next_obs=stream.next_obs, done=stream.terminated
        )

    def sample_numpy(self, batch_size: int) -> Any:
        """Draw a batch of NumPy arrays."""
        return self.buffer.sample(batch_size)

    def sample_tensors(self, batch_size: int) -> object:
        """Draw a batch of tensors."""
        return {name: torch.from_numpy(column) for name, column in self.buffer.sample(batch_size).items()}

    def pushing(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one transition."""
        add, obs, next_obs = self.buffer.add, stream.obs[0], stream.next_obs[0]
        return lambda: add(obs=obs, act=1, rew=-1.0, next_obs=next_obs, done=False)

    def extending(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one step of 8 environments."""
        add, step = self.buffer.add, _step(stream, 8)
        obs, act, rew, next_obs, done = step.obs, step.actions, step.rewards, step.next_obs, step.terminated
        return lambda: add(obs=obs, act=act, rew=rew, next_obs=next_obs, done=done)

    def prioritized_step(self, priorities: NDArray[np.float64]) -> None:
        """Draw a batch by priorities and change them."""
        batch = self.buffer.sample(len(priorities))
        self.buffer.update_priorities(batch["indexes"], priorities)


class Deque:
    """The plain `collections.deque` of tuples that most tutorials use."""

    name = "deque"

    def __init__(self, capacity: int) -> None:
        self.rows: deque[tuple[Any, ...]] = deque(maxlen=capacity)

    def fill(self, stream: Stream) -> None:
        """Store the stream."""
        self.rows.extend(zip(*stream, strict=True))

    def sample_numpy(self, batch_size: int) -> list[NDArray[Any]]:
        """Draw a batch of NumPy arrays."""
        return [np.array(column) for column in zip(*random.sample(self.rows, batch_size), strict=True)]

    def sample_tensors(self, batch_size: int) -> object:
        """Draw a batch of tensors."""
        return [torch.from_numpy(column) for column in self.sample_numpy(batch_size)]

    def pushing(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one transition."""
        append, obs, next_obs = self.rows.append, stream.obs[0], stream.next_obs[0]
        return lambda: append((obs, 1, -1.0, next_obs, False, False))

    def extending(self, stream: Stream) -> Callable[[], object]:
        """Return the work of storing one step of 8 environments."""
        rows, step = self.rows, _step(stream, 8)
        return lambda: rows.extend(zip(*step, strict=True))


def _step(stream: Stream, num_envs: int) -> Stream:
    """The first rows, as the step of so many environments."""
    return Stream(*(np.ascontiguousarray(column[:num_envs]) for column in stream))


def _column(action: object) -> NDArray[np.float32]:
    return np.array([action], np.float32)


def _tensordict(stream: Stream) -> Any:
    from tensordict import TensorDict

    columns: dict[str, Any] = {
        name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in stream._asdict().items()
    }
    return TensorDict(columns, batch_size=[len(stream.actions)])
