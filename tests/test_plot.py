"""The command that draws the learning curves of one run and of several."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acro.plot import main


def write_run(
    folder: Path, means: dict[int, float], env_id: str | None = "acro/Acrobot-v1", model: str = "{}", seed: int = 0
) -> Path:
    folder.mkdir(parents=True)
    rows = [f"{step},{mean},{mean - 10},{mean + 10}" for step, mean in means.items()]
    header = "step,eval/return,eval/return_p10,eval/return_p90"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    if env_id is not None:
        (folder / "config.yaml").write_text(f"seed_everything: {seed}\ndata:\n  env_id: {env_id}\nmodel: {model}\n")
    return folder


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
        (None, "is not a run folder: it has no metrics.csv"),
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


def test_folder_without_metrics_is_skipped_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_run(tmp_path / "run", {128: -400.0}), tmp_path / "curve.svg"
    (tmp_path / "empty").mkdir()

    assert main([str(tmp_path / "empty"), str(folder), "--out", str(out)]) == 0
    assert capsys.readouterr().err == f"skipped: {tmp_path / 'empty'} is not a run folder: it has no metrics.csv\n"


def test_runs_of_several_environments_are_drawn_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one" / "version_0", {128: -400.0}, env_id="Acrobot-v1")
    other = write_run(tmp_path / "other" / "version_0", {128: 20.0}, env_id="CartPole-v1")

    assert main([str(one), str(other), "--out", str(tmp_path / "curves.svg")]) == 0
    assert capsys.readouterr().err == "these runs are of several environments: Acrobot-v1, CartPole-v1\n"


def test_runs_of_different_settings_are_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        str(write_run(tmp_path / "mine" / f"version_{seed}", {128: -400.0}, model=f"{{tau: {tau}}}", seed=seed))
        for seed, tau in enumerate((0.1, 0.1, 0.5))
    ]
    out = tmp_path / "curves.svg"

    assert main([*folders[:2], "--out", str(out)]) == 0
    assert main([*folders, "--out", str(out)]) == 2
    assert "runs of 'mine' differ in model.tau (0.1, 0.5)" in capsys.readouterr().err
    assert main([*folders, "--out", str(out), "--by", "model.tau"]) == 0
    assert main([*folders, "--out", str(out), "--by", "model.tua"]) == 2
    assert "--by model.tua: " in capsys.readouterr().err
    assert main([folders[0], "--out", str(out), "--by", "model.tua"]) == 2
