"""GIFs side by side, in one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from acro.drawing.episodes import band_font
from acro.drawing.gif import GifWriter
from acro.storage.files import replacing

# Pixels.
_GAP, _GAP_GREY = 4, 204
# Hundredths of a second. A first policy that never reaches its goal would otherwise go on for minutes.
_LONGEST = 3_000
_AT_THE_END = 200


def join_side_by_side(paths: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> None:
    """Play the GIFs `paths` in step as one, `path`, from left to right; each stays on its last frame.

    It ends 30 seconds in, or when all have ended. Frames are read and written as they come; the file is written whole
    or not at all.
    """
    with ExitStack() as stack:
        parts = [_Part(stack.enter_context(Image.open(part))) for part in paths]
        file = stack.enter_context(replacing(path))
        writer = GifWriter(file)
        now = 0
        while True:
            following = min((part.until for part in parts if not part.has_ended), default=_LONGEST)
            is_last = following >= _LONGEST
            joined = _beside([_cut(part) if is_last and not part.has_ended else part.frame for part in parts])
            writer.append(joined, _AT_THE_END if is_last else following - now)
            if is_last:
                break
            now = following
            for part in parts:
                part.advance(now)
        writer.finish()


class _Part:
    """A GIF, at one of its frames."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.frame = np.asarray(image.convert("RGB"))
        self.until = _hundredths(image)
        self._last = int(getattr(image, "n_frames", 1)) - 1
        self.has_ended = self._last == 0

    def advance(self, now: int) -> None:
        """Go to the frame that is shown at `now`, in hundredths of a second."""
        while not self.has_ended and self.until <= now:
            self._image.seek(self._image.tell() + 1)
            self.until += _hundredths(self._image)
            self.has_ended = self._image.tell() == self._last
            self.frame = np.asarray(self._image.convert("RGB"))


def _cut(part: _Part) -> NDArray[np.uint8]:
    image = Image.fromarray(part.frame)
    place = (image.width // 2, image.height - 8)
    ImageDraw.Draw(image).text(place, "goes on; cut here", fill="black", font=band_font(), anchor="mb")
    return np.asarray(image)


def _hundredths(image: Image.Image) -> int:
    return int(image.info["duration"]) // 10


def _beside(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(frame.shape[0] for frame in frames)
    width = sum(frame.shape[1] for frame in frames) + _GAP * (len(frames) - 1)
    joined = np.full((height, width, 3), _GAP_GREY, dtype=np.uint8)
    left = 0
    for frame in frames:
        joined[: frame.shape[0], left : left + frame.shape[1]] = frame
        left += frame.shape[1] + _GAP
    return joined
