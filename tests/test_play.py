"""`python -m acro.play`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import drawing_envs  # noqa: F401 - registers them
import numpy as np
import pytest
import torch
from PIL import Image
from runs import train
from torch import nn

from acro import evaluate
from acro.dqn.agent import load_agent
from acro.play import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(folder, epochs=1, env_id="CartPole-v1")
    return folder / "last.ckpt"


def saved(checkpoint: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the checkpoint with a change."""
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, and return the one line that says what was wrong."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").rstrip("\n")


# ---- what it prints


def test_table_sums_up_the_episodes(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), "--episodes", "7", "--seed", "3"]) == 0

    agent = load_agent(checkpoint)
    evaluation = evaluate(agent.module, "CartPole-v1", 7, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "CartPole-v1 · 7 greedy episodes, from reset(seed=3) to reset(seed=9)",
        f"mean    {evaluation.mean:.1f} ± {evaluation.standard_error:.1f} (standard error)",
        f"median  {np.median(evaluation.returns):.0f}",
        f"worst   {evaluation.returns.min():.0f}",
        f"best    {evaluation.returns.max():.0f}",
        "solved  0% of episodes (return >= 475)",
    ]


def test_json_holds_every_episode(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), "--episodes", "5", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    agent = load_agent(checkpoint)
    evaluation = evaluate(agent.module, "CartPole-v1", 5, 0)
    returns = evaluation.returns
    assert found == {
        "env_id": "CartPole-v1",
        "episodes": 5,
        "seed": 0,
        "returns": returns.tolist(),
        "lengths": evaluation.lengths.tolist(),
        "mean": returns.mean(),
        "median": np.median(returns),
        "min": returns.min(),
        "max": returns.max(),
        "standard_error": evaluation.standard_error,
        "solved": 0.0,
    }


@pytest.mark.parametrize(
    ("which", "choose"),
    [
        ("best", np.argmax),
        ("worst", np.argmin),
        ("median", lambda returns: np.argsort(returns, kind="stable")[2]),
        ("3", lambda _: 3),
    ],
)
def test_gif_shows_the_chosen_episode(
    which: str,
    choose: Callable[[np.ndarray], int],
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.gif"

    assert main([str(checkpoint), "--episodes", "5", "--json", "--gif", str(path), "--episode", which]) == 0

    captured = capsys.readouterr()
    lengths, returns = (np.array(json.loads(captured.out)[name]) for name in ("lengths", "returns"))
    index = int(choose(returns))
    assert captured.err == f"{path}: episode {index}, return {returns[index]:g}, {lengths[index]} steps\n"
    with Image.open(path) as image:
        assert image.n_frames == lengths[index] + 1


def test_reading_changes_nothing(checkpoint: Path) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.parent.iterdir()}

    assert main([str(checkpoint), "--episodes", "2"]) == 0

    assert {path.name: path.read_bytes() for path in checkpoint.parent.iterdir()} == before


def test_help_comes_at_once() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); from acro.play import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)

    assert result.returncode == 0
    assert result.stdout.startswith("usage: python -m acro.play")
    # PyTorch takes seconds to load.
    assert result.stdout.endswith("False\n")


def test_checkpoint_of_a_plain_trainer_plays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, epochs=1, env_id="CartPole-v1", plugins=[])

    assert main([str(tmp_path / "last.ckpt"), "--episodes", "1"]) == 0
    assert capsys.readouterr().out.startswith("CartPole-v1 · 1 greedy episode, from reset(seed=0)\nmean    ")


# ---- code of the user's own


class OwnNetwork(nn.Module):
    """What a user might write."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.layers(obs)
        return values


def test_own_network_is_named_by_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, epochs=1, env_id="CartPole-v1", model={"network": OwnNetwork()})
    path = str(tmp_path / "last.ckpt")

    assert main([path, "--episodes", "2", "--network", "test_play:OwnNetwork"]) == 0
    capsys.readouterr()
    assert fails([path, "--episodes", "2"], capsys) == (
        f"the weights in {path} do not fit acro.QNetwork; "
        "if the Q-network is your own class, name it with --network MODULE:NAME"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OwnNetwork", "--network OwnNetwork: expected MODULE:NAME"),
        ("no_such_module:Net", "No module named 'no_such_module'"),
        ("test_play:Missing", "--network test_play:Missing: module 'test_play' has no attribute 'Missing'"),
        ("torch.nn:Linear", "--network torch.nn:Linear cannot be made without arguments"),
        ("json:loads", "--network json:loads cannot be made without arguments"),
        ("builtins:dict", "--network builtins:dict made a dict, expected a torch.nn.Module"),
    ],
)
def test_network_that_cannot_be_made_is_an_error(
    name: str, message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails([str(checkpoint), "--network", name], capsys)


def test_module_that_only_the_checkpoint_names_is_not_imported(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hostile.py").write_text(
        "import gymnasium\nfrom pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env_id = "hostile:CartPole-v1"
    path = saved(
        checkpoint, tmp_path / "a.ckpt", lambda content: content["datamodule_hyper_parameters"].update(env_id=env_id)
    )

    assert f"name it yourself with --env_id {env_id}" in fails([str(path)], capsys)
    assert not (tmp_path / "ran").exists()

    assert main([str(path), "--episodes", "1", "--env_id", env_id]) == 0
    assert (tmp_path / "ran").exists()


def test_agent_plays_in_another_environment_of_the_same_sizes(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), "--episodes", "1", "--env_id", "drawing/ShortCartPole-v0"]) == 0

    assert capsys.readouterr().out.startswith("drawing/ShortCartPole-v0 · ")


# ---- what a user can get wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "0"], "--episodes 0: at least one episode must be played"),
        (["--episodes", "-3"], "--episodes -3: at least one episode must be played"),
        (["--seed", "-1"], "--seed -1: a seed is at least 0"),
        (["--episode", "middle"], "--episode middle: give best, median, worst or a number from 0 to 99"),
        (["--episode", "100"], "--episode 100: give best, median, worst or a number from 0 to 99"),
        (["--gif", "a.png"], "--gif a.png: moving pictures end in one of .gif, .mp4"),
        (["--gif", "no/such/a.gif"], "--gif no/such/a.gif: there is no folder no/such"),
        (["--env_id", "Nowhere-v7"], "cannot make the environment 'Nowhere-v7'"),
        (["--env_id", "Acrobot-v1"], "was trained with observation_size 4; Acrobot-v1 has 6"),
        (["--env_id", "Pendulum-v1"], "acro needs a Discrete"),
    ],
)
def test_senseless_arguments_are_one_sentence(
    arguments: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails([str(checkpoint), *arguments], capsys)


def test_gif_path_that_is_a_folder_is_one_sentence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.gif").mkdir()

    assert "this is a folder" in fails([str(checkpoint), "--gif", str(tmp_path / "a.gif")], capsys)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody, root included, can write to")
def test_folder_that_cannot_be_written_is_found_before_playing(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails([str(checkpoint), "--gif", "/proc/a.gif"], capsys)

    assert message.startswith("--gif /proc/a.gif: cannot write to the folder /proc (")


def test_window_without_a_display_is_one_sentence(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    message = "--human needs a display, and there is none here; use --gif FILE"
    assert fails([str(checkpoint), "--human"], capsys) == message


def test_environment_without_pictures_is_found_before_playing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, epochs=1, env_id="drawing/WithoutPictures-v0")

    message = fails([str(tmp_path / "last.ckpt"), "--gif", str(tmp_path / "a.gif")], capsys)

    assert message == "cannot draw drawing/WithoutPictures-v0: it has no render mode 'rgb_array', only []"
    assert not (tmp_path / "a.gif").exists()


class Hostile:
    """Would leave a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_hostile_checkpoint_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "ran")}, tmp_path / "a.ckpt")

    assert "holds more than tensors and plain values" in fails([str(tmp_path / "a.ckpt")], capsys)
    assert not (tmp_path / "ran").exists()


def test_missing_checkpoint_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such checkpoint" in fails([str(tmp_path / "a.ckpt")], capsys)


def test_folder_without_a_checkpoint_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a run folder" in fails([str(tmp_path)], capsys)


def test_run_folder_plays_its_best_checkpoint(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name, factor in {"last.ckpt": 1.0, "best.ckpt": 0.0}.items():
        saved(checkpoint, tmp_path / "checkpoints" / name, partial(scale, factor=factor))

    assert main([str(tmp_path), "--episodes", "3", "--json"]) == 0
    played = json.loads(capsys.readouterr().out)
    assert main([str(tmp_path / "checkpoints" / "best.ckpt"), "--episodes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == played


def scale(content: dict[str, Any], factor: float) -> None:
    """Multiply the weights."""
    content["state_dict"] = {name: factor * value for name, value in content["state_dict"].items()}


@pytest.mark.parametrize("damage", ["empty", "text", "half", "flipped", "other zip"])
def test_damaged_checkpoint_is_one_sentence(
    damage: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, path = checkpoint.read_bytes(), tmp_path / "a.ckpt"
    if damage == "other zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"empty": b"", "text": b"hello\n", "half": content[:middle], "flipped": flipped}[damage])

    assert str(path) in fails([str(path)], capsys)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("hyper_parameters"),
        lambda content: content.pop("datamodule_hyper_parameters"),
        lambda content: content.pop("state_dict"),
        lambda content: content.update(hyper_parameters=3),
        lambda content: content.update(state_dict=3),
        lambda content: content["hyper_parameters"].update(unknown=1),
        lambda content: content["hyper_parameters"].update(hidden=[7]),
        lambda content: content["hyper_parameters"].update(hidden="wide"),
        lambda content: content["hyper_parameters"].update(hidden=[10**12]),
        lambda content: content["datamodule_hyper_parameters"].update(env_id="Nowhere-v7"),
        lambda content: content["datamodule_hyper_parameters"].update(env_id=None),
        lambda content: content["datamodule_hyper_parameters"].update(env_kwargs={"no_such": 1}),
        lambda content: content["datamodule_hyper_parameters"].update(env_kwargs=5),
    ],
)
def test_checkpoint_that_makes_no_sense_is_one_sentence(
    change: Callable[[dict[str, Any]], None], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails([str(saved(checkpoint, tmp_path / "a.ckpt", change))], capsys)


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "a.ckpt"), "--debug"]) == 2

    assert "Traceback" in capsys.readouterr().err
