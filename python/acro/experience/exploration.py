"""How actions are chosen while learning: schedules and temporally extended epsilon-greedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Dabney et al. (2021) cut durations at 10,000 steps, so that one draw of the heavy tail cannot take over a run.
MAX_DURATION_STEPS = 10_000
# Stands for the greedy action, which the network chooses.
GREEDY = -1


@dataclass(frozen=True)
class LinearSchedule:
    """A straight line from `start` to `end` over `duration_steps`, then constant."""

    start: float
    end: float
    duration_steps: int

    def __call__(self, step: int) -> float:
        """Return the value at `step` (environment steps, from 0)."""
        if step >= self.duration_steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.duration_steps


@dataclass(frozen=True)
class ExponentialSchedule:
    """`start` times `factor` for every count, never below `end`."""

    start: float
    factor: float
    end: float

    def __call__(self, count: int) -> float:
        """Return the value after `count` multiplications (episodes, say)."""
        return max(self.end, self.start * self.factor**count)


def check_zeta_exponent(exponent: float | None) -> None:
    """Raise a ValueError unless `exponent` is None or makes a zeta distribution."""
    if exponent is not None and not exponent > 1.0:
        raise ValueError(f"zeta_exponent must be above 1 or None, got {exponent}")


class EpsilonGreedy:
    """Temporally extended epsilon-greedy (ez-greedy), for many environments at once.

    With probability epsilon an exploratory action is drawn uniformly and held for a number of steps drawn from
    a zeta distribution, P(n) proportional to n**-exponent, or until the episode ends.

    Args:
        num_envs: Environments that act side by side.
        num_actions: Actions are the integers from 0 to `num_actions - 1`.
        zeta_exponent: 2 in the paper; None holds each exploratory action for one step (plain epsilon-greedy).
        seed: Each environment has a Generator of its own, seeded with this and its number, so that its actions do not
            depend on the process that steps it.
        first_env: Number of the first environment, where other processes step the ones before.

    Source: Dabney, Ostrovski and Barreto, "Temporally-Extended epsilon-Greedy Exploration" (2021).
    """

    def __init__(
        self, num_envs: int, num_actions: int, *, zeta_exponent: float | None = 2.0, seed: int = 0, first_env: int = 0
    ) -> None:
        check_zeta_exponent(zeta_exponent)
        self.num_actions = num_actions
        self.zeta_exponent = zeta_exponent
        self._generators = [
            np.random.Generator(np.random.PCG64([seed, first_env + index])) for index in range(num_envs)
        ]
        self._held_actions = np.zeros(num_envs, dtype=np.int64)
        self._remaining_steps = np.zeros(num_envs, dtype=np.int64)

    def explore(self, epsilon: float | NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the next exploratory actions (num_envs,) int64; `GREEDY` where an environment does not explore.

        `epsilon` is one probability, or one for each environment (num_envs,).
        """
        starting = np.array([generator.random() for generator in self._generators]) < epsilon
        # Most steps, once epsilon is small.
        if not (starting.any() or self._remaining_steps.any()):
            return np.full(len(starting), GREEDY, dtype=np.int64)
        starting &= self._remaining_steps == 0
        for env in np.flatnonzero(starting):
            self._held_actions[env] = self._generators[env].integers(self.num_actions)
            self._remaining_steps[env] = self._duration(self._generators[env])
        exploring = self._remaining_steps > 0
        self._remaining_steps -= exploring
        return np.where(exploring, self._held_actions, GREEDY)

    def end_episodes(self, ended: NDArray[np.bool_]) -> None:
        """Drop the held action of every environment whose episode `ended` (num_envs,)."""
        self._remaining_steps[ended] = 0

    def _duration(self, generator: np.random.Generator) -> int:
        return 1 if self.zeta_exponent is None else min(generator.zipf(self.zeta_exponent), MAX_DURATION_STEPS)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next actions depend on, as arrays and plain values."""
        return {
            "generators": [generator.bit_generator.state for generator in self._generators],
            "held_actions": self._held_actions.copy(),
            "remaining_steps": self._remaining_steps.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, as `state_dict` returned it."""
        for generator, generator_state in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = generator_state
        self._held_actions[:] = state["held_actions"]
        self._remaining_steps[:] = state["remaining_steps"]
