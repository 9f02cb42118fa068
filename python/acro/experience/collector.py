"""Stores what happens in the training environments."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from torch import nn

from acro.experience.stepper import Step, Stepper, unstacked
from acro.replay import ReplayMemory

logger = logging.getLogger(__name__)


class EnvRunner(Protocol):
    """Steps all environments, in this process (`Stepper`) or in Ray's (`RayRunner`)."""

    num_envs: int

    def steps(self, network: nn.Module, epsilon: float, count: int) -> Iterator[Step]:
        """Yield `count` steps of every environment. Use each one before asking for the next: arrays are reused."""

    def start(self, network: nn.Module, epsilon: float, count: int) -> None:
        """Start `count` steps of every environment, with the network's present weights."""

    def finish(self) -> Step:
        """Return the steps that were started, (count, N, ...)."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, except the network."""

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from `state`; return, by environment, why its episode could not be continued."""

    def close(self) -> None:
        """Stop processes of the runner's own; the next step starts them again."""


class EpisodeLog:
    """Every finished training episode: when it ended, what it returned (undiscounted), how long it was."""

    # The same number as in SB3 and CleanRL.
    WINDOW_EPISODES = 100

    def __init__(self) -> None:
        self.end_steps: list[int] = []
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def __len__(self) -> int:
        return len(self.returns)

    def append(self, end_step: int, episode_return: float, length: int) -> None:
        """Add an episode that ended at environment step `end_step`."""
        self.end_steps.append(end_step)
        self.returns.append(episode_return)
        self.lengths.append(length)

    def metrics(self) -> dict[str, float]:
        """Return means over the last 100 episodes; nothing before the first one has ended."""
        if not self.returns:
            return {}
        return {
            "train/return": float(np.mean(self.returns[-self.WINDOW_EPISODES :])),
            "train/length": float(np.mean(self.lengths[-self.WINDOW_EPISODES :])),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return three arrays of one entry per episode."""
        return {
            "end_steps": np.array(self.end_steps, dtype=np.int64),
            "returns": np.array(self.returns, dtype=np.float64),
            "lengths": np.array(self.lengths, dtype=np.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.end_steps = state["end_steps"].tolist()
        self.returns = state["returns"].tolist()
        self.lengths = state["lengths"].tolist()


class Collector:
    """Stores every transition of the environments, and counts their steps and episodes.

    Args:
        runner: Steps the environments.
        memory: Receives the transitions.
    """

    def __init__(self, runner: EnvRunner, memory: ReplayMemory) -> None:
        self.runner = runner
        self.memory = memory
        self.episodes = EpisodeLog()
        self.env_steps = 0
        # With a lag: steps that were taken ahead and are not in the memory yet.
        self._ahead: Step | None = None
        self._is_ahead = False

    def collect(
        self,
        network: nn.Module,
        epsilon: float,
        count: int,
    ) -> None:
        """Step every environment `count` times and store the transitions."""
        for step in self.runner.steps(network, epsilon, count):
            self._remember(step)

    def remember_ahead(self) -> bool:
        """Store the steps that were taken ahead; return False if there are none."""
        if not self._is_ahead:
            return False
        for step in unstacked(self._finished()):
            self._remember(step)
        self._ahead, self._is_ahead = None, False
        return True

    def start_ahead(self, network: nn.Module, epsilon: float, count: int) -> None:
        """Start the steps that the next round stores; other processes take them in the meantime."""
        self.runner.start(network, epsilon, count)
        self._is_ahead = True

    def close(self) -> None:
        """Stop the runner's processes; steps that were taken ahead are kept."""
        if self._is_ahead:
            # An environment's error, of any kind, has been raised before.
            with contextlib.suppress(Exception):
                self._finished()
        self.runner.close()

    def _finished(self) -> Step:
        if self._ahead is None:
            self._ahead = self.runner.finish()
        return self._ahead

    def _remember(self, step: Step) -> None:
        """Store the step, except those of environments that only reset, which are not transitions."""
        self.env_steps += self.runner.num_envs
        if step.acted.all():
            self.memory.extend(*step[:6])
        else:
            acted = np.flatnonzero(step.acted)
            self.memory.extend(*(column[acted] for column in step[:6]), envs=acted)
        for env in np.flatnonzero(step.ended):
            self.episodes.append(self.env_steps, float(step.returns[env]), int(step.lengths[env]))

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, except the network; `env` is None if it cannot be saved."""
        # The environments' state is the one after the steps that were taken ahead.
        ahead = {"ahead": self._finished()._asdict()} if self._is_ahead else {}
        return {
            "memory": self.memory.state_dict(),
            "episodes": self.episodes.state_dict(),
            "env_steps": self.env_steps,
            **ahead,
            **self.runner.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; environments without a saved state start new episodes.

        Raises:
            ValueError: The state is of another kind of memory or environment.
        """
        self.memory.load_state_dict(state["memory"])
        self.episodes.load_state_dict(state["episodes"])
        self.env_steps = state["env_steps"]
        if isinstance(self.runner, Stepper):
            # Messages name the step.
            self.runner.taken_steps = self.env_steps
        self._is_ahead = "ahead" in state
        self._ahead = Step(**state["ahead"]) if self._is_ahead else None
        own = ("memory", "episodes", "env_steps", "ahead")
        differences = self.runner.load_state_dict({name: value for name, value in state.items() if name not in own})
        if differences:
            reasons = "; ".join(f"environment {index} {reason}" for index, reason in differences.items())
            logger.warning("%s: their episodes start afresh, the rest continues exactly", reasons)
