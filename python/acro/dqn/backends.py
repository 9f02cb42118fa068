"""Chooses what makes the updates of a `DQN`: Rust, a CUDA graph, or the learner's own loop in PyTorch."""

from __future__ import annotations

import lightning as L

from acro.dqn.cuda_graph import CudaGraphUpdates
from acro.dqn.learner import Learner, UpdateBackend
from acro.dqn.optimizer import FlatAdam
from acro.dqn.rust_updates import why_not_rust
from acro.dqn.trainers import UPDATE_HOOKS, find_callback_with_update_hooks
from acro.overrides import overridden


def takes_rust(module: Learner, backend: str, trainer: L.Trainer | None, *, has_given_optimizer: bool) -> bool:
    """Whether Rust makes the updates of a `DQN`.

    Args:
        module: The `DQN`.
        backend: "auto", "torch" or "rust".
        trainer: Its Trainer; None if it does not have one yet.
        has_given_optimizer: Whether the user gave an optimizer.

    Raises:
        ValueError: Rust was asked for and cannot make them.
    """
    if backend == "torch":
        return False
    given = "optimizer is given" if has_given_optimizer else None
    reason = given or _why_not_whole_rounds(module, trainer) or why_not_rust(module)
    if reason is not None and backend == "rust":
        raise ValueError(f"backend='rust' cannot be used: {reason}; use backend='auto' or 'torch'")
    return reason is None


def make_cuda_graph(module: Learner, optimizer: FlatAdam, trainer: L.Trainer | None) -> UpdateBackend:
    """Return what makes whole rounds of updates as CUDA graphs.

    Raises:
        ValueError: The parameters are not on a GPU, or something must be called between the updates of a round.
    """
    device = optimizer.flat.device
    if device.type != "cuda":
        raise ValueError(f"cuda_graph must be False on {device}: CUDA graphs need a GPU")
    if (reason := _why_not_whole_rounds(module, trainer)) is not None:
        raise ValueError(f"cuda_graph must be False: {reason}, which a graph would leave out")
    return CudaGraphUpdates(module, optimizer)


def _why_not_whole_rounds(module: Learner, trainer: L.Trainer | None) -> str | None:
    """Return what must be called between the updates of a round; None if a round can be made as a whole."""
    own = overridden(module, L.LightningModule, ["manual_backward", "backward", *UPDATE_HOOKS])
    own += overridden(module, Learner, ["follow", "average"])
    if own:
        return f"{type(module).__name__} overrides {', '.join(own)}"
    if trainer is not None and (callback := find_callback_with_update_hooks(trainer)) is not None:
        return f"the callback {type(callback).__name__} has hooks around single updates"
    return None
