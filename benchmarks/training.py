"""Training with nothing around it, for what is timed."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning as L


def bare_trainer(max_epochs: int, callback: L.Callback, **kwargs: Any) -> L.Trainer:
    """Return a Trainer on one CPU that says, evaluates, logs and saves nothing, but for `callback`.

    Args:
        max_epochs: Epochs.
        callback: What measures.
        kwargs: Further arguments of the Trainer, or others in the place of these.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    bare = {
        "accelerator": "cpu",
        "devices": 1,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(max_epochs=max_epochs, callbacks=[callback], **{**bare, **kwargs})
