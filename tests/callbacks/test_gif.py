"""`RenderGif`: pictures of training that training does not notice."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import drawing_envs  # noqa: F401 - registers them
import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from runs import differences, last_checkpoint, train

from acro import DQN, Experience, evaluate
from acro.callbacks.curve import LearningCurve
from acro.callbacks.gif import RenderGif, choose_episodes
from acro.drawing.episodes import render_episodes
from acro.evaluation import Evaluation

ENV: dict[str, Any] = {"env_id": "drawing/Drawing-v0"}


def numpy_state() -> str:
    return str(np.random.get_state())  # noqa: NPY002 - it must stay as it was


def drawn(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gif"))


def policies(*epochs: int) -> list[str]:
    return [f"gifs/epoch_{epoch:04}.gif" for epoch in epochs]


def test_first_middle_and_last_policy_are_drawn_alone_and_side_by_side(tmp_path: Path) -> None:
    train(tmp_path, epochs=5, callbacks=(RenderGif(),), **ENV)

    assert drawn(tmp_path) == [*policies(1, 3, 5), "progress.gif"]
    with Image.open(tmp_path / "progress.gif") as progress:
        assert (progress.size, progress.n_frames) == ((908, 224), 13)


def test_run_of_one_evaluation_has_no_progress(tmp_path: Path) -> None:
    train(tmp_path, epochs=1, callbacks=(RenderGif(),), **ENV)

    assert drawn(tmp_path) == policies(1)


def test_first_policy_is_drawn_at_once(tmp_path: Path) -> None:
    train(tmp_path, epochs=4, stop_after=12, callbacks=(RenderGif(),), **ENV)

    assert drawn(tmp_path) == policies(1)


def test_every_nth_policy_is_drawn_if_asked_for(tmp_path: Path) -> None:
    train(tmp_path, epochs=5, callbacks=(RenderGif(every_n_epochs=2),), **ENV)

    assert drawn(tmp_path) == [*policies(1, 2, 3, 4, 5), "progress.gif"]


def test_policies_kept_of_a_long_run_are_few_and_one_is_of_its_middle() -> None:
    evaluation = Evaluation(
        0, np.array([-1.0]), np.ones(1, dtype=np.int64), [np.zeros(1, dtype=np.int64)], np.zeros(1, np.bool_)
    )
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn="fit"),
        sanity_checking=False,
        fast_dev_run=True,
        datamodule=SimpleNamespace(eval_env="", eval_env_kwargs={}),
    )
    module: Any = SimpleNamespace(last_evaluation=evaluation)
    gif = RenderGif()
    for epoch in range(1_000):
        trainer.current_epoch, trainer.datamodule.env_steps = epoch, 128 * (epoch + 1)
        gif.on_validation_end(trainer, module)
        kept = [policy["epoch"] for policy in gif.state_dict()["policies"]]
        assert len(kept) <= 17
        assert (kept[0], kept[-1]) == (1, epoch + 1)
        assert min(abs(2 * middle - kept[0] - kept[-1]) for middle in kept) <= max(1, epoch // 8)


def test_testing_draws_the_median_of_the_held_out_episodes(tmp_path: Path) -> None:
    module, experience = train(tmp_path, epochs=1, env_id="CartPole-v1")
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[RenderGif()],
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

    trainer.test(module, experience, verbose=False)

    assert drawn(tmp_path) == ["final.gif"]
    episodes = experience.held_out_episodes()
    evaluation = evaluate(module, *episodes)
    caption = "held out: median of 3"
    render_episodes(episodes, evaluation, [evaluation.median_episode], tmp_path / "same.gif", caption=caption)
    assert (tmp_path / "final.gif").read_bytes() == (tmp_path / "same.gif").read_bytes()


def test_testing_without_training_draws_too(tmp_path: Path) -> None:
    experience = Experience("CartPole-v1", eval_episodes=2)
    module = DQN(experience.observation_size, experience.num_actions)
    trainer = L.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, callbacks=[RenderGif()])
    trainer.test(module, experience, verbose=False)

    assert (tmp_path / "final.gif").is_file()


def test_training_ends_with_the_same_weights_and_random_states(tmp_path: Path) -> None:
    ends: list[list[Any]] = []
    for name, callbacks in {"without": (), "with": (RenderGif(every_n_epochs=1), LearningCurve())}.items():
        (tmp_path / name).mkdir()
        train(tmp_path / name, epochs=3, callbacks=callbacks, env_id="CartPole-v1")
        checkpoint = last_checkpoint(tmp_path / name)
        checkpoint["callbacks"] = {}
        ends.append([checkpoint, random.getstate(), numpy_state(), torch.get_rng_state()])

    assert (tmp_path / "with" / "progress.gif").is_file()
    without, drawing = ends
    assert differences(without, drawing) == []


def test_resumed_run_draws_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", epochs=4, callbacks=(RenderGif(),), env_id="CartPole-v1")
    train(tmp_path / "stopped", epochs=4, stop_after=20, callbacks=(RenderGif(),), env_id="CartPole-v1")
    train(tmp_path / "stopped", epochs=4, resume=True, callbacks=(RenderGif(),), env_id="CartPole-v1")

    assert drawn(tmp_path / "straight") == [*policies(1, 2, 4), "progress.gif"]
    assert drawn(tmp_path / "stopped") == drawn(tmp_path / "straight")
    for name in drawn(tmp_path / "straight"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("env_id", "missing", "message"),
    [
        ("CartPole-v1", "pygame", "pip install"),
        ("drawing/WithoutPictures-v0", None, "it has no render mode 'rgb_array'"),
        ("drawing/Raises-v0", None, "render() raised KeyError: 'no texture'"),
    ],
)
def test_what_cannot_be_drawn_is_said_once_and_training_goes_on(
    env_id: str,
    missing: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if missing is not None:
        monkeypatch.setitem(sys.modules, missing, None)

    with caplog.at_level(logging.WARNING, logger="acro"):
        _, experience = train(tmp_path, epochs=3, callbacks=(RenderGif(every_n_epochs=1),), env_id=env_id)

    assert experience.env_steps == 3 * experience.steps_per_epoch
    assert [message in record.getMessage() for record in caplog.records] == [True]
    assert drawn(tmp_path) == []


def test_fast_dev_run_draws_nothing(tmp_path: Path) -> None:
    train(tmp_path, epochs=1, callbacks=(RenderGif(), LearningCurve()), fast_dev_run=True, **ENV)

    assert not {path.suffix for path in tmp_path.rglob("*")} & {".gif", ".png", ".svg"}
    assert not (tmp_path / "gifs").exists()


def test_episodes_are_spread_from_worst_to_best() -> None:
    evaluation = Evaluation(
        0, np.array([-5.0, -1.0, -9.0, -3.0, -7.0]), np.ones(5, dtype=np.int64), [], np.zeros(5, np.bool_)
    )

    assert choose_episodes(evaluation, 1) == [0]
    assert choose_episodes(evaluation, 3) == [2, 0, 1]
    assert choose_episodes(evaluation, 9) == [2, 4, 0, 3, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_epochs": 0}, r"RenderGif\(every_n_epochs=0\): every_n_epochs must be at least 1, got 0"),
        ({"every_n_epochs": -1}, r"RenderGif\(every_n_epochs=-1\): every_n_epochs must be at least 1, got -1"),
        ({"episodes": 0}, r"RenderGif\(episodes=0\): episodes must be at least 1, got 0"),
        ({"fps": 0.0}, r"RenderGif\(fps=0.0\): fps must be above 0, got 0.0"),
    ],
)
def test_senseless_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RenderGif(**arguments)
