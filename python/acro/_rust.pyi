"""The boundary: everything that Rust gives to Python."""

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
]

__version__: str
# A debug build is many times slower.
BUILD_PROFILE: Literal["debug", "release"]

# acrobot

@final
class Acrobots:
    """Acrobots stepped together; `acro.envs.acrobot.AcrobotVectorEnv` is their face.

    States are (theta1, theta2, velocity1, velocity2) in rad and rad/s, float64; observations are float32.
    """

    def __new__(cls, seeds: list[int], max_episode_steps: int, autoreset: str) -> Acrobots:
        """One environment for each seed, an int from 0 to 2**128 - 1; `autoreset` as `AutoresetMode.value`."""

    def reset(
        self,
        seeds: list[int | None],
        mask: npt.NDArray[np.bool_] | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Begin episodes where `mask` says, or everywhere; returns all observations, (num_envs, 6)."""

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        npt.NDArray[np.float32] | None,
    ]:
        """Observations, rewards, terminated, truncated, and the (k, 6) final observations that resets replaced.

        Fresh arrays. The last is None where no reset happened in this step.
        """

    @property
    def states(self) -> npt.NDArray[np.float64]:
        """A copy of the states, (num_envs, 4)."""

    def save(
        self,
    ) -> tuple[bool, npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_], list[tuple[int, int]]]:
        """Whether there was a reset, states, steps taken, ended, and each PCG64's (state, inc)."""

    def restore(
        self,
        has_reset: bool,
        states: npt.NDArray[np.float64],
        elapsed: npt.NDArray[np.int64],
        ended: npt.NDArray[np.bool_],
        rngs: list[tuple[int, int]],
    ) -> None:
        """Continue where `save` was called; ValueError, and no change, if it does not fit."""

def acrobot_step(
    states: npt.NDArray[np.float64], actions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The states, (n, 4), one step on, and which of them are at the goal. No episodes, no limit."""

def acrobot_observe(states: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """What an agent sees of the states: (n, 6)."""

# network

@final
class Network:
    """A multilayer perceptron with ReLU, and the memory that its updates work in; parameters are the caller's.

    They are one float32 array (num_parameters,) in the order of `Module.parameters()`: of each linear layer the weight
    (outputs, inputs) and the bias, after a hidden layer with normalisation that one's weight and bias. The last layer
    gives `outputs` numbers for every action in turn, with `dueling` those of the state's value before them.

    Arrays are taken as they are: of the dtype that is named, in C order. The same calls give the same bits on the
    same machine. One thread.
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
        """`outputs` are the numbers per action: 1 for its value, or so many quantiles of the return.

        `dueling` has a state value, and advantages whose mean is taken off (Wang et al. 2016). `layer_norm` puts
        `torch.nn.LayerNorm` between each hidden linear layer and its ReLU.
        Raises: ValueError for a size below 1.
        """

    @property
    def num_parameters(self) -> int:
        """The parameters of all layers together."""

    def forward(self, parameters: npt.NDArray[np.float32], obs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return every action's numbers, a fresh array (N, num_actions, outputs), for `obs` (N, ...).

        An observation of more axes is flattened. O(N * num_parameters).
        Raises: TypeError for another dtype, ValueError for another shape or order.
        """

    def greedy_actions(
        self, parameters: npt.NDArray[np.float32], obs: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int64]:
        """Return for each row of `obs` (N, ...) the first action whose numbers have the largest mean, (N,).

        NaN counts as larger than all, as in torch. Raises as `forward` does.
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
        """Make one gradient update per minibatch, in place, and return temporal-difference errors (M, B) and numbers.

        The error is that of the expected return. The numbers are of the last minibatch: `loss`, `mean_q` and `max_q`
        of the taken actions, and `grad_norm` before clipping.
        `parameters`, Adam's `exp_avg` and `exp_avg_sq`, `target` and `average` are changed, (num_parameters,) each.
        Columns are (M, B), observations (M, B, ...); `discounts` are what the next return counts, 0 where the episode
        terminated; `weights` scale the losses.
        `adam_steps` and `updates` are how many came before. The target network takes a share `tau` of the online one
        after every `target_update_every` updates, counted with `updates`; `average` takes once a round the share
        1 - (1 - 1 / average_updates)**M.
        Other Python threads run meanwhile: they must not touch the arrays. A second round of the same Network waits.
        Raises: TypeError for another dtype; ValueError for another shape or order, an array that cannot be written or
        shares memory with one that is changed, an unknown action, or a number out of its range; nothing is changed
        then.
        """

# replay

@disjoint_base
class ReplayMemory:
    """Steps of several environments in rings; what `acro.replay.ReplayMemory` adds Python's comfort to.

    Shapes and dtypes of rows are fixed at the start. Values are converted where that keeps them: within a kind or to
    a richer one (float64 to float32 may round), between integers where every value fits. Arrays of the memory's own
    dtype in C order are taken as they are.
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
        """Remember one transition of environment `env`; O(its bytes).

        `terminated` says that nothing can be earned after it, `truncated` that the episode was only cut off. Any
        order of transitions is stored right: one whose `obs` is not the last `next_obs` starts a sequence of its own
        (-0.0 counts as 0.0 there).
        Raises: ValueError for a wrong shape or environment, TypeError for a dtype that would lose values, MemoryError
        when a final observation finds no room; nothing is stored then.
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
        """Remember one transition of every environment, or those of `envs` (N,), in order; all of them or none.

        As so many calls of `push`. An environment may come several times.
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
        """Draw B transitions at random, or M minibatches of B for a `batch_size` of (M, B); arrays in C order.

        The arrays are new, or those of an earlier batch that nothing holds any more: no view, tensor or buffer.

        `n_step` is how many steps a return looks ahead; fewer at an episode's end and at the newest transition.
        `gamma` is the discount of one step. Without `replace` no transition comes twice in a minibatch. `beta` is
        how far the weights correct for the priorities, 0 not at all, 1 fully; each minibatch's weights are divided
        by its largest. With priorities each minibatch is stratified: one draw from each B-th part of their sum.
        O(transitions * n_step), with priorities O(log capacity) for each besides.
        `out` is a batch of an earlier call with the same `batch_size`: its arrays are overwritten and it is returned,
        so that tensors which share them are made once.
        Raises: ValueError when the memory is empty, has fewer than B transitions to draw without replacement, every
        priority is zero, a number is out of its range, or `out` does not fit; nothing is drawn or written then.
        """

    def gather(self, indices: npt.ArrayLike, *, n_step: int = 1, gamma: float = 0.99) -> Batch:
        """Return the transitions that these `indices` of earlier batches name; without weights.

        Raises: ValueError when one of them was overwritten since, cleared, or never given out.
        """

    def latest(self, obs: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return what an agent sees now that the environments show `obs` (num_envs, *obs_shape): (num_envs, *row).

        With `frame_stack` that is a stack for each, `obs` the newest frame: with the frames before where `obs` is the
        `next_obs` of the environment's newest transition and that one ended no episode, else padded. A fresh array.
        Raises: ValueError for a wrong shape, TypeError for a dtype that would lose values.
        """

    def update_priorities(self, indices: npt.ArrayLike, priorities: npt.ArrayLike) -> int:
        """Give transitions new priorities and return how many of `indices` were still there.

        The last one counts where an index comes twice. A transition of priority 0 is not drawn. New transitions get
        the largest priority there is, 1 at first.
        Raises: ValueError for NaN, infinite, negative or overflowing priorities, RuntimeError for a memory without
        priorities; none is changed then.
        """

    def clear(self) -> None:
        """Forget every transition; `indices` given out become stale, the stream of draws goes on."""

    def __len__(self) -> int: ...
    @property
    def capacity(self) -> int:
        """How many transitions can be held: `num_envs` times the same number."""

    @property
    def num_envs(self) -> int:
        """How many environments there are."""

    @property
    def alpha(self) -> float | None:
        """The power that priorities are raised to; None without priorities."""

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """The shape of one observation as it is pushed: of one frame."""

    @property
    def frame_stack(self) -> int | None:
        """How many frames are given out as one observation, (frame_stack, *obs_shape); None for each alone."""

    @property
    def padding(self) -> str:
        """What is in a stack before an episode's first frame: "reset" for that frame, "zero" for zeros."""

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
        """The bytes held: asked for at the start, but for final observations, which come as episodes end."""

    @property
    def is_full(self) -> bool:
        """Whether every further transition takes the place of one."""

    def _state(self) -> dict[str, npt.NDArray[Any]]: ...
    def _restore(self, columns: dict[str, Any]) -> None: ...
