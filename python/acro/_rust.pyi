"""Everything that Python uses of Rust."""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Self, disjoint_base

from acro.replay import Batch

__all__ = [
    "BUILD_PROFILE",
    "Acrobots",
    "Network",
    "ReplayMemory",
    "__version__",
    "acrobot_observe",
    "acrobot_step",
    "available_bytes",
]

__version__: str
# A debug build is many times slower.
BUILD_PROFILE: Literal["debug", "release"]

def available_bytes() -> int | None:
    """Return how many bytes can be allocated without swapping or being killed; None if the system does not tell."""

# acrobot

@final
class Acrobots:
    """Acrobots that are stepped together; use them as `acro.envs.acrobot.AcrobotVectorEnv`.

    States are (theta1, theta2, velocity1, velocity2) in rad and rad/s, float64; observations are float32.
    """

    def __new__(cls, seeds: list[int], max_episode_steps: int, autoreset: str) -> Acrobots:
        """Make an environment for each seed, an int from 0 to 2**128 - 1; `autoreset` is an `AutoresetMode.value`."""

    def reset(
        self,
        seeds: list[int | None],
        mask: npt.NDArray[np.bool_] | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Begin episodes where `mask` is true, or everywhere; return all observations, (num_envs, 6)."""

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        npt.NDArray[np.float32] | None,
    ]:
        """Return observations, rewards, terminated, truncated, and the (k, 6) final observations that resets replaced.

        Fresh arrays. The last is None if this step reset nothing.
        """

    @property
    def states(self) -> npt.NDArray[np.float64]:
        """A copy of the states, (num_envs, 4)."""

    def save(
        self,
    ) -> tuple[bool, npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_], list[tuple[int, int]]]:
        """Return whether there was a reset, states, steps taken, ended, and each PCG64's (state, inc)."""

    def restore(
        self,
        has_reset: bool,
        states: npt.NDArray[np.float64],
        elapsed: npt.NDArray[np.int64],
        ended: npt.NDArray[np.bool_],
        rngs: list[tuple[int, int]],
    ) -> None:
        """Continue from what `save` returned; raise a ValueError and change nothing if it does not fit."""

def acrobot_step(
    states: npt.NDArray[np.float64], actions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the next states, (n, 4), and which of them are at the goal. No episodes, no time limit."""

def acrobot_observe(states: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the observations of the states, (n, 6)."""

# network

@final
class Network:
    """A multilayer perceptron with ReLU and working memory for its updates; the caller owns the parameters.

    Parameters are a float32 array (num_parameters,) in the order of `Module.parameters()`: the weight (outputs, inputs)
    and the bias of each linear layer, and for `layer_norm` the normalisation's weight and bias after each hidden one.
    The last layer has `outputs` numbers for each action; with `dueling`, those of the state's value come first.

    Arrays must have the given dtype and C order; they are not copied. The same calls give the same bits on the same
    machine. One thread is used.
    """

    def __new__(
        cls,
        observation_size: int,
        hidden: Sequence[int],
        num_actions: int,
        *,
        outputs: int = 1,
        dueling: bool = False,
        layer_norm: bool = False,
    ) -> Network:
        """Make a network with `outputs` numbers per action: 1 for its value, or the number of quantiles.

        `dueling` has a state value, and advantages with a mean of 0 (Wang et al. 2016). `layer_norm` has a
        `torch.nn.LayerNorm` between each hidden linear layer and its ReLU.
        Raises: ValueError for a size below 1.
        """

    @property
    def num_parameters(self) -> int:
        """The number of parameters of all layers."""

    def forward(self, parameters: npt.NDArray[np.float32], obs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the actions' numbers for `obs` (N, ...), a fresh array (N, num_actions, outputs).

        Observations with several axes are flattened. O(N * num_parameters).
        Raises: TypeError for another dtype, ValueError for another shape or order.
        """

    def greedy_actions(
        self, parameters: npt.NDArray[np.float32], obs: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int64]:
        """Return, for each row of `obs` (N, ...), the first action with the largest mean, (N,).

        NaN counts as the largest, as in torch. Raises the errors of `forward`.
        """

    def learn(
        self,
        parameters: npt.NDArray[np.float32],
        exp_avg: npt.NDArray[np.float32],
        exp_avg_sq: npt.NDArray[np.float32],
        target: npt.NDArray[np.float32],
        average: npt.NDArray[np.float32] | None,
        obs: npt.NDArray[np.float32],
        actions: npt.NDArray[np.int64],
        rewards: npt.NDArray[np.float32],
        next_obs: npt.NDArray[np.float32],
        discounts: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32] | None = None,
        *,
        loss: Literal["huber", "mse", "quantile"],
        double: bool,
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        adam_steps: int,
        max_grad_norm: float | None,
        target_update_every: int,
        tau: float,
        updates: int,
        average_updates: int | None = None,
    ) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
        """Make one gradient update per minibatch, in place; return temporal-difference errors (M, B) and statistics.

        Errors are those of the expected return. The statistics are of the last minibatch: `loss`, `q_mean` and `q_max`
        of the taken actions, and `grad_norm` before clipping.
        `parameters`, Adam's `exp_avg` and `exp_avg_sq`, `target` and `average`, (num_parameters,) each, are changed.
        Columns are (M, B), observations (M, B, ...); `discounts` multiply the next return, 0 where the episode
        terminated; `weights` multiply the losses.
        `adam_steps` and `updates` are the numbers of steps and updates before. Every `target_update_every` updates the
        target network moves towards the online one by the share `tau`; once a round `average` does so by the share
        1 - (1 - 1 / average_updates)**M.
        Other Python threads run in the meantime and must not use the arrays. A second round of the same Network waits.
        Raises: TypeError for another dtype; ValueError for another shape or order, an array that is read-only or
        shares memory with one that is changed, an unknown action, or a number out of its range. Nothing is changed
        then.
        """

# replay

@disjoint_base
class ReplayMemory:
    """A ring of steps for each environment; the base class of `acro.replay.ReplayMemory`.

    Shapes and dtypes of rows are fixed. Values are converted if that keeps them: to the same or a wider kind (float64
    to float32 may round), and between integers if every value fits. Arrays of the memory's dtype in C order need no
    conversion.
    """

    def __new__(
        cls,
        batch: type[Batch],
        capacity: SupportsIndex,
        obs_shape: tuple[int, ...],
        obs_dtype: np.dtype[Any],
        action_shape: tuple[int, ...],
        action_dtype: np.dtype[Any],
        *,
        num_envs: SupportsIndex,
        seed: int,
        alpha: float | None,
        frame_stack: SupportsIndex | None,
        padding: str,
    ) -> Self: ...
    def push(
        self,
        obs: npt.ArrayLike,
        action: npt.ArrayLike,
        reward: float,
        next_obs: npt.ArrayLike,
        terminated: bool,
        truncated: bool = False,
        *,
        env: SupportsIndex = 0,
    ) -> None:
        """Store one transition of environment `env`; O(its bytes).

        `terminated` means that no reward can follow, `truncated` that the episode was only cut off. Transitions may
        come in any order: one whose `obs` is not the last `next_obs` starts a new sequence (-0.0 equals 0.0).
        Raises: ValueError for a wrong shape or environment, TypeError for a dtype that would lose values, MemoryError
        if there is no memory for a final observation. Nothing is stored then.
        """

    def extend(
        self,
        obs: npt.ArrayLike,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        next_obs: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        *,
        envs: npt.ArrayLike | None = None,
    ) -> None:
        """Store one transition of every environment, or of those in `envs` (N,), in order; all of them or none.

        This equals that many calls of `push`. An environment may occur several times.
        """

    def sample(
        self,
        batch_size: int | tuple[int, int],
        *,
        n_step: int = 1,
        gamma: float = 0.99,
        replace: bool = True,
        beta: float = 0.4,
        out: Batch | None = None,
    ) -> Batch:
        """Draw B random transitions, or M minibatches of B for a `batch_size` of (M, B), as arrays in C order.

        The arrays are new, or those of an earlier batch that nothing refers to any more (no view, tensor or buffer).

        `n_step` is the number of steps that rewards are summed over, fewer at an episode's end and at the newest
        transition; `gamma` is the discount factor. Without `replace` a minibatch has no transition twice. `beta` is
        the exponent of the importance weights, 0 for none, 1 for full correction; each minibatch's weights are
        divided by the largest. With priorities a minibatch is stratified: one draw from each B-th part of their sum.
        O(transitions * n_step), with priorities plus O(log capacity) for each.
        `out` is a batch of an earlier call with the same `batch_size`; its arrays are overwritten and it is returned,
        so that tensors which share its memory are made only once.
        Raises: ValueError if the memory is empty, has fewer than B transitions to draw without replacement, all
        priorities are zero, a number is out of its range, or `out` does not fit. Nothing is drawn or written then.
        """

    def gather(self, indices: npt.ArrayLike, *, n_step: int = 1, gamma: float = 0.99) -> Batch:
        """Return the transitions with these `indices` of earlier batches, without weights.

        Raises: ValueError if one of them was overwritten or cleared since, or never existed.
        """

    def latest(self, obs: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return what the network sees when the environments show `obs` (num_envs, *obs_shape), as (num_envs, *row).

        With `frame_stack` this is a stack for each, with `obs` as the newest frame. The frames before it are stored
        ones if `obs` is the `next_obs` of the environment's newest transition and that ended no episode, else padding.
        A fresh array.
        Raises: ValueError for a wrong shape, TypeError for a dtype that would lose values.
        """

    def update_priorities(self, indices: npt.ArrayLike, priorities: npt.ArrayLike) -> int:
        """Set transitions' priorities; return how many of `indices` are still in the memory.

        If an index occurs twice, its last priority counts. A transition with priority 0 is not drawn. New transitions
        get the largest present priority, 1 at first.
        Raises: ValueError for NaN, infinite, negative or overflowing priorities, RuntimeError for a memory without
        priorities. None is changed then.
        """

    def clear(self) -> None:
        """Remove all transitions; earlier `indices` become invalid, and the stream of draws continues."""

    def __len__(self) -> int: ...
    @property
    def capacity(self) -> int:
        """The most transitions that can be stored: the same number for each environment."""

    @property
    def num_envs(self) -> int:
        """The number of environments."""

    @property
    def alpha(self) -> float | None:
        """The exponent of the priorities; None without priorities."""

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """The shape of one observation as it is pushed, a single frame."""

    @property
    def frame_stack(self) -> int | None:
        """The number of frames in a drawn observation, (frame_stack, *obs_shape); None for no such axis."""

    @property
    def padding(self) -> str:
        """What a stack has before an episode's first frame: "reset" for that frame, "zero" for zeros."""

    @property
    def obs_dtype(self) -> np.dtype[Any]:
        """One observation's dtype."""

    @property
    def action_shape(self) -> tuple[int, ...]:
        """One action's shape."""

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """One action's dtype."""

    @property
    def nbytes(self) -> int:
        """The allocated bytes: fixed, except for final observations, which grow as episodes end."""

    @property
    def is_full(self) -> bool:
        """Whether every further transition replaces one."""

    def _state(self) -> dict[str, npt.NDArray[Any]]: ...
    def _restore(self, columns: dict[str, Any]) -> None: ...
