"""Change the loss: errors upwards weigh more than errors downwards, as in expectile regression."""

from __future__ import annotations

import lightning as L
import torch
from torch import Tensor

from acro import DQN, Batch, Evaluation, Experience


class ExpectileDQN(DQN):
    """Learns the expectile of the target (Newey and Powell 1987); 0.5 is the mean squared error."""

    expectile = 0.7

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss, and the errors (B,) that priorities and logs are made of."""
        values = self.q_network(batch.obs)  # (B, A)
        taken = values.gather(1, batch.actions.unsqueeze(1)).squeeze(1)  # (B,)
        td_errors = self.td_target(batch) - taken  # (B,)
        weights = torch.where(td_errors > 0, self.expectile, 1 - self.expectile)  # (B,)
        return (weights * td_errors.square()).mean(), td_errors.detach()


def main(epochs: int = 10) -> Evaluation:
    """Train CartPole for 1,024 steps an epoch; return the last evaluation."""
    torch.set_num_threads(1)
    experience = Experience("CartPole-v1", zeta_exponent=None)
    dqn = ExpectileDQN(experience.observation_size, experience.num_actions, target_update_every=1, tau=0.01)
    trainer = L.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, logger=False)
    trainer.fit(dqn, experience)
    assert dqn.last_evaluation is not None
    return dqn.last_evaluation


if __name__ == "__main__":
    print(main())
