"""An environment whose every step is known, and which writes down what it was asked."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray


class Corridor(gym.Env[NDArray[np.float32], np.int64]):
    """Observation = (episode, step). Odd episodes terminate after 3 steps, even ones are truncated after 2."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.episode = 0
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.calls.append("reset")
        self.episode += 1
        self.steps = 0
        return self._obs(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.calls.append(f"step {int(action)}")
        self.steps += 1
        terminated = self.episode % 2 == 1 and self.steps == 3
        truncated = self.episode % 2 == 0 and self.steps == 2
        return self._obs(), float(10 * self.episode + self.steps), terminated, truncated, {}

    def _obs(self) -> NDArray[np.float32]:
        return np.array([self.episode, self.steps], dtype=np.float32)


gym.register(
    "acro-tests/Corridor-v0", entry_point=f"{__name__}:Corridor", disable_env_checker=True, order_enforce=False
)
