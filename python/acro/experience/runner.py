"""What steps the environments for the collector; here, those of this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import nn

from acro.experience.stepper import Step, Stepper


class EnvRunner(Protocol):
    """Steps all environments, in this process (`LocalRunner`) or in Ray's (`RayRunner`)."""

    num_envs: int

    def steps(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> Iterator[Step]:
        """Yield `count` steps of every environment. Use each one before asking for the next: arrays are reused."""

    def start(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> None:
        """Start `count` steps of every environment, with the network's present weights."""

    def finish(self) -> Step:
        """Return the steps that were started, (count, N, ...)."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, except the network."""

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from `state`; return, by environment, why its episode could not be continued."""

    def close(self) -> None:
        """Stop processes of the runner's own; the next step starts them again."""


class LocalRunner:
    """Steps environments in this process."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper
        self.num_envs = stepper.env.num_envs
        self._steps: Step | None = None

    def steps(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> Iterator[Step]:
        """Yield `count` steps, each taken when it is asked for."""
        for _ in range(count):
            yield self.stepper.step(network, epsilon, device)

    def start(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str) -> None:
        """Take `count` steps at once: there is no other process to take them later."""
        self._steps = self.stepper.steps(network, epsilon, count, device)

    def finish(self) -> Step:
        """Return the steps of `start`."""
        assert self._steps is not None
        steps, self._steps = self._steps, None
        return steps

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the environments and of their exploration."""
        return self.stepper.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from `state`."""
        return self.stepper.load_state_dict(state)

    def close(self) -> None:
        """Do nothing: the environments stay open for a second `fit`."""
