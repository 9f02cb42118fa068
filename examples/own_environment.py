"""Train an environment of your own: a walker in a corridor looks for the door."""

from __future__ import annotations

from typing import Any

import gymnasium
import lightning as L
import numpy as np
import numpy.typing as npt
import torch

from acro import DQN, Evaluation, Experience

STEP = 0.2
Observation = npt.NDArray[np.float32]


class Corridor(gymnasium.Env[Observation, np.int64]):
    """An observation is where the walker and the door are; every step until the door costs 1."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)  # left, stay, right
        self.places = np.zeros(2, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Put the walker and the door anywhere. All randomness comes from `np_random`, so a run can resume."""
        super().reset(seed=seed)
        self.places = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self.places.copy(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Walk a step; the time limit of `register` truncates, not the environment."""
        self.places[0] = np.clip(self.places[0] + STEP * (int(action) - 1), -1.0, 1.0)
        at_the_door = abs(self.places[0] - self.places[1]) < STEP
        return self.places.copy(), -1.0, bool(at_the_door), False, {}


gymnasium.register("examples/Corridor-v0", entry_point=f"{__name__}:Corridor", max_episode_steps=100)


def main(epochs: int = 12) -> Evaluation:
    """Train for 512 steps an epoch; return the last evaluation."""
    torch.set_num_threads(1)
    experience = Experience("examples/Corridor-v0", steps_per_epoch=512, learning_starts_steps=256, n_step=3)
    dqn = DQN(experience.observation_size, experience.num_actions, hidden=(64, 64), target_update_every=1, tau=0.01)
    trainer = L.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, logger=False)
    trainer.fit(dqn, experience)
    assert dqn.last_evaluation is not None
    return dqn.last_evaluation


if __name__ == "__main__":
    print(f"steps to the door: {-main().mean:.1f}; walking straight there takes about 3")
