"""The replay memory: the newest transitions of one or many environments, drawn at random."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from acro import _rust
from acro.replay import file as replay_file
from acro.storage.files import replacing

if TYPE_CHECKING:
    import gymnasium
    from typing_extensions import Self

# A named tuple's own constructor takes its fields one by one, in Python.
_new = tuple.__new__


class Batch(NamedTuple):
    """Transitions as columns; the leading axes are the shape that was asked for.

    With `n_step` above 1 a transition spans up to that many steps of one episode: `rewards` is their discounted sum,
    `next_obs` and `terminated` belong to the last of them. The target of a value is always
    `rewards + discounts * value(next_obs)`.
    """

    obs: Any
    """(..., *obs_shape) of the memory's dtype."""
    actions: Any
    """(..., *action_shape) of the memory's dtype."""
    rewards: Any
    """(...) float32."""
    next_obs: Any
    """(..., *obs_shape) of the memory's dtype."""
    discounts: Any
    """(...) float32: gamma to the number of steps, 0 where the last one terminated."""
    terminated: Any
    """(...) bool."""
    indices: Any
    """(...) int64: insertion ids, for `gather` and `update_priorities`."""
    weights: Any = None
    """(...) float32 importance weights, at most 1; None without priorities."""

    def as_tensors(self) -> Batch:
        """Return the same batch as tensors that share its memory."""
        tensor = _from_numpy()
        weights = self.weights
        return _new(Batch, (*map(tensor, self[:-1]), None if weights is None else tensor(weights)))


@functools.cache
def _from_numpy() -> Callable[[Any], Any]:
    # Only who asks for tensors needs torch, and an import statement in a function costs 0.3 µs each time.
    from torch import from_numpy

    return from_numpy


class ReplayMemory(_rust.ReplayMemory):
    """A fixed number of transitions of each environment, the newest ones.

    A full memory forgets an environment's oldest transition for its newest. Every transition in it can be drawn.
    Observations are stored once: `next_obs` is the `obs` of the following transition, and is kept aside only where
    an episode ends, where a transition does not follow from the one before, and for the newest of each environment.

    Any thread may call any method. After `os.fork` the child has a memory of its own, equal at that moment, whose
    pages are copied as they are written; as with any lock, do not fork while another thread is inside a call.
    Pickling and copying copy everything.
    """

    def __new__(
        cls,
        capacity: SupportsIndex,
        obs_shape: Sequence[int],
        *,
        obs_dtype: DTypeLike = np.float32,
        action_shape: Sequence[int] = (),
        action_dtype: DTypeLike = np.int64,
        num_envs: SupportsIndex = 1,
        seed: int = 0,
        prioritized: bool = False,
        alpha: float = 0.6,
    ) -> Self:
        """Make an empty memory; all of it is asked for now, but for final observations.

        Args:
            capacity: Transitions to keep; each environment gets `capacity // num_envs`.
            obs_shape: One observation's shape.
            obs_dtype: One observation's dtype: a bool, integer or float one.
            action_shape: One action's shape.
            action_dtype: One action's dtype.
            num_envs: Environments, each with a ring of its own.
            seed: Where the stream of draws starts.
            prioritized: Draw in proportion to priorities (Schaul et al. 2016), not uniformly.
            alpha: The power that priorities are raised to: 0 draws uniformly, 1 in proportion.

        Raises:
            ValueError: a number that makes no memory.
            MemoryError: the bytes cannot be had; the message says how many were asked for.
        """
        return super().__new__(
            cls,
            Batch,
            _at_least(1, "capacity", capacity),
            _shape("obs_shape", obs_shape),
            _dtype("obs_dtype", obs_dtype),
            _shape("action_shape", action_shape),
            _dtype("action_dtype", action_dtype),
            num_envs=_at_least(1, "num_envs", num_envs),
            seed=_seed(seed),
            alpha=float(alpha) if prioritized else None,
        )

    @classmethod
    def from_spaces(
        cls,
        capacity: int,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        *,
        num_envs: int = 1,
        seed: int = 0,
        prioritized: bool = False,
        alpha: float = 0.6,
    ) -> Self:
        """Make an empty memory for the spaces of one environment.

        Args:
            capacity: As for the class, and so the rest.
            observation_space: A Box.
            action_space: A Discrete, MultiDiscrete, MultiBinary or Box.
            num_envs: Environments.
            seed: Where the stream of draws starts.
            prioritized: Whether to draw in proportion to priorities.
            alpha: The power that priorities are raised to.

        Raises:
            TypeError: a space of another kind.
        """
        from gymnasium import spaces

        if not isinstance(observation_space, spaces.Box):
            raise TypeError(f"observation_space must be a Box, got {observation_space}; flatten it first")
        if not isinstance(action_space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)):
            raise TypeError(f"action_space must be a Discrete, MultiDiscrete, MultiBinary or Box, got {action_space}")
        return cls(
            capacity,
            observation_space.shape,
            obs_dtype=observation_space.dtype,
            action_shape=action_space.shape or (),
            action_dtype=action_space.dtype,
            num_envs=num_envs,
            seed=seed,
            prioritized=prioritized,
            alpha=alpha,
        )

    @property
    def prioritized(self) -> bool:
        """Whether transitions are drawn in proportion to priorities."""
        return self.alpha is not None

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that decides what comes next: arrays, and plain values."""
        columns = self._state()
        rows, finals = len(columns["rewards"]), int(columns["last"].sum())
        return {
            "version": replay_file.VERSION,
            "capacity": self.capacity,
            "num_envs": self.num_envs,
            "alpha": self.alpha,
            **columns,
            "obs": columns["obs"].view(self.obs_dtype).reshape(rows, *self.obs_shape),
            "actions": columns["actions"].view(self.action_dtype).reshape(rows, *self.action_shape),
            "finals": columns["finals"].view(self.obs_dtype).reshape(finals, *self.obs_shape),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the memory whose `state_dict` this is.

        Raises:
            ValueError: the state is not whole, contradicts itself, or is of a memory made otherwise than this one;
                nothing is changed then.
        """
        self._restore(_checked(self, state))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file; `path` holds either what it held before, or all of it.

        The file is described in `docs/file-format.md`: no pickle, and read by every later version. Takes as many
        bytes of memory again as are filled.

        Raises:
            OSError: the file cannot be written.
        """
        with replacing(path) as file:
            replay_file.write(file, self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Make the memory that was saved to `path`.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is of another kind or a later version, cut short, or damaged.
            MemoryError: the memory does not fit.
        """
        with open(path, "rb") as file:
            try:
                return cls._read(file)
            except ValueError as error:
                raise ValueError(f"cannot load {os.fspath(path)!r}: {error}") from None

    @classmethod
    def _read(cls, file: IO[bytes]) -> Self:
        state = replay_file.read(file)
        memory = cls(
            state["capacity"],
            state["obs"].shape[1:],
            obs_dtype=state["obs"].dtype,
            action_shape=state["actions"].shape[1:],
            action_dtype=state["actions"].dtype,
            num_envs=state["num_envs"],
            prioritized=state["alpha"] is not None,
            alpha=state["alpha"] or 0.0,
        )
        memory.load_state_dict(state)
        return memory

    def __reduce__(self) -> tuple[Callable[..., ReplayMemory], tuple[type[ReplayMemory], bytes]]:
        """Pickle and copy through the bytes that `save` writes."""
        file = io.BytesIO()
        replay_file.write(file, self.state_dict())
        return _from_bytes, (type(self), file.getvalue())


def _from_bytes(kind: type[ReplayMemory], content: bytes) -> ReplayMemory:
    return kind._read(io.BytesIO(content))


def _checked(memory: ReplayMemory, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state's columns in C order, their dtypes and row shapes being those of the memory."""
    refused = "cannot load this state: "
    expected: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "rng": (np.dtype(np.int64), ()),
        "counts": (np.dtype(np.int64), ()),
        "lens": (np.dtype(np.int64), ()),
        "heads": (np.dtype(np.int64), ()),
        "open": (np.dtype(np.bool_), ()),
        "obs": (memory.obs_dtype, memory.obs_shape),
        "actions": (memory.action_dtype, memory.action_shape),
        "rewards": (np.dtype(np.float32), ()),
        "terminated": (np.dtype(np.bool_), ()),
        "last": (np.dtype(np.bool_), ()),
        "finals": (memory.obs_dtype, memory.obs_shape),
        "priorities": (np.dtype(np.float64), ()),
    }
    plain = {
        "version": replay_file.VERSION,
        "capacity": memory.capacity,
        "num_envs": memory.num_envs,
        "alpha": memory.alpha,
    }
    missing = sorted((plain.keys() | expected.keys()) - state.keys())
    if missing:
        raise ValueError(f"{refused}it has no {', '.join(missing)}")
    unknown = sorted(str(key) for key in state.keys() - plain.keys() - expected.keys())
    if unknown:
        raise ValueError(f"{refused}it has {', '.join(unknown)}, which this version does not know")
    for name, value in plain.items():
        if state[name] != value:
            raise ValueError(f"{refused}its {name} is {state[name]}, this memory's is {value}")
    columns: dict[str, Any] = {}
    for name, (dtype, shape) in expected.items():
        column = state[name]
        if name == "priorities" and memory.alpha is None:
            if column is not None:
                raise ValueError(f"{refused}it has priorities, this memory has none")
            columns[name] = None
            continue
        array = np.asarray(column)
        if array.dtype != dtype:
            raise ValueError(f"{refused}its {name} has dtype {array.dtype}, expected {dtype}")
        if array.ndim == 0 or array.shape[1:] != shape:
            raise ValueError(f"{refused}its {name} has shape {array.shape}, expected {('rows', *shape)}")
        columns[name] = np.ascontiguousarray(array)
    if len(columns["rng"]) != 4:
        raise ValueError(f"{refused}its rng has {len(columns['rng'])} numbers, expected 4")
    return columns


def _at_least(least: int, name: str, value: SupportsIndex) -> int:
    number = value.__index__()
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _seed(seed: int) -> int:
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be from 0 to 2**64 - 1, got {seed}")
    return int(seed)


def _shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(_at_least(1, f"every length of {name}", length) for length in shape)


def _dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    found = np.dtype(dtype)
    # The one object that arrays of it have as well: who compares dtypes need not look inside.
    native: np.dtype[Any] = np.dtype(found.type)
    if native not in replay_file.DTYPES:
        raise ValueError(f"{name} must be a bool, integer or float dtype of at most 64 bits, got {found}")
    return native
