"""Learning curves of one run and of several."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from acro.plot import CurvePoint, bootstrap_interval, draw_run, draw_runs, main, read_run, reward_threshold

RUN = [
    CurvePoint(100, -500.0, -500.0, -480.0),
    CurvePoint(200, -90.0, -120.0, -70.0),
    CurvePoint(300, -95.0, -99.0, -80.0),
]


def write_run(folder: Path, means: dict[int, float], env_id: str | None = "acro/Acrobot-v1") -> Path:
    folder.mkdir(parents=True)
    rows = [f"{step},{mean},{mean - 10},{mean + 10}" for step, mean in means.items()]
    header = "step,eval/return,eval/return_p10,eval/return_p90"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    if env_id is not None:
        (folder / "config.yaml").write_text(f"data:\n  env_id: {env_id}\n")
    return folder


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_running_mean_is_of_the_last_20_training_episodes() -> None:
    returns = [float(-number) for number in range(30)]
    figure = draw_run(RUN, title="", training=(list(range(30)), returns))

    drawn = figure.axes[0].lines[1].get_ydata()
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


def test_nothing_is_cut_off() -> None:
    figure = draw_run(RUN, title="acro/Acrobot-v1", threshold=-100.0)
    figure.draw_without_rendering()

    whole, found = figure.bbox, figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert found.x0 >= whole.x0
    assert found.y0 >= whole.y0
    assert found.x1 <= whole.x1
    assert found.y1 <= whole.y1


def test_environment_without_a_threshold_has_no_line() -> None:
    assert not any("solved" in text for text in legend(draw_run(RUN, title="", threshold=None)))


def test_several_runs_show_their_mean_between_the_steps_that_all_have() -> None:
    other = [CurvePoint(step, -300.0, -300.0, -300.0) for step in (150, 250)]

    figure = draw_runs({"acrobot": [RUN, other]}, title="", threshold=None)

    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [150, 200, 250]
    assert line.get_ydata().tolist() == [(-295 - 300) / 2, (-90 - 300) / 2, (-92.5 - 300) / 2]
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


def test_threshold_is_the_environments() -> None:
    found = [
        reward_threshold(env_id) for env_id in ("acro/Acrobot-v1", "CartPole-v1", "Pendulum-v1", "nowhere/None-v0")
    ]

    assert found == [-100.0, 475.0, None, None]


def test_run_is_read_back(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {128: -400.0, 256: -90.5})

    assert read_run(folder) == [CurvePoint(128, -400.0, -410.0, -390.0), CurvePoint(256, -90.5, -100.5, -80.5)]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_command_draws_one_run(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_run(tmp_path / "run", {128: -400.0, 256: -90.5}), tmp_path / f"curve{suffix}"

    assert main([str(folder), "--out", str(out)]) == 0
    assert out.stat().st_size > 1_000
    assert capsys.readouterr().out == f"{out}\n"


def test_command_draws_seeds_of_two_experiments(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / name / f"version_{seed}", {128: -400.0 - seed, 256: -90.0 - seed})
        for name in ("plain", "double")
        for seed in range(3)
    ]

    assert main([*map(str, folders), "--out", str(tmp_path / "curves.svg")]) == 0

    assert (tmp_path / "curves.svg").is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no run folder: it has no metrics.csv"),
        ("step,eval/return\n", "holds no evaluation yet"),
        ("a,b\n1,2\n", "holds no evaluation yet"),
        ("step,eval/return\n1,x\n", "is damaged or not of acro: could not convert string to float: 'x'"),
        ("step,eval/return\n1,2\n", "is damaged or not of acro: 'eval/return_p10'"),
        (b"\xff\xfe\x00", "is damaged or not of acro"),
    ],
)
def test_folder_without_evaluations_is_one_sentence_and_exit_code_2(
    content: str | bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "metrics.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    assert main([str(tmp_path), "--out", str(tmp_path / "curve.png")]) == 2

    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: .*{re.escape(message)}.*\n", error)
    assert not (tmp_path / "curve.png").exists()


@pytest.mark.parametrize("out", ["curve.bmp", "missing/curve.png"])
def test_picture_that_cannot_be_written_is_one_sentence_and_exit_code_2(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", {128: -400.0})

    assert main([str(folder), "--out", str(tmp_path / out)]) == 2

    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
