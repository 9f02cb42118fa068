"""The replay memory: keeps the newest transitions of one or many environments and draws random batches."""

from __future__ import annotations

import functools
import io
import math
import operator
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from acro._rust import ReplayMemory as RustReplayMemory
from acro.replay import file as replay_file
from acro.replay import state as replay_state
from acro.storage.files import replacing

if TYPE_CHECKING:
    import gymnasium
    from typing_extensions import Self

# Faster than the constructor of a named tuple, which is Python code.
_new = tuple.__new__


class Batch(NamedTuple):
    """Transitions as columns, whose leading axes are the shape that `sample` was called with.

    With `n_step` above 1 a transition spans up to that many steps of one episode: `rewards` is their discounted sum,
    `next_obs` and `terminated` belong to the last of them. The target of a value is always
    `rewards + discounts * value(next_obs)`.
    """

    obs: Any
    """(..., *obs_shape) of the memory's dtype; (..., frame_stack, *obs_shape) if frames are stacked."""
    actions: Any
    """(..., *action_shape) of the memory's dtype."""
    rewards: Any
    """(...) float32."""
    next_obs: Any
    """Shape and dtype of `obs`."""
    discounts: Any
    """(...) float32: gamma**k for k steps, 0 where the last one terminated."""
    terminated: Any
    """(...) bool."""
    indices: Any
    """(...) int64: insertion ids, for `gather` and `update_priorities`."""
    weights: Any = None
    """(...) float32 importance weights, at most 1; None without priorities."""

    def __repr__(self) -> str:
        """Return the columns' shapes and dtypes."""
        columns = zip(self._fields, self, strict=True)
        shown = (f"{name} {tuple(column.shape)} {column.dtype}" for name, column in columns if column is not None)
        return f"Batch({', '.join(shown)})"

    def as_tensors(self) -> Batch:
        """Return the same batch as tensors that share its memory."""
        tensor = _from_numpy()
        weights = self.weights
        return _new(Batch, (*map(tensor, self[:-1]), None if weights is None else tensor(weights)))

    def unbind(self) -> list[Batch]:
        """Return the minibatches of a batch with leading axes (M, B), as views."""
        columns = ([None] * len(self.rewards) if column is None else column for column in self)
        return [_new(Batch, minibatch) for minibatch in zip(*columns, strict=True)]

    def to(self, device: Any) -> Batch:
        """Return the same batch of tensors on `device`, of torch."""
        return _new(Batch, (None if column is None else column.to(device) for column in self))


@functools.cache
def _from_numpy() -> Callable[[Any], Any]:
    # The memory alone does not need torch, and an import statement in a function takes 0.3 µs every time.
    from torch import from_numpy

    return from_numpy


class ReplayMemory(RustReplayMemory):
    """Keeps a fixed number of each environment's newest transitions.

    In a full memory a new transition replaces the environment's oldest. Every transition can be drawn.
    Each observation is stored once: `next_obs` is the `obs` of the following transition. It is stored separately where
    an episode ends, where a transition does not follow the one before, and for each environment's newest transition.
    With `frame_stack` single frames are stored and stacks are drawn, exactly as Gymnasium's
    `FrameStackObservation` would have shown them.

    All methods are thread-safe. After `os.fork` the child has a copy of the memory,
    whose pages are copied when they are written; a fork waits for other threads' calls. Pickling and copying copy
    everything, including a subclass's attributes.
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
        frame_stack: SupportsIndex | None = None,
        padding: Literal["reset", "zero"] = "reset",
    ) -> Self:
        """Make an empty memory; all of it is allocated now, except final observations.

        Args:
            capacity: Transitions to keep; each environment gets `capacity // num_envs`.
            obs_shape: One observation's shape, or one frame's if frames are stacked.
            obs_dtype: One observation's dtype, a bool, integer or float.
            action_shape: One action's shape.
            action_dtype: One action's dtype.
            num_envs: Number of environments; each has its own ring.
            seed: Where the stream of draws starts.
            prioritized: Draw by priority (Schaul et al. 2016), not uniformly.
            alpha: Exponent of the priorities; 0 draws uniformly, 1 in proportion to them.
            frame_stack: Frames in one drawn observation, on an axis before the frame's own, the newest last; None
                draws single observations without that axis.
            padding: What a stack has before an episode's first frame: "reset" repeats that frame, "zero" has zeros.

        Raises:
            ValueError: A number is out of its range.
            TypeError: A value has the wrong type.
            MemoryError: There is not enough memory; the message says how many bytes are needed.
        """
        return super().__new__(
            cls,
            Batch,
            capacity,
            _shape("obs_shape", obs_shape),
            _dtype("obs_dtype", obs_dtype),
            _shape("action_shape", action_shape),
            _dtype("action_dtype", action_dtype),
            num_envs=num_envs,
            seed=seed,
            alpha=_alpha(alpha) if prioritized else None,
            frame_stack=frame_stack,
            padding=padding,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} of {self.capacity} transitions, {self.num_envs} environments)"

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
        frame_stack: int | None = None,
        padding: Literal["reset", "zero"] = "reset",
    ) -> Self:
        """Make an empty memory for the spaces of one environment.

        Args:
            capacity: Transitions to keep; see the class, also for the other arguments.
            observation_space: A Box; that of single frames if the memory stacks them.
            action_space: A Discrete, MultiDiscrete, MultiBinary or Box.
            num_envs: Number of environments.
            seed: Where the stream of draws starts.
            prioritized: Draw by priority.
            alpha: Exponent of the priorities.
            frame_stack: Frames in one drawn observation, or None.
            padding: What a stack has before an episode's first frame.

        Raises:
            TypeError: A space has the wrong type.
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
            frame_stack=frame_stack,
            padding=padding,
        )

    @property
    def prioritized(self) -> bool:
        """Whether transitions are drawn by priority."""
        return self.alpha is not None

    def empty_batch(self, batch_size: int | tuple[int, int], *, pin_memory: bool = False) -> Batch:
        """Return a batch for `sample(batch_size, out=...)` to fill; its numbers are arbitrary.

        Args:
            batch_size: B, or (M, B), as for `sample`.
            pin_memory: Take page-locked memory from torch, which a GPU copies from without a copy in between.

        Raises:
            RuntimeError: Memory cannot be page-locked: there is no GPU.
        """
        shape = batch_size if isinstance(batch_size, tuple) else (batch_size,)
        stack = () if self.frame_stack is None else (self.frame_stack,)
        make = _page_locked if pin_memory else np.empty

        def column(dtype: DTypeLike, row: tuple[int, ...] = ()) -> NDArray[Any]:
            return make((*shape, *row), np.dtype(dtype))

        obs, next_obs = (column(self.obs_dtype, (*stack, *self.obs_shape)) for _ in range(2))
        return Batch(
            obs,
            column(self.action_dtype, self.action_shape),
            column(np.float32),
            next_obs,
            column(np.float32),
            column(np.bool_),
            column(np.int64),
            column(np.float32) if self.prioritized else None,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the whole state, as arrays and plain values."""
        columns = self._state()
        rows, finals = len(columns["rewards"]), int(columns["last"].sum())
        return {
            **replay_state.plain(self),
            **columns,
            "obs": columns["obs"].view(self.obs_dtype).reshape(rows, *self.obs_shape),
            "actions": columns["actions"].view(self.action_dtype).reshape(rows, *self.action_shape),
            "finals": columns["finals"].view(self.obs_dtype).reshape(finals, *self.obs_shape),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned.

        Raises:
            ValueError: The state is incomplete or inconsistent, or is of a memory with other arguments;
                nothing is changed then.
        """
        self._restore(replay_state.checked(self, replay_state.upgraded(state)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole memory to `path`; if that fails, the file keeps its old content.

        `docs/file-format.md` describes the file: no pickle, and later versions can read it. Saving needs as many extra
        bytes of memory as are in use.

        Raises:
            OSError: The file cannot be written.
        """
        with replacing(path) as file:
            replay_file.write(file, self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load the memory that was saved to `path`.

        Raises:
            OSError: The file cannot be read.
            ValueError: It has another format or a later version, was cut short, or is damaged.
            MemoryError: There is not enough memory.
        """
        with open(path, "rb") as file:
            try:
                return cls._read(file)
            except ValueError as error:
                raise ValueError(f"cannot load {os.fspath(path)!r}: {error}") from None

    @classmethod
    def _read(cls, file: IO[bytes]) -> Self:
        state = replay_state.upgraded(replay_file.read(file))
        replay_state.require(state)
        obs, actions, num_envs, alpha = state["obs"], state["actions"], state["num_envs"], state["alpha"]
        # Checked before a memory is made, since the number of environments may be damaged.
        if len(state["counts"]) != num_envs:
            raise ValueError(f"it has {len(state['counts'])} counts for {num_envs} environments")
        memory = cls(
            state["capacity"],
            obs.shape[1:],
            obs_dtype=obs.dtype,
            action_shape=actions.shape[1:],
            action_dtype=actions.dtype,
            num_envs=num_envs,
            prioritized=alpha is not None,
            alpha=0.0 if alpha is None else alpha,
            frame_stack=state["frame_stack"],
            padding=state["padding"],
        )
        memory.load_state_dict(state)
        return memory

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by the bytes that `save` writes, and a subclass's attributes."""
        file = io.BytesIO()
        replay_file.write(file, self.state_dict())
        return _from_bytes, (type(self), file.getvalue()), self.__dict__ or None


def _from_bytes(kind: type[ReplayMemory], content: bytes) -> ReplayMemory:
    return kind._read(io.BytesIO(content))


def _page_locked(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    from torch import empty, uint8

    # Torch does not have all of NumPy's dtypes.
    content: NDArray[Any] = empty(math.prod(shape) * dtype.itemsize, dtype=uint8, pin_memory=True).numpy()
    return content.view(dtype).reshape(shape)


def _alpha(alpha: float) -> float:
    try:
        return float(alpha)
    except (TypeError, ValueError):
        raise TypeError(f"alpha must be a number from 0 to 8, got {reprlib.repr(alpha)}") from None
    except OverflowError:
        raise ValueError(f"alpha must be a number from 0 to 8, got {reprlib.repr(alpha)}") from None


def _shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    try:
        lengths = tuple(operator.index(length) for length in shape)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of ints, got {reprlib.repr(shape)}") from None
    for length in lengths:
        if not 1 <= length < 2**63:
            raise ValueError(f"every length of {name} must be at least 1, got {length}")
    return lengths


def _dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    found = np.dtype(dtype)
    # NumPy's own object for that dtype, so that comparisons of dtypes are fast.
    native: np.dtype[Any] = np.dtype(found.type)
    if native not in replay_file.DTYPES:
        raise ValueError(f"{name} must be a bool, integer or float dtype of at most 64 bits, got {found}")
    return native
