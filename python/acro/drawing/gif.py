"""A GIF encoder that holds one frame: one palette for all, and only what changed from frame to frame."""

from __future__ import annotations

import struct
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

# The palette: what stands out in the first frame, then a cube that later colours fall near, then "as before".
_CUBE = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)  # (216, 3)
_FIRST_FRAME_COLORS = 39
_UNCHANGED = 255

_KEEP_AND_TRANSPARENT = (1 << 2) | 1
_LOOP_FOREVER = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
_TRAILER = b"\x3b"


class GifWriter:
    """Writes frames to `file` as they come; memory does not grow with their number.

    Source: CompuServe, "Graphics Interchange Format, Version 89a" (1990).
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shown: NDArray[np.uint8] | None = None

    def append(self, frame: NDArray[np.uint8], hundredths: int) -> None:
        """Add `frame` (height, width, 3), shown for `hundredths` of a second; all have the first one's size."""
        if self._shown is None:
            self._begin(frame)
            top, left, part = 0, 0, self._indexed(frame)
            self._shown = part
        else:
            indexed = self._indexed(frame)
            changed = indexed != self._shown
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            # A frame without change still takes its time: one pixel of it is written.
            top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (0, 1)
            left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, 1)
            part = np.where(changed, indexed, np.uint8(_UNCHANGED))[top:bottom, left:right]
            self._shown = indexed
        self._file.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, _KEEP_AND_TRANSPARENT, hundredths, _UNCHANGED, 0))
        image = Image.fromarray(np.ascontiguousarray(part))
        for block in GifImagePlugin.getdata(image, (int(left), int(top))):
            self._file.write(block)

    def finish(self) -> None:
        """Write the end; nothing can follow it."""
        self._file.write(_TRAILER)

    def _begin(self, frame: NDArray[np.uint8]) -> None:
        height, width = frame.shape[:2]
        first = Image.fromarray(frame).quantize(_FIRST_FRAME_COLORS, method=Image.Quantize.MEDIANCUT).getpalette() or []
        colors = np.array(first, dtype=np.uint8).reshape(-1, 3)[:_FIRST_FRAME_COLORS]
        palette = np.zeros((256, 3), dtype=np.uint8)
        palette[: len(_CUBE)] = _CUBE
        palette[len(_CUBE) : len(_CUBE) + len(colors)] = colors
        self._nearest = _nearest_table(palette[: len(_CUBE) + len(colors)])
        # 0xF7: a global palette of 256 colours.
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + palette.tobytes())
        self._file.write(_LOOP_FOREVER)

    def _indexed(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        red, green, blue = np.moveaxis(frame >> 3, -1, 0).astype(np.int32)
        indexed: NDArray[np.uint8] = self._nearest[(red << 10) | (green << 5) | blue]
        return indexed


def _nearest_table(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the index of the nearest color for each of 32 levels of red, green and blue, (32768,).

    Pillow's own mapping to a palette turns pure white into a light grey.
    """
    levels = np.arange(32) * 255 / 31
    cells = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)  # (32768, 3)
    colors = palette.astype(np.float64)
    distances = (colors**2).sum(axis=1) - 2.0 * cells @ colors.T  # (32768, colors), up to a constant of the cell
    nearest: NDArray[np.uint8] = distances.argmin(axis=1).astype(np.uint8)
    return nearest
