"""A frame is the environment's picture, whole, below a band with texts."""

from __future__ import annotations

import numpy as np
import pytest

from acro.drawing.panels import make_panel, put_side_by_side

BAND = 24


def test_small_picture_is_enlarged_without_smoothing_below_the_band() -> None:
    picture = np.random.default_rng(0).integers(256, size=(10, 15, 3), dtype=np.uint8)

    panel = make_panel(picture, "after 100 steps", "return -7")

    assert panel.shape == (BAND + 200, 300, 3)
    assert np.array_equal(panel[BAND:], picture.repeat(20, axis=0).repeat(20, axis=1))


def test_large_picture_is_made_smaller_and_keeps_its_flat_colors() -> None:
    picture = np.full((400, 600, 3), (0, 204, 204), dtype=np.uint8)

    panel = make_panel(picture, "", "")

    assert panel.shape == (BAND + 200, 300, 3)
    assert (panel[BAND:] == (0, 204, 204)).all()
    assert (panel[:BAND] == 255).all()


def test_narrow_picture_leaves_room_for_the_texts() -> None:
    panel = make_panel(np.zeros((200, 160, 3), dtype=np.uint8), "", "")

    assert panel.shape == (BAND + 200, 250, 3)
    assert (panel[BAND:, 45:205] == 0).all()
    assert (panel[BAND:, [44, 205]] == 255).all()


@pytest.mark.parametrize(
    ("side", "left", "right"),
    [
        (300, "held out: median of 100 · 2x", "goes on to -500"),
        (250, "held out: median of 100 · 10x", "goes on to 1,234.5"),
    ],
)
def test_texts_stand_at_either_end_and_do_not_touch(side: int, left: str, right: str) -> None:
    panel = make_panel(np.zeros((side, side, 3), dtype=np.uint8), left, right)

    inked = np.flatnonzero((panel[:BAND] < 128).any(axis=(0, 2)))
    assert inked[0] < 10
    assert inked[-1] > side - 11
    assert np.diff(inked).max() > 8


def test_panels_stand_in_a_row() -> None:
    black, red = np.zeros((5, 7, 3), dtype=np.uint8), np.full((5, 9, 3), (255, 0, 0), dtype=np.uint8)

    joined = put_side_by_side([black, red, black])

    assert joined.shape == (5, 7 + 4 + 9 + 4 + 7, 3)
    assert (joined[:, :7] == black).all()
    assert (joined[:, 11:20] == red).all()
    assert (joined[:, [8, 21]] == 204).all()
