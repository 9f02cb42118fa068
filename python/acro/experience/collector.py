"""Remembering what happened in the training environments."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from acro.experience.stepper import Step, Stepper, unstacked
from acro.replay import ReplayMemory

logger = logging.getLogger(__name__)


class EpisodeLog:
    """Every finished training episode: when it ended, what it returned (undiscounted), how long it was."""

    # SB3 and CleanRL report the mean of as many.
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
        """Return the running means over the last 100 episodes; nothing before the first has ended."""
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


class Places(Protocol):
    """Where the environments are stepped: here, or in other processes."""

    num_envs: int

    def steps(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> Iterator[Step]:
        """Yield `count` steps of every environment, each good until the next; it may be taken only then."""

    def start(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> None:
        """Begin `count` steps of every environment, with the actions of `network` as it is now."""

    def finish(self) -> Step:
        """Return the steps that were begun, (count, N, ...)."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next steps but the network."""

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from `state`; return why episodes of which environments could not be continued."""

    def close(self) -> None:
        """End what steps elsewhere; it is started again when it is asked."""


class Here:
    """Environments that are stepped in this process."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper
        self.num_envs = stepper.env.num_envs
        self._steps: Step | None = None

    def steps(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> Iterator[Step]:
        """Take a step whenever one is asked for."""
        for _ in range(count):
            yield self.stepper.step(network, epsilon, device)

    def start(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> None:
        """Take them at once."""
        self._steps = self.stepper.steps(network, epsilon, count, device)

    def finish(self) -> Step:
        """Return them."""
        assert self._steps is not None
        steps, self._steps = self._steps, None
        return steps

    def state_dict(self) -> dict[str, Any]:
        """Return the environments' state and their exploration's."""
        return self.stepper.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from `state`."""
        return self.stepper.load_state_dict(state)

    def close(self) -> None:
        """Do nothing: the environments stay."""


class Collector:
    """Stores every transition of the environments, and counts their steps and episodes.

    Args:
        places: Where the environments are stepped.
        memory: What receives the transitions.
    """

    def __init__(self, places: Places, memory: ReplayMemory) -> None:
        self.places = places
        self.memory = memory
        self.episodes = EpisodeLog()
        self.env_steps = 0
        # Steps that were taken ahead, and are not remembered yet.
        self._ahead: Step | None = None
        self._is_ahead = False

    def collect(
        self,
        network: nn.Module,
        epsilon: float,
        count: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Step every environment `count` times, and remember."""
        for step in self.places.steps(network, epsilon, count, device):
            self._remember(step)

    def remember_ahead(self) -> bool:
        """Remember the steps that were taken ahead; return False where there are none."""
        if not self._is_ahead:
            return False
        for step in unstacked(self._finished()):
            self._remember(step)
        self._ahead, self._is_ahead = None, False
        return True

    def start_ahead(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str = "cpu") -> None:
        """Begin steps that are remembered in the next round; other processes take them meanwhile."""
        self.places.start(network, epsilon, count, device)
        self._is_ahead = True

    def close(self) -> None:
        """End what steps elsewhere, and keep what was stepped ahead."""
        if self._is_ahead:
            with contextlib.suppress(RuntimeError, ValueError):  # What an environment raised was told already.
                self._finished()
        self.places.close()

    def _finished(self) -> Step:
        if self._ahead is None:
            self._ahead = self.places.finish()
        return self._ahead

    def _remember(self, step: Step) -> None:
        """Store the environments that acted: in one that only reset, the row (last obs -> first obs) never happened."""
        self.env_steps += self.places.num_envs
        if step.acted.all():
            self.memory.extend(*step[:6])
        else:
            acted = np.flatnonzero(step.acted)
            self.memory.extend(*(column[acted] for column in step[:6]), envs=acted)
        for env in np.flatnonzero(step.ended):
            self.episodes.append(self.env_steps, float(step.returns[env]), int(step.lengths[env]))

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next steps but the network; `env` is None where it cannot be taken."""
        # What was taken ahead is a part of it, and the environments stand behind it.
        ahead = {"ahead": self._finished()._asdict()} if self._is_ahead else {}
        return {
            "memory": self.memory.state_dict(),
            "episodes": self.episodes.state_dict(),
            "env_steps": self.env_steps,
            **self.places.state_dict(),
            **ahead,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; without an environment's state, from the fresh episodes that it is in.

        Raises:
            ValueError: The memory or the environment is of another kind than the state's.
        """
        self.memory.load_state_dict(state["memory"])
        self.episodes.load_state_dict(state["episodes"])
        self.env_steps = state["env_steps"]
        self._is_ahead = "ahead" in state
        self._ahead = Step(**state["ahead"]) if self._is_ahead else None
        # Checkpoints from before lives counted have none.
        names = ("exploration", "env", "obs", "returns", "lengths", "resetting", "lives")
        differences = self.places.load_state_dict({name: state[name] for name in names if name in state})
        if differences:
            reasons = "; ".join(f"environment {index} {reason}" for index, reason in differences.items())
            logger.warning("%s: their episodes start afresh, the rest continues exactly", reasons)
