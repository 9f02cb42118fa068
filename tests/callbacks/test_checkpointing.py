"""Which evaluation's weights are kept as the best."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from acro.callbacks.checkpointing import SaveBest


def test_best_is_the_last_of_the_evaluations_that_no_earlier_one_exceeds(tmp_path: Path) -> None:
    saved: list[int] = []
    best = SaveBest(tmp_path / "best.ckpt")

    for epoch, mean in enumerate([9.0, 500.0, 499.0, math.nan, 500.0, 131.0]):
        trainer: Any = SimpleNamespace(
            state=SimpleNamespace(fn="fit"),
            sanity_checking=False,
            save_checkpoint=lambda *_, epoch=epoch, **__: saved.append(epoch),
        )
        module: Any = SimpleNamespace(last_evaluation=SimpleNamespace(mean=mean))
        best.on_validation_end(trainer, module)

    assert saved == [0, 1, 4]
    assert best.state_dict() == {"best_mean": 500.0}
