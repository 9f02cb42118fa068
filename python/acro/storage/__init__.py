"""Checkpoints, and files that are whole at every instant."""
