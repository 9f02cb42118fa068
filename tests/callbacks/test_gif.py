"""`RenderGif`: pictures of training that training does not notice."""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import drawing_envs  # noqa: F401 - registers them
import numpy as np
import pytest
import torch
from PIL import Image
from runs import differences, last_checkpoint, train

from acro.callbacks.curve import LearningCurve
from acro.callbacks.gif import RenderGif, choose_episodes
from acro.evaluation import Evaluation

ENV = {"env_id": "drawing/Drawing-v0"}


def numpy_state() -> str:
    return str(np.random.get_state())  # noqa: NPY002 - it must stay as it was


def drawn(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gif"))


def test_first_every_nth_and_last_evaluation_are_drawn_and_a_strip(tmp_path: Path) -> None:
    train(tmp_path, epochs=5, callbacks=(RenderGif(every_n_epochs=2),), **ENV)

    assert drawn(tmp_path) == [*(f"gifs/epoch_000{epoch}.gif" for epoch in (1, 2, 4, 5)), "progress.gif"]


def test_strip_shows_first_middle_and_last_side_by_side(tmp_path: Path) -> None:
    train(tmp_path, epochs=3, callbacks=(RenderGif(every_n_epochs=1),), **ENV)

    with Image.open(tmp_path / "progress.gif") as strip:
        found = np.asarray(strip.convert("RGB"))
    left = 0
    for epoch in (1, 2, 3):
        with Image.open(tmp_path / "gifs" / f"epoch_000{epoch}.gif") as image:
            part = np.asarray(image.convert("RGB")).astype(int)
        # The strip has a palette of its own: the edges of letters may be another grey.
        difference = np.abs(found[:, left : left + part.shape[1]] - part)
        assert difference.max() <= 31, epoch
        assert difference.mean() < 0.1, epoch
        left += part.shape[1] + 4
    assert left - 4 == found.shape[1]


def test_training_ends_with_the_same_weights_and_random_states(tmp_path: Path) -> None:
    ends = []
    for name, callbacks in {"without": (), "with": (RenderGif(every_n_epochs=1), LearningCurve())}.items():
        (tmp_path / name).mkdir()
        train(tmp_path / name, epochs=3, callbacks=callbacks, env_id="CartPole-v1")
        checkpoint = last_checkpoint(tmp_path / name)
        checkpoint["callbacks"] = {}
        ends.append([checkpoint, random.getstate(), numpy_state(), torch.get_rng_state()])

    assert (tmp_path / "with" / "progress.gif").is_file()
    assert differences(*ends) == []


def test_resumed_run_draws_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", epochs=4, callbacks=(RenderGif(every_n_epochs=2),), env_id="CartPole-v1")
    train(tmp_path / "stopped", epochs=4, stop_after=20, callbacks=(RenderGif(2),), env_id="CartPole-v1")
    train(tmp_path / "stopped", epochs=4, resume=True, callbacks=(RenderGif(2),), env_id="CartPole-v1")

    assert drawn(tmp_path / "stopped") == drawn(tmp_path / "straight")
    for name in drawn(tmp_path / "straight"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("env_id", "missing", "message"),
    [
        ("CartPole-v1", "pygame", "pip install"),
        ("drawing/WithoutPictures-v0", None, "it has no render mode 'rgb_array'"),
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

    assert [path.name for path in tmp_path.rglob("*")] in ([], ["last.ckpt"])


def test_episodes_are_spread_from_worst_to_best() -> None:
    evaluation = Evaluation(0, np.array([-5.0, -1.0, -9.0, -3.0, -7.0]), np.ones(5, dtype=np.int64), [])

    assert choose_episodes(evaluation, 1) == [0]
    assert choose_episodes(evaluation, 3) == [2, 0, 1]
    assert choose_episodes(evaluation, 9) == [2, 4, 0, 3, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_epochs": 0}, r"RenderGif\(every_n_epochs=0\): every_n_epochs must be at least 1, got 0"),
        ({"episodes": 0}, r"RenderGif\(episodes=0\): episodes must be at least 1, got 0"),
        ({"fps": 0.0}, r"RenderGif\(fps=0.0\): fps must be above 0, got 0.0"),
    ],
)
def test_senseless_arguments_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RenderGif(**arguments)  # type: ignore[arg-type]
