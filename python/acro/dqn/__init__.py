"""What is learned: the LightningModule, its targets, heads, networks and optimizer."""

from acro.dqn.module import DQN

__all__ = ["DQN"]
