"""GIFs show the episodes that were evaluated, at true speed, whole or not at all."""

from __future__ import annotations

import os
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import drawing_envs  # noqa: F401 - registers them
import numpy as np
import pytest
import torch
from PIL import Image

from acro import QNetwork, evaluate
from acro.drawing import episodes as rendering
from acro.drawing import gif
from acro.drawing.episodes import RenderedEpisode, render_episodes
from acro.drawing.gif import GifWriter
from acro.evaluation import Episodes

DRAWING = Episodes("drawing/Drawing-v0", 5, 0, {})


@pytest.fixture
def network() -> QNetwork:
    torch.manual_seed(0)
    return QNetwork(3, 2, hidden=(8,))


def draw(network: QNetwork, episodes: Episodes, indices: list[int], path: Path, **how: Any) -> list[RenderedEpisode]:
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

    rendered = render_episodes(episodes, evaluation, indices, tmp_path / "a.gif")

    assert [episode.episode_return for episode in rendered] == evaluation.returns[indices].tolist()
    assert [episode.length for episode in rendered] == evaluation.lengths[indices].tolist()


def test_every_frame_is_shown_for_the_time_step_of_the_environment(tmp_path: Path) -> None:
    network = QNetwork(6, 3, hidden=(8,))
    episodes = Episodes("acro/Acrobot-v1", 1, 0, {"max_episode_steps": 9})

    draw(network, episodes, [0], tmp_path / "a.gif")

    assert hundredths(tmp_path / "a.gif") == [20] * 9 + [150]


def test_time_step_that_no_delay_can_show_keeps_the_pace(network: QNetwork, tmp_path: Path) -> None:
    episodes = DRAWING._replace(env_kwargs={"dt": 0.008, "length": 31})

    draw(network, episodes, [0], tmp_path / "a.gif")

    # Every third step, each 2.4 hundredths of a second long, and the end.
    assert hundredths(tmp_path / "a.gif") == [2, 3, 2, 3, 2, 2, 3, 2, 3, 2, 2, 150]


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


def test_long_episode_is_cut_with_a_note(network: QNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_FRAMES", 6)

    (cut,) = draw(network, DRAWING, [0], tmp_path / "cut.gif")
    (whole,) = draw(network, DRAWING._replace(env_kwargs={"length": 5}), [0], tmp_path / "whole.gif")

    assert (cut.length, cut.is_cut) == (5, True)
    assert (whole.length, whole.is_cut) == (5, False)
    cut_band, whole_band = frames(tmp_path / "cut.gif")[-1][:24], frames(tmp_path / "whole.gif")[-1][:24]
    assert (cut_band < 60).sum() > (whole_band < 60).sum()


@pytest.mark.parametrize("old", [None, b"old"])
def test_failure_halfway_leaves_nothing_behind(network: QNetwork, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    if old is not None:
        path.write_bytes(old)
    episodes = DRAWING._replace(env_id="drawing/FailsHalfway-v0")

    with pytest.raises(ValueError, match=r"cannot draw drawing/FailsHalfway-v0: render\(\) returned NoneType"):
        draw(network, episodes, [0], path)

    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


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


def test_acrobot_episode_of_usual_length_takes_less_than_500_kilobytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = QNetwork(6, 3)
    torch.nn.init.normal_(network.layers[-1].weight, std=3.0)
    episodes = Episodes("acro/Acrobot-v1", 1, 0, {"max_episode_steps": 120})

    draw(network, episodes, [0], tmp_path / "a.gif")

    assert len(hundredths(tmp_path / "a.gif")) == 121
    assert (tmp_path / "a.gif").stat().st_size < 500_000


# ---- the encoder


def written(path: Path, pictures: list[np.ndarray]) -> list[np.ndarray]:
    with path.open("wb") as file:
        writer = GifWriter(file)
        for picture in pictures:
            writer.append(picture, 10)
        writer.finish()
    return frames(path)


def test_frames_come_back_as_they_were(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    colors = np.array([[255, 255, 255], [0, 0, 0], [0, 204, 204], [204, 204, 0]], dtype=np.uint8)
    pictures = [colors[generator.integers(4, size=(17, 23))] for _ in range(6)]
    pictures.insert(3, pictures[2])

    assert np.array_equal(written(tmp_path / "a.gif", pictures), pictures)


def test_colors_that_appear_later_are_near(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    later = generator.integers(256, size=(20, 20, 3), dtype=np.uint8)

    _, found = written(tmp_path / "a.gif", [np.zeros_like(later), later])

    # Half an edge of the palette's cube, and half a cell of the table.
    assert np.abs(found.astype(int) - later).max() <= 26 + 5


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        generator = np.random.default_rng(0)
        with (tmp_path / "a.gif").open("wb") as file:
            writer = GifWriter(file)
            writer.append(np.zeros((30, 40, 3), dtype=np.uint8), 10)
            tracemalloc.start()
            for _ in range(count):
                writer.append(generator.integers(256, size=(30, 40, 3), dtype=np.uint8), 10)
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return highest

    assert peak(1_000) < 1.5 * peak(200)


def test_palette_table_maps_white_and_black_to_themselves() -> None:
    palette = np.array([[252, 252, 252], [255, 255, 255], [3, 3, 3], [0, 0, 0]], dtype=np.uint8)

    table = gif._nearest_table(palette)

    assert (table[-1], table[0]) == (1, 3)
