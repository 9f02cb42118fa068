"""The command line, used as a user would."""

from __future__ import annotations

import csv
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.kill import compare

from acro import DQN, Experience, fit

SMALL = [
    "--trainer.max_epochs=4",
    "--data.steps_per_epoch=256",
    "--data.learning_starts_steps=128",
    "--data.eval_episodes=3",
    "--data.batch_size=16",
    "--model.hidden=[16,16]",
    # Short episodes: drawing one takes longer than training here.
    "--data.env_kwargs={max_episode_steps: 40}",
]
RESULT = re.compile(
    r"eval: mean -\d+\.\d ± \d+\.\d, median -\d+, worst -\d+ over 3 episodes; "
    r"(solved \(>= -100\) at step \d+|not solved \(>= -100\)); (\S+)\n"
)


def run(*arguments: str) -> int:
    return fit.main([*SMALL, *arguments])


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not interrupted."""
    root = tmp_path_factory.mktemp("straight")
    assert run(f"--trainer.default_root_dir={root}") == 0
    return root / "acrobot" / "version_0"


def assert_same_run(left: Path, right: Path) -> None:
    assert compare(left, right) == []


def test_run_folder_holds_what_is_promised(straight: Path) -> None:
    names = {path.relative_to(straight).as_posix() for path in straight.rglob("*") if path.is_file()}

    assert {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "config.yaml",
        "final.gif",
        "learning_curve.png",
        "metrics.csv",
    } <= names
    assert any("events.out.tfevents" in name for name in names)


def test_metrics_have_a_row_per_evaluation(straight: Path) -> None:
    with (straight / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert [int(row["step"]) for row in rows] == [256, 512, 768, 1024]
    assert all(-500.0 <= float(row["eval/return"]) <= 0.0 for row in rows)


def test_best_checkpoint_leaves_the_memory_out(straight: Path) -> None:
    best = torch.load(straight / "checkpoints" / "best.ckpt", weights_only=True)

    assert "Experience" not in best
    assert best["datamodule_hyper_parameters"]["env_id"] == "acro/Acrobot-v1"


def test_result_line_and_silence_otherwise(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "acro.fit", *SMALL, f"--trainer.default_root_dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    match = RESULT.fullmatch(done.stdout)
    assert match is not None, done.stdout
    assert match[2] == str(tmp_path / "acrobot" / "version_0")
    assert "Warning" not in done.stderr
    assert [line.split("·")[0].strip() for line in done.stderr.splitlines()] == [
        "acro/Acrobot-v1",
        *(f"step {step:>7}" for step in (256, 512, 768, 1024)),
        "playing 3 episodes from new starts",
        "drawing the median one",
    ]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_and_resumed_run_ends_like_an_uninterrupted_one(
    sent: signal.Signals, code: int, straight: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "acro.fit", *SMALL, f"--trainer.default_root_dir={tmp_path}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step     512"):
            process.send_signal(sent)
            break
    rest = process.stderr.read()
    process.stderr.close()
    folder = tmp_path / "acrobot" / "version_0"

    assert process.wait() == code
    assert f"continue with: python -m acro.fit --ckpt_path {folder / 'checkpoints' / 'last.ckpt'}" in rest
    assert run("--ckpt_path=last", f"--trainer.default_root_dir={tmp_path}") == 0
    assert os.listdir(tmp_path / "acrobot") == ["version_0"]
    assert_same_run(straight, folder)


def test_longer_run_extends_a_finished_one(straight: Path, tmp_path: Path) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert run(root, "--trainer.max_epochs=2") == 0
    assert run(root, "--ckpt_path=last", "--trainer.max_epochs=4") == 0

    assert_same_run(straight, tmp_path / "acrobot" / "version_0")


def test_run_resumes_where_its_folder_was_moved(straight: Path, tmp_path: Path) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path / 'here'}", "--trainer.max_epochs=2") == 0
    (tmp_path / "here").rename(tmp_path / "there")
    last = tmp_path / "there" / "acrobot" / "version_0" / "checkpoints" / "last.ckpt"
    assert run(f"--ckpt_path={last}", "--trainer.max_epochs=4") == 0

    assert_same_run(straight, tmp_path / "there" / "acrobot" / "version_0")
    assert not (tmp_path / "here").exists()


def test_finished_run_that_is_resumed_shows_its_result_again(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "acrobot" / "version_0"
    shutil.copytree(straight, folder)
    (folder / "final.gif").unlink()
    capsys.readouterr()
    assert run("--ckpt_path=last", f"--trainer.default_root_dir={tmp_path}") == 0

    assert RESULT.fullmatch(capsys.readouterr().out)
    assert_same_run(straight, folder)


def test_run_without_evaluations_ends_with_its_last_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert run(root, "--trainer.limit_val_batches=0", "--trainer.max_epochs=1") == 0

    assert "over 3 episodes; not solved (>= -100)" in capsys.readouterr().out


def test_help_explains_every_setting_of_acro(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--help"]) == 0
    shown = capsys.readouterr().out

    for owner, prefix in ((Experience, "data"), (DQN, "model")):
        linked = {"observation_size", "num_actions", "return_range", "seed"}
        for name in inspect.signature(owner).parameters.keys() - linked:
            assert f"--{prefix}.{name} " in shown, name
    assert "--preset NAME" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 120
    assert len(shown.splitlines()) < 150


def test_second_run_gets_a_folder_of_its_own(straight: Path) -> None:
    root = straight.parent.parent
    assert run(f"--trainer.default_root_dir={root}", "--trainer.max_epochs=1") == 0

    assert (straight.parent / "version_1" / "metrics.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.env_id=Nowhere-v0"], "error: cannot make the environment 'Nowhere-v0'"),
        (
            ["--data.env_id=Pendulum-v1"],
            "error: Pendulum-v1 has the action space Box(-2.0, 2.0, (1,), float32); acro needs a Discrete",
        ),
        (["--data.capacity=0"], "error: capacity=0: it must be at least 1"),
        (["--data.capacity=2000000000"], "bytes"),
        (["--data.gamma=2"], "error: gamma=2.0: a discount factor lies in [0, 1]"),
        (["--ckpt_path=nothere.ckpt"], "error: nothere.ckpt: no such checkpoint"),
        (["--ckpt_path=last"], "has a checkpoint; start one without it"),
        (["--preset=nope"], "error: --preset nope: no such preset; there are acrobot"),
        (["--nonsense=1"], "error: unrecognized arguments: --nonsense=1"),
        (["--trainer.devices=2"], "error: acro trains on one device, this Trainer has 2: use devices=1"),
        (["--trainer.precision=bf16-mixed"], "error: acro trains in 32-bit, this Trainer has precision 'bf16-mixed'"),
    ],
)
def test_mistake_is_one_sentence_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path}", *arguments) == 2

    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpu_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=gpu") == 2

    message = "error: --trainer.accelerator: No supported gpu backend found! Leave it out to train on the CPU.\n"
    assert capsys.readouterr().err == message


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_trains(tmp_path: Path) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=gpu") == 0


@pytest.mark.parametrize(
    "argument",
    [
        "--trainer.fast_dev_run=true",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_checkpointing=false",
        "--trainer.logger=false",
    ],
)
def test_trainers_own_switches_work(argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1", argument) == 0

    assert capsys.readouterr().out.startswith("eval: mean ")


def test_run_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(f"--trainer.default_root_dir={tmp_path / 'file'}") == 2

    assert "error: cannot make the run's folder: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--data.num_envs=4", "num_envs is 8 in it, 4 here"),
        ("--data.capacity=1000", "capacity is 50000 in it, 1000 here"),
        ("--data.env_id=Acrobot-v1", "env_id is 'acro/Acrobot-v1' in it, 'Acrobot-v1' here"),
        ("--model.hidden=[8]", "hidden is [16, 16] in it, [8] here"),
        ("--model.dueling=true", "dueling is False in it, True here"),
    ],
)
def test_resuming_with_other_settings_is_refused(
    argument: str, message: str, straight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()}
    assert run(f"--ckpt_path={straight / 'checkpoints' / 'last.ckpt'}", argument) == 2

    assert message in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()}


def test_resuming_from_the_best_checkpoint_is_refused(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--ckpt_path={straight / 'checkpoints' / 'best.ckpt'}") == 2

    assert "holds no replay memory: it is for playing; continue from last.ckpt" in capsys.readouterr().err
