from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sweeping import make_trial

from acro.cluster.outcomes import COLUMNS, Outcome, best_of, groups_of, read_outcome, table_of, write_results
from acro.cluster.statistics import interquartile_mean, interval
from acro.cluster.trials import Trial
from acro.drawing.curves import CurvePoint


def test_interquartile_mean_cuts_a_quarter_at_either_end() -> None:
    values = np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])

    assert interquartile_mean(values) == pytest.approx((2 + 3 + 4 + 5) / 4)


def test_bootstrap_interval_of_equal_values_has_no_width() -> None:
    assert interval(np.full(10, 3.0)) == (3.0, 3.0)


def finished(trial: Trial, mean: float, best: float, solved_step: int | None = None) -> Outcome:
    return Outcome(
        trial,
        "finished",
        [CurvePoint(128, best, best, best)],
        mean=mean,
        median=mean,
        worst=mean - 10.0,
        at_limit=1,
        solved_return=0.0,
        solved_step=solved_step,
        solved_seconds=None if solved_step is None else 2.5,
        training_seconds=5.0,
        env_id="CartPole-v1",
    )


def outcomes(folder: Path) -> list[Outcome]:
    one, two = ({"model.tau": value} for value in ("1", "0.5"))
    return [
        finished(make_trial(folder, 0, "tau=1", **one), 1.0, 30.0),
        finished(make_trial(folder, 1, "tau=1", **one), 3.0, 10.0, 128),
        finished(make_trial(folder, 0, "tau=0.5", **two), 9.0, 5.0, 128),
        Outcome(make_trial(folder, 1, "tau=0.5", **two), "failed"),
    ]


def test_table_is_over_the_seeds_of_each_configuration_the_best_first(tmp_path: Path) -> None:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table_of(groups_of(outcomes(tmp_path)))]

    assert [row["configuration"] for row in rows] == ["tau=1", "tau=0.5"]
    assert rows[0] == {
        "configuration": "tau=1",
        "seeds": "2",
        "mean": "2.0",
        "median": "2.0",
        "IQM": "2.0",
        "95% interval": "1.0 to 3.0",
        "worst": "-9",
        "time-outs": "2",
        "solved": "1 of 2",
        "steps": "128",
        "seconds": "2.5",
    }
    assert rows[1]["seeds"] == "1 of 2"


def test_best_is_chosen_by_evaluations_not_by_held_out_episodes(tmp_path: Path) -> None:
    best = best_of(groups_of(outcomes(tmp_path)))

    assert best is not None
    assert best.name == "tau=1"
    assert best_of(groups_of([Outcome(make_trial(tmp_path), "failed")])) is None


def test_results_have_a_row_for_each_trial(tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", outcomes(tmp_path))

    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished", "finished", "finished", "failed"]
    assert (rows[1]["model.tau"], rows[1]["seed"], rows[1]["solved_step"]) == ("1", "1", "128")
    assert (rows[3]["mean"], rows[3]["folder"]) == ("", "tau=0.5/version_1")


def test_outcome_is_read_from_a_runs_folder(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    trial.run.folder.mkdir(parents=True)
    trial.run.metrics.write_text("step,eval/return,eval/return_p10,eval/return_p90\n128,1.0,0.0,2.0\n256,4.0,3.0,5.0\n")
    assert read_outcome(trial, []).state == "unfinished"
    result = {"env_id": "CartPole-v1", "mean": 4.0, "median": 4.0, "worst": 3.0, "at_limit": 0}
    trial.run.result.write_text(json.dumps({**result, "solved_return": 3.0, "solved_step": 256}))

    outcome = read_outcome(trial, [(128, 0.5), (256, 1.5)])
    assert (outcome.state, outcome.mean, outcome.solved_seconds, outcome.training_seconds) == (
        "finished",
        4.0,
        1.5,
        1.5,
    )
    assert outcome.best_point == CurvePoint(256, 4.0, 3.0, 5.0)
