"""DQN for PyTorch Lightning, with its replay memory in Rust."""
