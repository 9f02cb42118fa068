"""`python -m acro.fit`: what a run does and leaves behind."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from differences import compare
from places import fit_logged
from stops import fork_server

import acro
from acro import DQN, fit
from acro.storage.checkpoints import DurableCheckpointIO, read_checkpoint

SMALL = [
    "--trainer.max_epochs=4",
    "--data.steps_per_epoch=256",
    "--data.learning_starts_steps=128",
    "--data.eval_episodes=3",
    "--data.batch_size=16",
    "--model.hidden=[16,16]",
    # Short episodes: drawing one takes longer than training here.
    "--data.env_kwargs={max_episode_steps: 20}",
]
RESULT = re.compile(
    r"eval: mean -\d+\.\d ± \d+\.\d, median -\d+, worst -\d+ over 3 episodes; "
    r"(solved \(>= -100\) at step \d+|not solved \(>= -100\)); (\S+)\n"
)


def run(*arguments: str) -> int:
    return fit.main([*SMALL, *arguments])


@pytest.fixture(scope="module")
def without_gifs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not interrupted, and drew no GIFs, which takes twice as long as the rest."""
    root = tmp_path_factory.mktemp("without_gifs")
    assert run("--gif=false", f"--trainer.default_root_dir={root}") == 0
    return root / "acrobot" / "version_0"


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not interrupted."""
    root = tmp_path_factory.mktemp("straight")
    assert run(f"--trainer.default_root_dir={root}") == 0
    return root / "acrobot" / "version_0"


def mistake(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that says what was wrong, after the one that says that the command has begun."""
    begun, *said = capsys.readouterr().err.splitlines(keepends=True)
    assert begun == f"acro {acro.__version__} · loading PyTorch and Lightning\n"
    (line,) = said
    return line


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
        f"acro {acro.__version__}",
        "acro/Acrobot-v1",
        *(f"step {step:>7}" for step in (256, 512, 768, 1024)),
        "playing 3 episodes from new starts",
    ]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_and_resumed_run_ends_like_an_uninterrupted_one(
    sent: signal.Signals, code: int, straight: Path, tmp_path: Path
) -> None:
    root, log = tmp_path / "root", tmp_path / "log.txt"
    log.touch()
    process = fork_server().Process(target=fit_logged, args=([*SMALL, f"--trainer.default_root_dir={root}"], log))
    process.start()
    while "\nstep     512" not in log.read_text():
        assert process.is_alive(), log.read_text()
        time.sleep(0.001)
    assert process.pid is not None
    os.kill(process.pid, sent)
    process.join()
    folder = root / "acrobot" / "version_0"

    assert process.exitcode == code
    assert f"continue with: python -m acro.fit --ckpt_path {folder / 'checkpoints' / 'last.ckpt'}" in log.read_text()
    assert run("--ckpt_path=last", f"--trainer.default_root_dir={root}") == 0
    assert os.listdir(root / "acrobot") == ["version_0"]
    assert_same_run(straight, folder)


def test_signal_while_the_result_is_played_ends_the_run_and_its_result_can_be_played_again(
    without_gifs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"

    def stopped(module: DQN, *_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("played on")

    with monkeypatch.context() as patch:
        patch.setattr(DQN, "test_step", stopped)
        assert run(root, "--gif=false") == 143
    folder = tmp_path / "acrobot" / "version_0"
    assert not (folder / "result.json").exists()
    assert run(root, "--gif=false", "--ckpt_path=last") == 0

    assert_same_run(without_gifs, folder)


def test_run_does_not_go_on_with_another_seed(without_gifs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (without_gifs / "config.yaml").read_bytes()
    assert run(f"--ckpt_path={without_gifs}", "--trainer.max_epochs=5", "--seed_everything=5") == 2

    assert "with other settings: seed is 0 in it, 5 here\n" in mistake(capsys)
    assert (without_gifs / "config.yaml").read_bytes() == before


def test_longer_run_extends_a_finished_one(straight: Path, tmp_path: Path) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    assert run(root, "--trainer.max_epochs=2") == 0
    assert run(root, "--ckpt_path=last", "--trainer.max_epochs=4") == 0

    assert_same_run(straight, tmp_path / "acrobot" / "version_0")


def test_run_resumes_where_its_folder_was_moved(without_gifs: Path, tmp_path: Path) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path / 'here'}", "--trainer.max_epochs=2", "--gif=false") == 0
    (tmp_path / "here").rename(tmp_path / "there")
    last = tmp_path / "there" / "acrobot" / "version_0" / "checkpoints" / "last.ckpt"
    assert run(f"--ckpt_path={last}", "--trainer.max_epochs=3", "--gif=false") == 0
    # The run's folder stands for its last checkpoint.
    assert run(f"--ckpt_path={last.parent.parent}", "--trainer.max_epochs=4", "--gif=false") == 0

    assert_same_run(without_gifs, tmp_path / "there" / "acrobot" / "version_0")
    assert not (tmp_path / "here").exists()


def test_preset_of_another_run_does_not_continue_this_one(
    without_gifs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([f"--ckpt_path={without_gifs}", "--preset=cartpole"]) == 2

    assert mistake(capsys) == (
        f"error: --preset cartpole cannot continue a run of acrobot, {without_gifs}; leave it out\n"
    )


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
    assert run(root, "--trainer.limit_val_batches=0", "--trainer.max_epochs=1", "--gif=false") == 0

    assert "over 3 episodes; not solved (>= -100)" in capsys.readouterr().out


def test_help_explains_the_settings_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit.main(["--print_config"])
    settings = yaml.safe_load(capsys.readouterr().out)
    assert fit.main(["--help"]) == 0
    shown = capsys.readouterr().out

    for group in ("data", "model"):
        assert set(re.findall(rf"^  --{group}\.(\w+) ", shown, re.MULTILINE)) == settings[group].keys()
    assert "--preset NAME" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 120
    assert len(shown.splitlines()) < 150


def test_second_run_gets_a_folder_of_its_own(without_gifs: Path) -> None:
    root = without_gifs.parent.parent
    assert run(f"--trainer.default_root_dir={root}", "--trainer.max_epochs=1", "--gif=false") == 0

    assert (without_gifs.parent / "version_1" / "metrics.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.env_id=Nowhere-v0"], "error: cannot make the environment 'Nowhere-v0'"),
        (
            ["--data.env_id=Pendulum-v1"],
            "error: Pendulum-v1 has the action space Box(-2.0, 2.0, (1,), float32); acro needs a Discrete",
        ),
        (["--data.capacity=0"], "error: capacity must be at least 1, got 0"),
        (["--data.env_id=MinAtar/Breakout-v1", "--data.capacity=2000000000"], "bytes"),
        (["--data.gamma=2"], "error: gamma must be from 0 to 1, got 2.0"),
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

    error = mistake(capsys)
    assert message in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpu_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=gpu") == 2

    message = "error: --trainer.accelerator: No supported gpu backend found! Leave it out to train on the CPU.\n"
    assert mistake(capsys) == message


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


def test_dry_run_leaves_no_files(straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.fast_dev_run=true") == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    folder = tmp_path / "acrobot" / "version_0"
    shutil.copytree(straight, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.fast_dev_run=true", "--ckpt_path=last") == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


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


@pytest.mark.parametrize(
    ("names", "value", "message"),
    [
        (["optimizer_states"], [], "a checkpoint must have one optimizer's state, got 0; use another checkpoint"),
        (["Experience"], {}, "last.ckpt cannot be continued, KeyError: 'settings'; use another checkpoint"),
        (["Experience", "collector"], None, "last.ckpt cannot be continued, TypeError: "),
        (["dqn"], {}, "last.ckpt cannot be continued, KeyError: "),
        (["loops"], {}, "last.ckpt cannot be continued, KeyError: "),
        (["state_dict"], {}, "last.ckpt cannot be continued, RuntimeError: Error(s) in loading state_dict"),
    ],
)
def test_checkpoint_that_makes_no_sense_is_one_sentence(
    names: list[str], value: Any, message: str, straight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = straight / "checkpoints" / "last.ckpt"
    before = {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()}
    content = changed = read_checkpoint(path)
    for name in names[:-1]:
        changed = changed[name]
    changed[names[-1]] = value
    try:
        DurableCheckpointIO().save_checkpoint(content, path)
        assert run(f"--ckpt_path={path}", "--trainer.max_epochs=5") == 2
    finally:
        path.write_bytes(before[path])

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith("error: ")
    assert message in last_line
    new = {path for path in straight.rglob("*") if path.is_file()} - before.keys()
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name.split(".")[0] for path in new} <= {"", "events"}


def test_refused_resume_changes_nothing(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()}
    assert run(f"--ckpt_path={straight / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=3") == 2

    assert mistake(capsys) == (
        "error: --trainer.max_epochs 3 must be at least 4 to continue this run, which has already taken 1024 steps\n"
    )
    assert before == {path: path.read_bytes() for path in straight.rglob("*") if path.is_file()}


def test_result_is_kept(straight: Path) -> None:
    result = json.loads((straight / "result.json").read_text())

    assert len(result["returns"]) == result["episodes"] == 3
    assert result["mean"] == pytest.approx(sum(result["returns"]) / 3)
    assert result["at_limit"] == sum(length == 20 for length in result["lengths"])
    assert result["steps"] == 1024
    assert result["versions"]["acro"] == acro.__version__
    assert {"env_id", "standard_error", "median", "worst", "solved_step", "seconds", "settings_sha256"} <= result.keys()


def test_settings_hash_is_that_of_the_experiment_not_of_the_seed(straight: Path, tmp_path: Path) -> None:
    def settings_hash(*arguments: str) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        assert run(f"--trainer.default_root_dir={root}", "--gif=false", *arguments) == 0
        result = json.loads((root / "acrobot" / "version_0" / "result.json").read_text())
        return str(result["settings_sha256"])

    expected = json.loads((straight / "result.json").read_text())["settings_sha256"]
    assert settings_hash("--seed_everything=7") == expected
    assert settings_hash("--model.tau=0.5") != expected


def test_other_loggers_leave_metrics_and_pictures_in_the_run_folder(tmp_path: Path) -> None:
    arguments = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'elsewhere'}"]
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1", *arguments) == 0

    folder = tmp_path / "acrobot" / "version_0"
    assert {"metrics.csv", "learning_curve.png", "final.gif", "result.json"} <= {path.name for path in folder.iterdir()}
    assert list((tmp_path / "elsewhere").rglob("metrics.csv"))


def test_tensorboard_has_the_held_out_result_and_every_picture(straight: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(straight))
    events.Reload()

    mean = json.loads((straight / "result.json").read_text())["mean"]
    for name in ("test/return", "hp_metric"):
        assert [(event.step, event.value) for event in events.Scalars(name)] == [(1024, pytest.approx(mean))]
    assert {"policy", "progress", "final", "learning_curve"} <= set(events.Tags()["images"])
    assert events.Images("final")[0].encoded_image_string == (straight / "final.gif").read_bytes()


def test_metrics_have_the_digits_of_32_bits(straight: Path) -> None:
    with (straight / "metrics.csv").open() as file:
        values = [value for row in csv.DictReader(file) for value in row.values() if "." in value]

    assert values
    assert values == [str(np.float32(value)) for value in values]


def test_hparams_are_plain_yaml(straight: Path) -> None:
    assert yaml.safe_load((straight / "hparams.yaml").read_text())["hidden"] == [16, 16]


def fit_on_a_small_disk(arguments: list[str], log: Path) -> None:
    # A limit on the size of files stands for a full disk: the memory's checkpoint does not fit, the rest does.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    fit_logged(arguments, log)


def test_run_whose_disk_fills_up_still_gives_its_result(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    arguments = [*SMALL, "--gif=false", f"--trainer.default_root_dir={tmp_path}"]
    process = fork_server().Process(target=fit_on_a_small_disk, args=(arguments, log))
    process.start()
    process.join()

    said = log.read_text()
    assert process.exitcode == 0, said
    assert RESULT.search(said)
    assert "cannot save" in said
    assert "Traceback" not in said


class Vanish(L.Callback):
    """Remove the run's folder in the second epoch."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            shutil.rmtree(trainer.default_root_dir)


class Unwritable(Vanish):
    """Put a file in its place, in which nothing can be written: to root no folder is read-only."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        if trainer.current_epoch == 1:
            Path(trainer.default_root_dir).touch()


# TensorBoard writes in a thread of its own, which dies of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("callback", [Vanish, Unwritable])
def test_folder_that_is_gone_costs_no_result(
    callback: type[L.Callback], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = f"--trainer.callbacks+={__name__}.{callback.__name__}"
    assert run(f"--trainer.default_root_dir={tmp_path}", "--gif=false", named) == 0

    said = capsys.readouterr()
    assert RESULT.search(said.out)
    assert ("cannot save" in said.err) == (callback is Unwritable)


def test_terminal_that_knows_only_ascii_gets_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert run(f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1", "--gif=false") == 0

    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.seek(0)
    assert sys.stdout.read().startswith("eval: mean -20.0 ? 0.0")


FAILING = """
from gymnasium.envs.classic_control import CartPoleEnv


class Late(CartPoleEnv):
    def step(self, action):
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken > 50:
            raise ValueError("the simulator broke")
        return super().step(action)


class ShortReset(CartPoleEnv):
    def reset(self, **kwargs):
        return super().reset(**kwargs)[0]


def no_env():
    return 7
"""


def test_environment_that_fails_is_named_with_its_place_in_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing_envs.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["--data.env_kwargs={}", "--gif=false", f"--trainer.default_root_dir={tmp_path}"]

    assert run(*arguments, "--data.env_id=failing_envs:Late") == 1
    said = capsys.readouterr().err
    assert "\nLate failed at environment step 408\n" in said
    assert 'raise ValueError("the simulator broke")' in said
    last = tmp_path / "failing_envs-Late" / "version_0" / "checkpoints" / "last.ckpt"
    how = f"continue with: python -m acro.fit --ckpt_path {last} --trust_config"
    assert said.endswith(f"error: the simulator broke; {how}\n")

    assert run(*arguments, "--data.env_id=failing_envs:ShortReset") == 2
    assert "\nShortReset failed in its first reset\nerror: too many values to unpack" in capsys.readouterr().err
    assert run(*arguments, "--data.env_id=failing_envs:no_env") == 2
    assert mistake(capsys) == "error: failing_envs:no_env must return a gymnasium.Env, got 7\n"
