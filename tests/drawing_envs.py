"""Environments that draw, each with a fault or a trait that rendering must deal with."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Drawing(gymnasium.Env[Any, Any]):
    """A square that walks `length` steps over a small picture; returns -1 a step."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium has it
    observation_space = Box(-1.0, 1.0, (3,), np.float32)
    action_space = Discrete(2)

    def __init__(self, render_mode: str | None = None, length: int = 12, dt: float | None = None) -> None:
        self.render_mode = render_mode
        self.length = length
        self.steps = 0
        if dt is not None:
            self.dt = dt

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed, options=options)
        self.steps = 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.steps += 1
        return self._obs(), -1.0, self.steps >= self.length, False, {}

    def _obs(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)

    def render(self) -> Any:
        picture = np.full((40, 60, 3), 255, dtype=np.uint8)
        picture[10:20, self.steps % 50 : self.steps % 50 + 10] = (200, 30, 30)
        return picture


class FailsHalfway(Drawing):
    """Draws no more after three steps."""

    def render(self) -> Any:
        return super().render() if self.steps < 3 else None


class Raises(Drawing):
    """Fails in its own way."""

    def render(self) -> Any:
        raise KeyError("no texture")


class WithoutPictures(Drawing):
    """Cannot draw at all."""

    metadata = {"render_modes": []}  # noqa: RUF012


def register() -> None:
    """Make the environments known to Gymnasium as `drawing/<class>-v0`."""
    for name in ("Drawing", "FailsHalfway", "Raises", "WithoutPictures"):
        if f"drawing/{name}-v0" not in gymnasium.registry:
            gymnasium.register(f"drawing/{name}-v0", entry_point=f"{__name__}:{name}")
    if "drawing/ShortCartPole-v0" not in gymnasium.registry:
        cartpole = gymnasium.spec("CartPole-v1").entry_point
        gymnasium.register("drawing/ShortCartPole-v0", entry_point=cartpole, max_episode_steps=5)


register()
