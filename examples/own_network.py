"""Train a network of your own: any module from observations (B, ...) to action values (B, A)."""

from __future__ import annotations

import lightning as L
import torch
from torch import Tensor, nn

from acro import DQN, Evaluation, Experience


class Residual(nn.Module):
    """Blocks whose input is added to their output."""

    def __init__(self, observation_size: int, num_actions: int, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(observation_size, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, num_actions)

    def forward(self, obs: Tensor) -> Tensor:
        """Return the action values (B, A) of observations (B, N)."""
        hidden: Tensor = self.first(obs)  # (B, width)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        values: Tensor = self.last(hidden)  # (B, A)
        return values


def main(epochs: int = 10) -> Evaluation:
    """Train CartPole for 1,024 steps an epoch; return the last evaluation."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    experience = Experience("CartPole-v1", zeta_exponent=None)
    network = Residual(experience.observation_size, experience.num_actions)
    # PyTorch makes the updates; the network of acro's own is the one that Rust trains.
    dqn = DQN(experience.observation_size, experience.num_actions, network=network, target_update_every=1, tau=0.01)
    trainer = L.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, logger=False)
    trainer.fit(dqn, experience)
    assert dqn.last_evaluation is not None
    return dqn.last_evaluation


if __name__ == "__main__":
    print(main())
