"""What the module says and does under the Trainer beside learning."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, Literal

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from runs import train

from acro import DQN
from acro.storage.checkpoints import read_checkpoint


def test_plain_progress_bar_shows_the_return(tmp_path: Path) -> None:
    shown: list[dict[str, Any]] = []

    class Bar(TQDMProgressBar):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            super().on_validation_end(trainer, pl_module)
            shown.append(self.get_metrics(trainer, pl_module))

    module, _ = train(tmp_path, epochs=1, callbacks=(Bar(),), enable_progress_bar=True)

    assert module.last_evaluation is not None
    assert float(shown[-1]["eval/return"]) == pytest.approx(module.last_evaluation.mean, rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_clip_val": 1.0}, r"gradient_clip_val does not reach a DQN, .*: use model\.max_grad_norm"),
        ({"accumulate_grad_batches": 2}, r"accumulate_grad_batches=2 does not work with DQN, .* model\.max_grad_norm"),
        ({"strategy": "ddp"}, "acro trains in one process, this Trainer has a DDPStrategy: leave strategy out"),
        ({"devices": 2}, "acro trains on one device, this Trainer has 2: use devices=1"),
        ({"max_steps": 5}, "max_steps=5 would count rounds: bound the run by max_epochs"),
        ({"min_steps": 5}, "min_steps=5 would count rounds: bound the run by min_epochs"),
        ({"limit_train_batches": 3}, "limit_train_batches=3 would cut epochs short: an epoch is data.steps_per_epoch"),
        ({"overfit_batches": 3}, "overfit_batches=3 would cut epochs short"),
    ],
)
def test_trainer_that_does_not_suit_rounds_is_refused_in_acros_words(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train(tmp_path, epochs=1, **settings)

    assert list(tmp_path.iterdir()) == []


def test_divergence_ends_the_run_and_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Diverge(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            if trainer.current_epoch == 2:
                next(pl_module.parameters()).data.fill_(float("nan"))

    with pytest.raises(FloatingPointError, match="the temporal-difference errors are not finite after"):
        train(tmp_path, epochs=3, callbacks=(Diverge(),))

    weights = read_checkpoint(tmp_path / "last.ckpt")["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize(
    ("threads", "shape", "backend", "is_told"),
    [
        (2, (4,), "torch", True),
        (2, (4,), "auto", False),
        (1, (4,), "torch", False),
        (2, (1, 36, 36), "torch", False),  # convolutions gain from threads
    ],
)
def test_more_threads_than_help_are_mentioned_where_torch_makes_the_updates(
    threads: int,
    shape: tuple[int, ...],
    backend: Literal["torch", "auto"],
    is_told: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    module = DQN(math.prod(shape), 2, (8,), observation_shape=shape, backend=backend)
    trainer.strategy.connect(module)
    module.trainer = trainer
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with caplog.at_level(logging.INFO, logger="acro"):
            module.setup("fit")
    finally:
        torch.set_num_threads(before)

    assert ("torch.set_num_threads(1)" in caplog.text) is is_told
