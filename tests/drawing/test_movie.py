"""GIFs and MP4s show the frames that they were given, in their colours, for as long as they were told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from acro.drawing.movie import write_movie

COLORS = np.array([[255, 255, 255], [0, 0, 0], [0, 204, 204], [201, 30, 33]], dtype=np.uint8)


def frames(path: Path) -> list[np.ndarray]:
    return list(iio.imiter(path, plugin="pillow", mode="RGB"))


def hundredths(path: Path) -> list[int]:
    with Image.open(path) as image:
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(image.info["duration"] // 10)
    return durations


def noise(count: int, *size: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(256, size=(*size, 3), dtype=np.uint8) for _ in range(count)]


def test_flat_colors_come_back_as_they_were(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pictures = [COLORS[generator.integers(4, size=(17, 23))] for _ in range(6)]

    write_movie(tmp_path / "a.gif", pictures, [0.1] * 6)

    assert np.array_equal(frames(tmp_path / "a.gif"), pictures)


def test_color_that_appears_later_is_near_and_flat(tmp_path: Path) -> None:
    later = np.full((20, 20, 3), (13, 77, 190), dtype=np.uint8)

    write_movie(tmp_path / "a.gif", [np.zeros_like(later), later], [0.1, 0.1])

    found = frames(tmp_path / "a.gif")[1]
    assert np.ptp(found, axis=(0, 1)).max() == 0
    # Colours are told apart by their upper bits.
    assert np.abs(found.astype(int) - later).max() <= 7


def test_many_colors_are_near(tmp_path: Path) -> None:
    ramp = np.stack(np.broadcast_arrays(*np.ogrid[0:256:4, 0:256:4, 128:129])[:3], axis=-1)[:, :, 0].astype(np.uint8)

    write_movie(tmp_path / "a.gif", [ramp, ramp[::-1]], [0.1, 0.1])

    for found, picture in zip(frames(tmp_path / "a.gif"), [ramp, ramp[::-1]], strict=True):
        assert np.abs(found.astype(int) - picture).mean() < 10


def test_picture_that_does_not_change_takes_its_time_and_no_space(tmp_path: Path) -> None:
    (picture,) = noise(1, 40, 40)

    write_movie(tmp_path / "one.gif", [picture], [0.5])
    write_movie(tmp_path / "many.gif", [picture] * 50 + [picture[::-1]], [0.01] * 51)

    assert hundredths(tmp_path / "many.gif") == [50, 1]
    assert (tmp_path / "many.gif").stat().st_size < 3 * (tmp_path / "one.gif").stat().st_size


def test_only_what_changes_takes_space(tmp_path: Path) -> None:
    (picture,) = noise(1, 100, 100)
    pictures = [picture.copy() for _ in range(20)]
    for index, changed in enumerate(pictures):
        # Far apart, so that no small rectangle holds both.
        changed[0, index] = changed[-1, -index - 1] = 0

    write_movie(tmp_path / "first.gif", pictures[:1], [0.1])
    write_movie(tmp_path / "all.gif", pictures, [0.1] * 20)

    assert len(frames(tmp_path / "all.gif")) == 20
    assert (tmp_path / "all.gif").stat().st_size < 2 * (tmp_path / "first.gif").stat().st_size


def test_rounding_to_hundredths_adds_up_no_errors(tmp_path: Path) -> None:
    write_movie(tmp_path / "a.gif", noise(10, 4, 4), [0.024] * 10)

    assert hundredths(tmp_path / "a.gif") == [2, 3, 2, 3, 2, 2, 3, 2, 3, 2]


def test_mp4_shows_the_same_for_as_long(tmp_path: Path) -> None:
    pictures = [np.full((31, 45, 3), color, dtype=np.uint8) for color in COLORS]

    write_movie(tmp_path / "a.mp4", pictures, [0.1, 0.1, 0.1, 0.5])

    metadata = iio.immeta(tmp_path / "a.mp4", plugin="pyav")
    assert (metadata["codec"], metadata["fps"], metadata["duration"]) == ("h264", 10.0, 0.8)
    found = iio.imread(tmp_path / "a.mp4", plugin="pyav")
    # Even numbers of pixels are what players show.
    assert found.shape == (8, 32, 46, 3)
    for shown, picture in zip(found, [*pictures, *pictures[-1:] * 4], strict=True):
        assert np.abs(shown[:31, :45].astype(int) - picture).max() < 12


def test_mp4_without_pyav_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(ImportError, match=r'a\.mp4: \.mp4 needs PyAV; install it with pip install "acro-dqn\[video\]"'):
        write_movie(tmp_path / "a.mp4", noise(2, 4, 4), [0.1, 0.1])

    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.webm: moving pictures end in one of \.gif, \.mp4"):
        write_movie(tmp_path / "a.webm", noise(2, 4, 4), [0.1, 0.1])


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_failure_halfway_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from noise(2, 4, 4)
        raise ZeroDivisionError

    (tmp_path / name).write_bytes(b"old")

    with pytest.raises(ZeroDivisionError):
        write_movie(tmp_path / name, failing(), [0.1] * 3)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
