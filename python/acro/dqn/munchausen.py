"""Munchausen targets (Vieillard, Pietquin and Geist 2020), for every head."""

from __future__ import annotations

from torch import Tensor

from acro.dqn.heads import Head, of_actions
from acro.replay import Batch

# The paper's values for all Atari games: the share of the log-policy that is added, and its lower bound.
SCALE = 0.9
LOWEST = -1.0


def munchausen_target(head: Head, temperature: float, batch: Batch, returns: Tensor, next_returns: Tensor) -> Tensor:
    """Return the target for rewards to which the taken action's log-probability is added.

    The policy is the softmax of the target network's values over `temperature`. The target takes the expected next
    return of that policy, instead of the best action's, and adds its entropy. With n-step returns only the first of the
    n rewards gets the bonus.

    Args:
        head: The head of the networks.
        temperature: The softmax's temperature, in units of return.
        batch: Columns (B, ...).
        returns: The target network's returns of the observations, (B, A) or (B, A, N).
        next_returns: The target network's returns of the next observations.
    """
    log_policy = (head.means(returns) / temperature).log_softmax(dim=1)  # (B, A)
    bonus = SCALE * (temperature * of_actions(log_policy, batch.actions)).clamp(min=LOWEST, max=0.0)  # (B,)
    next_log_policy = (head.means(next_returns) / temperature).log_softmax(dim=1)  # (B, A)
    next_policy = next_log_policy.exp()  # (B, A)
    entropy = -temperature * (next_policy * next_log_policy).sum(dim=1)  # (B,)
    probabilities = next_policy.view(*next_policy.shape, *(1,) * (next_returns.dim() - 2))  # (B, A) or (B, A, 1)
    expected = (probabilities * next_returns).sum(dim=1)  # (B,) or (B, N)
    return head.target(batch.rewards + bonus + batch.discounts * entropy, batch.discounts, expected)
