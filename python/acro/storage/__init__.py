"""Files that are whole at every instant, checkpoints."""
