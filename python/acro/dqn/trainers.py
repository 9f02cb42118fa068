"""Which Trainers can train a DQN."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging

# Lightning runs these under manual optimization without a word, and what they do then is of no use.
_REFUSED_CALLBACKS = {
    StochasticWeightAveraging: "its average is neither evaluated nor saved; EMAWeightAveraging's is both",
    LearningRateFinder: "it reads the loss that training_step returns, and here it returns none; search with Optuna",
    BatchSizeFinder: "it looks for what fits in memory, not for what learns; choose data.batch_size yourself",
}


def check_trainer(trainer: L.Trainer) -> None:
    """Check that `trainer` uses one process, one device and 32-bit numbers, and leaves the updates to the module.

    Raises:
        ValueError: It does not.
    """
    if trainer.world_size != 1:
        raise ValueError(f"acro trains on one device, this Trainer has {trainer.world_size}: use devices=1")
    if trainer.precision != "32-true":
        raise ValueError(f"acro trains in 32-bit, this Trainer has precision {trainer.precision!r}: leave it out")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for refused, advice in _REFUSED_CALLBACKS.items():
            if isinstance(callback, refused):
                raise ValueError(f"{refused.__name__} does not work with DQN: {advice}")
