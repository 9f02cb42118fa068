"""The default command learns."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from acro import DQN, fit
from acro.evaluation import evaluate

# A policy that never reaches the goal gets -500 in every episode. Solved is -100.
LEARNED = -200.0
EPOCHS = 5


@pytest.mark.parametrize("seed", [0, 1])
def test_default_command_learns_in_5_000_steps(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        f"--seed_everything={seed}",
        f"--trainer.max_epochs={EPOCHS}",
        f"--trainer.default_root_dir={tmp_path}",
        "--gif=false",
    ]
    assert fit.main(arguments) == 0

    found = re.match(r"eval: mean (-?\d+\.\d) ", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) > LEARNED


def test_policies_that_did_not_learn_stay_below() -> None:
    means = [evaluate(DQN(6, 3).eval(), "acro/Acrobot-v1", 100, seed=seed).mean for seed in range(3)]

    assert np.max(means) < LEARNED
