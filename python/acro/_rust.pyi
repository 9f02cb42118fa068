"""The boundary: everything that Rust gives to Python."""

from typing import final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Acrobots",
    "__version__",
    "acrobot_observe",
    "acrobot_step",
]

__version__: str

# acrobot

@final
class Acrobots:
    """Acrobots stepped together; `acro.acrobot.AcrobotVectorEnv` is their face.

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
    def has_reset(self) -> bool:
        """Whether `step` may be called."""

    @property
    def states(self) -> npt.NDArray[np.float64]:
        """A copy of the states, (num_envs, 4)."""

    def save(
        self,
    ) -> tuple[bool, npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_], list[tuple[int, int]]]:
        """`has_reset`, states, steps taken, ended, and each PCG64's (state, inc): the arguments of `restore`."""

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
