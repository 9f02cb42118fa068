"""What is learned: the LightningModule, its learner, heads, networks and optimizer."""
