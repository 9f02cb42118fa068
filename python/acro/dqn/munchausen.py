"""Munchausen targets (Vieillard, Pietquin and Geist 2020), for every head."""

from __future__ import annotations

from torch import Tensor

from acro.dqn.heads import Head, of_actions

# The paper's, for every Atari game: how much of the log-policy is added, and what it is cut at from below.
SCALE = 0.9
LOWEST = -1.0


def munchausen_target(
    head: Head,
    temperature: float,
    actions: Tensor,
    rewards: Tensor,
    discounts: Tensor,
    returns: Tensor,
    next_returns: Tensor,
) -> Tensor:
    """Return the target of a reward that grows with the taken action's log-probability.

    The policy is the softmax of the target network's values over `temperature`. Its expectation stands in the place
    of the best next action's return, its entropy is rewarded, and the bonus is that of the first action: with returns
    of several steps, the steps between give none.

    Args:
        head: Says what the returns are.
        temperature: In units of return.
        actions: The taken ones (B,).
        rewards: Their sums (B,).
        discounts: Of the next returns (B,).
        returns: The target network's for the observations, (B, A) or (B, A, N).
        next_returns: Likewise for the next observations.
    """
    log_policy = (head.means(returns) / temperature).log_softmax(dim=1)  # (B, A)
    bonus = SCALE * (temperature * of_actions(log_policy, actions)).clamp(min=LOWEST, max=0.0)  # (B,)
    next_log_policy = (head.means(next_returns) / temperature).log_softmax(dim=1)  # (B, A)
    next_policy = next_log_policy.exp()  # (B, A)
    entropy = -temperature * (next_policy * next_log_policy).sum(dim=1)  # (B,)
    shares = next_policy.view(*next_policy.shape, *(1,) * (next_returns.dim() - 2))  # (B, A) or (B, A, 1)
    expected = (shares * next_returns).sum(dim=1)  # (B,) or (B, N)
    return head.target(rewards + bonus + discounts * entropy, discounts, expected)
