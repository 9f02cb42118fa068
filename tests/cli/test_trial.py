"""One trial of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweeping import make_trial

from acro.cli.trial import run_trial


@pytest.mark.parametrize("is_stopping", [False, True])
def test_finished_trial_says_again_what_it_came_to(tmp_path: Path, is_stopping: bool) -> None:
    trial = make_trial(tmp_path)
    trial.run.folder.mkdir(parents=True)
    trial.run.metrics.write_text("step,eval/return,eval/return_p10,eval/return_p90\n128,4.0,3.0,5.0\n256,1.0,0.0,2.0\n")
    result = {"env_id": "CartPole-v1", "mean": 4.0, "median": 4.0, "worst": 3.0, "at_limit": 0}
    trial.run.result.write_text(json.dumps({**result, "solved_return": 3.0, "solved_step": 128}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    reports: list[tuple[int, float, float]] = []

    run_trial(trial, lambda *report: reports.append(report), lambda: is_stopping)

    assert reports == ([] if is_stopping else [(128, 4.0, 4.0)])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
