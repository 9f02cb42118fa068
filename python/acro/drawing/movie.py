"""Writes moving pictures with imageio: GIFs with one palette, and MP4 if PyAV is installed."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acro.storage.files import replacing

_SUFFIXES = (".gif", ".mp4")
# One more means "as in the frame before". With 256, GIFs are larger and slower, and hardly look better.
_COLORS = 127
# Palette entries for the most frequent colours. The rest is shared among all others, as those of a photograph.
_FREQUENT_COLORS = 96


def check_movie(path: str | os.PathLike[str]) -> None:
    """Check that a moving picture can be written to `path`, by its suffix.

    Raises:
        ValueError: `path` ends neither in .gif nor in .mp4.
        ImportError: It ends in .mp4, and PyAV is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path}: moving pictures end in one of {', '.join(_SUFFIXES)}")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise ImportError(f'{path}: .mp4 needs PyAV; install it with pip install "acro-dqn[video]", or write a .gif')


def write_movie(path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], seconds: Sequence[float]) -> None:
    """Write `frames` as GIF or MP4, by the suffix of `path`, completely or not at all.

    GIFs loop, and flat colours stay flat since nothing is dithered. Writing needs about 5 bytes per pixel and frame.

    Args:
        path: The file; its folder must exist.
        frames: Arrays (height, width, 3), all of the same size.
        seconds: How long each is shown; for a GIF rounded to hundredths, without accumulating errors.

    Raises:
        ValueError: `path` has another suffix.
        ImportError: PyAV is missing for an MP4.
        OSError: The file cannot be written.
    """
    check_movie(path)
    write = _write_mp4 if Path(path).suffix.lower() == ".mp4" else _write_gif
    with replacing(path) as file:
        write(cast(BinaryIO, file), frames, seconds)


def _write_gif(file: BinaryIO, frames: Iterable[NDArray[np.uint8]], seconds: Sequence[float]) -> None:
    frames = iter(frames)
    first = next(frames)
    codes = [_code(frame) for frame in itertools.chain([first], frames)]
    palette, nearest = _palette(codes, first)
    hundredths = np.diff(np.round(100.0 * np.cumsum([0.0, *seconds])))
    iio.imwrite(
        file,
        # With indices and a palette, Pillow quantizes nothing and writes one palette for all frames.
        np.stack([nearest[code] for code in codes]),
        extension=".gif",
        plugin="pillow",
        is_batch=True,
        palette=palette.tobytes(),
        duration=(10.0 * hundredths).tolist(),
        loop=0,
        # A single frame also needs a list of durations.
        save_all=True,
        # Unchanged pixels are written in the transparent colour: long runs of one colour compress well.
        optimize=True,
        transparency=len(palette) - 1,
        disposal=1,
    )


def _write_mp4(file: BinaryIO, frames: Iterable[NDArray[np.uint8]], seconds: Sequence[float]) -> None:
    tick = min(seconds)
    with iio.imopen(file, "w", extension=".mp4", plugin="pyav", container="mp4") as movie:
        movie.init_video_stream("libx264", fps=1.0 / tick)
        for frame, duration in zip(frames, seconds, strict=True):
            # MP4's usual pixel format has half the resolution for colours.
            even = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], mode="edge")
            for _ in range(max(1, round(duration / tick))):
                movie.write_frame(even)


def _code(frame: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return a code of 16 bits for each pixel, (height, width): 5 of red, 6 of green and 5 of blue."""
    red, green, blue = np.moveaxis(frame, -1, 0).astype(np.uint16)
    return np.asarray((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3)


def _palette(
    codes: Sequence[NDArray[np.uint16]], first: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a palette (at most 128, 3), whose last colour is unused, and the index in it for each code (65,536,).

    Args:
        codes: The codes of all frames.
        first: The first frame; its flat colours are kept exactly.
    """
    counts = np.sum([np.bincount(code.ravel(), minlength=1 << 16) for code in codes], axis=0)
    every = np.arange(1 << 16)
    colors = np.stack([(every >> 11) * 255 // 31, (every >> 5 & 63) * 255 // 63, (every & 31) * 255 // 31], axis=1)
    colors[codes[0].ravel()] = first.reshape(-1, 3)
    used = np.flatnonzero(counts)
    by_frequency = colors[used[np.argsort(-counts[used], kind="stable")]]
    chosen = by_frequency[:_COLORS]
    if len(used) > _COLORS:
        rest = Image.fromarray(by_frequency[None, _FREQUENT_COLORS:].astype(np.uint8))
        shared = rest.quantize(_COLORS - _FREQUENT_COLORS, method=Image.Quantize.MEDIANCUT).getpalette() or []
        chosen = np.concatenate([by_frequency[:_FREQUENT_COLORS], np.reshape(shared, (-1, 3))])
    # Pillow looks colours up in the palette, so no two may be equal, including the unused one.
    chosen = np.unique(chosen, axis=0)
    free = next([0, 0, blue] for blue in range(256) if [0, 0, blue] not in chosen.tolist())
    nearest = np.zeros(1 << 16, dtype=np.uint8)
    # Squared distances, up to a constant for each code.
    nearest[used] = ((chosen**2).sum(axis=1) - 2 * colors[used] @ chosen.T).argmin(axis=1)
    return np.concatenate([chosen, [free]]).astype(np.uint8), nearest
