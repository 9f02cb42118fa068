"""Moving pictures show the episodes that were evaluated, for 15 seconds at most, whole or not at all."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import drawing_envs
import numpy as np
import pytest
import torch
from batches import linear_of
from PIL import Image

from acro import QNetwork, evaluate
from acro.drawing.episodes import Pace, render_episodes, render_progress, show_episode
from acro.evaluation import Episodes, Evaluation

DRAWING = Episodes("drawing/Drawing-v0", 5, 0, {})


@pytest.fixture
def network() -> QNetwork:
    torch.manual_seed(0)
    return QNetwork(3, 2, hidden=(8,))


def draw(network: QNetwork, episodes: Episodes, indices: list[int], path: Path, **how: Any) -> list[float]:
    return render_episodes(episodes, evaluate(network, *episodes), indices, path, **how)


def hundredths(path: Path) -> list[int]:
    with Image.open(path) as image:
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(image.info["duration"] // 10)
    return durations


def numpy_state() -> str:
    return str(np.random.get_state())  # noqa: NPY002 - it must stay as it was


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        found = []
        for frame in range(image.n_frames):
            image.seek(frame)
            found.append(np.asarray(image.convert("RGB")))
    return found


@pytest.mark.parametrize(
    ("env_id", "sizes", "indices"),
    [("CartPole-v1", (4, 2), [0, 64, 127, 128, 131]), ("acro/Acrobot-v1", (6, 3), [0, 131])],
)
def test_gif_shows_the_episode_that_was_evaluated(
    env_id: str, sizes: tuple[int, int], indices: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = QNetwork(*sizes, hidden=(32, 32))
    episodes = Episodes(env_id, 132, 11, {"max_episode_steps": 25})
    evaluation = evaluate(network, *episodes)

    returns = render_episodes(episodes, evaluation, indices, tmp_path / "a.gif")

    assert returns == evaluation.returns[indices].tolist()
    assert len(hundredths(tmp_path / "a.gif")) == (evaluation.lengths[indices] + 1).sum()


def test_every_frame_is_shown_for_the_time_step_of_the_environment(tmp_path: Path) -> None:
    network = QNetwork(6, 3, hidden=(8,))
    episodes = Episodes("acro/Acrobot-v1", 1, 0, {"max_episode_steps": 9})

    draw(network, episodes, [0], tmp_path / "a.gif")

    assert hundredths(tmp_path / "a.gif") == [20] * 9 + [150]


def test_time_step_that_no_delay_can_show_keeps_the_pace(network: QNetwork, tmp_path: Path) -> None:
    episodes = DRAWING._replace(env_kwargs={"dt": 0.008, "length": 31})

    draw(network, episodes, [0], tmp_path / "a.gif")

    # Every third step, each 2.4 hundredths of a second long, and the end.
    assert hundredths(tmp_path / "a.gif") == [2, 3, 2, 3, 2, 2, 3, 2, 3, 2, 2, 149]


def test_without_a_time_step_the_speed_is_the_renderers(network: QNetwork, tmp_path: Path) -> None:
    draw(network, DRAWING, [0], tmp_path / "a.gif")

    assert hundredths(tmp_path / "a.gif") == [10] * 12 + [150]


def test_fps_sets_the_speed(network: QNetwork, tmp_path: Path) -> None:
    draw(network, DRAWING, [0], tmp_path / "a.gif", fps=25)

    assert hundredths(tmp_path / "a.gif") == [4] * 12 + [150]


def test_caption_and_return_stand_above_the_picture(network: QNetwork, tmp_path: Path) -> None:
    draw(network, DRAWING, [0], tmp_path / "a.gif", caption="after 100 steps")

    first, second = frames(tmp_path / "a.gif")[:2]
    band, middle = slice(0, 24), first.shape[1] // 2
    assert first[band, :middle].min() < 60
    assert np.array_equal(first[band, :middle], second[band, :middle])
    assert not np.array_equal(first[band, middle:], second[band, middle:])


@pytest.mark.parametrize(
    ("steps", "step_seconds", "pace"),
    [
        (67, 0.2, (1, 1, 0.2)),  # 13.4 s
        (68, 0.2, (2, 1, 0.1)),  # 13.6 s
        (500, 0.02, (1, 3, 0.06)),  # 10 s, in 168 frames
        (500, 0.2, (8, 3, 0.075)),
        (10_000, 0.02, (15, 50, 0.02 * 50 / 15)),
        (30, 0.008, (1, 3, 0.024)),  # a browser shows no frame for 8 ms
    ],
)
def test_pace_is_true_or_a_whole_multiple(steps: int, step_seconds: float, pace: tuple[int, int, float]) -> None:
    found = Pace.of(steps, step_seconds, 13.5)

    assert found == pytest.approx(pace)
    seconds = found.seconds(steps, 1.5)
    assert len(seconds) <= 201
    assert sum(seconds) == pytest.approx(steps * step_seconds / found.speed + 1.5)
    assert sum(seconds) <= 15.0


@pytest.mark.parametrize(("length", "indices"), [(500, [0]), (75, [0, 1, 2, 3]), (2_000, [0, 1])])
def test_long_episodes_are_sped_up_to_15_seconds_and_the_caption_says_so(
    length: int, indices: list[int], network: QNetwork, tmp_path: Path
) -> None:
    episodes = DRAWING._replace(env_kwargs={"dt": 0.2, "length": length})

    draw(network, episodes, indices, tmp_path / "long.gif", caption="after 5 steps")
    draw(network, DRAWING, [0], tmp_path / "short.gif", caption="after 5 steps")

    durations = hundredths(tmp_path / "long.gif")
    assert 1_000 < sum(durations) <= 1_500
    assert len(durations) <= 200 + len(indices)
    long, short = (
        np.flatnonzero((frames(tmp_path / f"{name}.gif")[0][:24, :150] < 60).any(axis=(0, 2)))
        for name in ("long", "short")
    )
    # " · 8x"
    assert 15 < long[-1] - short[-1] < 50


@pytest.mark.parametrize("old", [None, b"old"])
def test_failure_halfway_leaves_nothing_behind(network: QNetwork, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    if old is not None:
        path.write_bytes(old)
    episodes = DRAWING._replace(env_id="drawing/FailsHalfway-v0")

    with pytest.raises(ValueError, match=r"cannot draw drawing/FailsHalfway-v0: render\(\) returned NoneType"):
        draw(network, episodes, [0], path)

    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_render_that_raises_is_told_with_its_reason(network: QNetwork, tmp_path: Path) -> None:
    episodes = DRAWING._replace(env_id="drawing/Raises-v0")

    with pytest.raises(ValueError, match=r"cannot draw drawing/Raises-v0: render\(\) raised KeyError: 'no texture'"):
        draw(network, episodes, [0], tmp_path / "a.gif")


def test_environment_without_pictures_is_an_error(network: QNetwork, tmp_path: Path) -> None:
    episodes = DRAWING._replace(env_id="drawing/WithoutPictures-v0")

    with pytest.raises(ValueError, match=r"cannot draw drawing/WithoutPictures-v0: it has no render mode 'rgb_array'"):
        draw(network, episodes, [0], tmp_path / "a.gif")

    assert list(tmp_path.iterdir()) == []


def test_missing_pygame_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    episodes = Episodes("acro/Acrobot-v1", 1, 0, {})

    with pytest.raises(ImportError, match=r"pip install .*gymnasium\[classic-control\]"):
        draw(QNetwork(6, 3), episodes, [0], tmp_path / "a.gif")


def test_drawing_changes_neither_randomness_nor_the_environment_variables(network: QNetwork, tmp_path: Path) -> None:
    evaluation = evaluate(network, *DRAWING)

    def everything() -> object:
        return random.getstate(), numpy_state(), torch.get_rng_state().tolist(), dict(os.environ)

    before = everything()
    render_episodes(DRAWING, evaluation, [0, 1], tmp_path / "a.gif")

    assert everything() == before


def test_acrobot_episode_of_usual_length_takes_less_than_150_kilobytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = QNetwork(6, 3)
    torch.nn.init.normal_(linear_of(network, -1).weight, std=3.0)
    episodes = Episodes("acro/Acrobot-v1", 1, 0, {"max_episode_steps": 80})

    draw(network, episodes, [0], tmp_path / "a.gif", caption="after 1,000 steps")

    assert len(hundredths(tmp_path / "a.gif")) == 81
    assert (tmp_path / "a.gif").stat().st_size < 150_000


# ---- several policies side by side


def of_lengths(lengths: tuple[int, ...]) -> list[Evaluation]:
    """Return evaluations of one episode each, of the given lengths in `drawing/Drawing-v0`."""
    return [
        Evaluation(
            0, np.array([-float(length)]), np.array([length]), [np.zeros(length, dtype=np.int64)], np.zeros(1, np.bool_)
        )
        for length in lengths
    ]


@pytest.mark.parametrize(("lengths", "steps"), [((3, 7, 5), 7), ((3, 8, 5), 5), ((9, 9, 9), 9)])
def test_progress_shows_policies_in_step_until_the_last_has_ended_or_a_little_longer(
    lengths: tuple[int, ...], steps: int, tmp_path: Path
) -> None:
    episodes = DRAWING._replace(env_kwargs={"length": 9})

    render_progress(episodes, of_lengths(lengths), ["a", "b", "c"], tmp_path / "p.gif")

    assert hundredths(tmp_path / "p.gif") == [10] * steps + [150]
    for step, frame in enumerate(frames(tmp_path / "p.gif")):
        panels = [frame[24:, left : left + 300] for left in (0, 304, 608)]
        # The square is 10 of 60 pixels wide, and each of them is 5 pixels large here.
        squares = [int(np.flatnonzero((panel == (200, 30, 30)).all(axis=2).any(axis=0))[0]) // 5 for panel in panels]
        assert squares == [min(step, length) for length in lengths]


def test_progress_says_what_a_longer_episode_goes_on_to_beside_the_picture(tmp_path: Path) -> None:
    render_progress(DRAWING, of_lengths((12, 5)), ["a", "b"], tmp_path / "p.gif")

    before, last = frames(tmp_path / "p.gif")[-2:]
    inked = [np.flatnonzero((frame[:24, 150:300] < 60).any(axis=(0, 2))) for frame in (before, last)]
    # "return -4" and "goes on to -12"
    assert inked[1][0] < inked[0][0] - 20
    assert ((last[24:, :300] == 255) | (last[24:, :300] == (200, 30, 30))).all()


def test_window_shows_the_episode_as_fast_as_the_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str | None, float]] = []
    step = drawing_envs.Drawing.step

    def noting(env: drawing_envs.Drawing, action: Any) -> Any:
        shown.append((env.render_mode, env.metadata["render_fps"]))
        return step(env, action)

    monkeypatch.setattr(drawing_envs.Drawing, "step", noting)
    episodes = DRAWING._replace(env_kwargs={"dt": 0.2, "length": 100})

    show_episode(episodes, of_lengths((100,))[0], 0)

    # 20 seconds in 13.5 are twice the speed.
    assert shown == [("human", 10)] * 100
