"""Learning curves, and episodes as pictures."""
