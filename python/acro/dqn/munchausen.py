"""Munchausen targets (Vieillard, Pietquin and Geist 2020), for every head."""

from __future__ import annotations

from torch import Tensor

from acro.dqn.heads import Head, of_actions
from acro.replay import Batch

# The paper's, for every Atari game: how much of the log-policy is added, and what it is cut at from below.
SCALE = 0.9
LOWEST = -1.0


def munchausen_target(head: Head, temperature: float, batch: Batch, returns: Tensor, next_returns: Tensor) -> Tensor:
    """Return the target of a reward that grows with the taken action's log-probability.

    The policy is the softmax of the target network's values over `temperature`. Its expected return replaces that of
    the best next action, and its entropy is rewarded. Only the first action earns the bonus: with n-step returns the
    steps between earn none.

    Args:
        head: Says what the returns are.
        temperature: In units of return.
        batch: With columns (B, ...).
        returns: The target network's for the observations, (B, A) or (B, A, N).
        next_returns: Likewise for the next observations.
    """
    log_policy = (head.means(returns) / temperature).log_softmax(dim=1)  # (B, A)
    bonus = SCALE * (temperature * of_actions(log_policy, batch.actions)).clamp(min=LOWEST, max=0.0)  # (B,)
    next_log_policy = (head.means(next_returns) / temperature).log_softmax(dim=1)  # (B, A)
    next_policy = next_log_policy.exp()  # (B, A)
    entropy = -temperature * (next_policy * next_log_policy).sum(dim=1)  # (B,)
    probabilities = next_policy.view(*next_policy.shape, *(1,) * (next_returns.dim() - 2))  # (B, A) or (B, A, 1)
    expected = (probabilities * next_returns).sum(dim=1)  # (B,) or (B, N)
    return head.target(batch.rewards + bonus + batch.discounts * entropy, batch.discounts, expected)
