"""Learning curves say all that they show, for one run and for several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from acro.drawing.curves import CurvePoint, bootstrap_interval, draw_run, draw_runs, read_run

RUN = [
    CurvePoint(100, -500.0, -500.0, -480.0),
    CurvePoint(200, -90.0, -120.0, -70.0),
    CurvePoint(300, -95.0, -99.0, -80.0),
]


def legend(figure: Figure) -> list[str]:
    (shown,) = figure.legends
    return [text.get_text() for text in shown.get_texts()]


def test_running_mean_is_of_the_last_20_training_episodes() -> None:
    returns = [float(-number) for number in range(30)]
    figure = draw_run(RUN, title="", training=(list(range(30)), returns))

    drawn = np.asarray(figure.axes[0].lines[1].get_ydata())
    expected = [np.mean(returns[max(0, last - 19) : last + 1]) for last in range(30)]
    np.testing.assert_allclose(drawn, expected)


def test_picture_of_a_run_names_all_that_it_shows() -> None:
    figure = draw_run(RUN, title="acro/Acrobot-v1", threshold=-100.0, training=([50, 150], [-500.0, -300.0]))

    axes = figure.axes[0]
    assert axes.get_title() == "acro/Acrobot-v1"
    assert axes.get_xlabel() == "environment steps"
    assert axes.get_ylabel() == "return of an episode (sum of rewards)"
    assert legend(figure) == [
        "training episodes",
        "training, mean of the last 20 episodes",
        "evaluation, 10th to 90th percentile",
        "evaluation, mean",
        "solved: -100",
        "best mean: -90.0 at step 200",
    ]


GROUPS = {f"learning_rate=5.54712e-0{number}, n_step=3": [RUN, RUN] for number in range(40)}


@pytest.mark.parametrize(
    "figure",
    [
        draw_run(RUN, title="acro/Acrobot-v1", threshold=-100.0, training=([50, 150], [-500.0, -300.0])),
        draw_runs(GROUPS, title="acro/Acrobot-v1", threshold=-100.0),
    ],
    ids=["run", "runs"],
)
def test_nothing_is_cut_off_and_no_curve_is_covered(figure: Figure) -> None:
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().y1 < figure.axes[0].get_window_extent().y0

    whole, found = figure.bbox, figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert found.x0 >= whole.x0
    assert found.y0 >= whole.y0
    assert found.x1 <= whole.x1
    assert found.y1 <= whole.y1


def test_environment_without_a_threshold_has_no_line() -> None:
    assert not any("solved" in text for text in legend(draw_run(RUN, title="", threshold=None)))


def test_best_of_equal_means_is_the_last() -> None:
    figure = draw_run([*RUN[:2], CurvePoint(300, -90.0, -99.0, -80.0)], title="")
    assert legend(figure)[-1] == "best mean: -90.0 at step 300"


def test_run_of_one_evaluation_is_a_point() -> None:
    assert draw_runs({"a": [RUN[:1]], "b": [RUN]}, title="", threshold=None).axes[0].lines[0].get_marker() == "."


def test_colours_differ_however_many_there_are() -> None:
    lines = draw_runs(GROUPS, title="", threshold=None).axes[0].lines
    assert len({tuple(np.asarray(line.get_color())) for line in lines}) == 40
    assert legend(draw_runs(GROUPS, title="", threshold=None)).count("95% bootstrap interval over runs") == 1


def test_several_runs_show_their_mean_between_the_steps_that_all_have() -> None:
    other = [CurvePoint(step, -300.0, -300.0, -300.0) for step in (150, 250)]

    figure = draw_runs({"acrobot": [RUN, other]}, title="", threshold=None)

    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [150, 200, 250]
    assert np.asarray(line.get_ydata()).tolist() == [(-295 - 300) / 2, (-90 - 300) / 2, (-92.5 - 300) / 2]
    assert legend(figure) == ["acrobot: mean of 2 runs", "95% bootstrap interval over runs"]


def test_runs_without_common_steps_are_an_error() -> None:
    other = [CurvePoint(400, 0.0, 0.0, 0.0)]

    with pytest.raises(ValueError, match="the runs share no environment steps: one begins at 400, another ends at 300"):
        draw_runs({"acrobot": [RUN, other]}, title="", threshold=None)


def test_bootstrap_interval_of_two_runs_spans_them() -> None:
    low, high = bootstrap_interval(np.array([[0.0, 5.0], [10.0, 5.0]]))

    # A quarter of the resamples draws the same run twice, on either side.
    assert (low.tolist(), high.tolist()) == ([0.0, 5.0], [10.0, 5.0])


def test_bootstrap_interval_of_many_runs_is_the_normal_one() -> None:
    returns = np.random.default_rng(0).normal(size=(400, 1))

    low, high = bootstrap_interval(returns)

    half = 1.96 * returns.std() / np.sqrt(400)
    assert low[0] == pytest.approx(returns.mean() - half, abs=0.1 * half)
    assert high[0] == pytest.approx(returns.mean() + half, abs=0.1 * half)


def test_run_is_read_back(tmp_path: Path) -> None:
    rows = ["step,eval/return,eval/return_p10,eval/return_p90", "128,-400,-410,-390", "256,-90.5,-100.5,-80.5"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")

    assert read_run(tmp_path) == [CurvePoint(128, -400.0, -410.0, -390.0), CurvePoint(256, -90.5, -100.5, -80.5)]
