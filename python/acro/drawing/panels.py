"""Makes a frame of a moving picture: an environment's picture below a line of text."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Pixels. Three such pictures side by side are about as wide as a README.
_LONGER_SIDE = 300
_SHORTEST_LONGER_SIDE = 150
_SMALLEST_WIDTH = 250
_BAND_HEIGHT = 24
_MARGIN = 6
_FONT_SIZE, _SMALLEST_FONT_SIZE = 14, 8
_GAP, _GAP_GREY = 4, 204


def make_panel(picture: NDArray[np.uint8], left: str, right: str) -> NDArray[np.uint8]:
    """Return `picture` below a white band with a text at the left and one at the right, smaller if both do not fit.

    Large pictures are scaled down. Small ones, such as pixel art, are scaled up by a whole factor without smoothing.

    Both pictures are (height, width, 3); the result's size only depends on the picture's.
    """
    image = _fit(Image.fromarray(picture))
    width = max(image.width, _SMALLEST_WIDTH)
    canvas = Image.new("RGB", (width, image.height + _BAND_HEIGHT), "white")
    canvas.paste(image, ((width - image.width) // 2, _BAND_HEIGHT))
    draw = ImageDraw.Draw(canvas)
    room = width - 4 * _MARGIN
    sizes = range(_FONT_SIZE, _SMALLEST_FONT_SIZE, -1)
    fitting = (size for size in sizes if _font(size).getlength(left) + _font(size).getlength(right) <= room)
    font = _font(next(fitting, _SMALLEST_FONT_SIZE))
    draw.text((_MARGIN, _BAND_HEIGHT // 2), left, fill="black", font=font, anchor="lm")
    draw.text((width - _MARGIN, _BAND_HEIGHT // 2), right, fill="black", font=font, anchor="rm")
    return np.asarray(canvas)


def put_side_by_side(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return panels of the same height in a row, with grey gaps between them."""
    gap = np.full((len(panels[0]), _GAP, 3), _GAP_GREY, dtype=np.uint8)
    return np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)


def _fit(image: Image.Image) -> Image.Image:
    longer = max(image.size)
    if longer < _SHORTEST_LONGER_SIDE:
        factor = _LONGER_SIDE // longer
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = min(1.0, _LONGER_SIDE / longer)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Part of Pillow.
    return ImageFont.load_default(size)
