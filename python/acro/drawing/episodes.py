"""Greedy episodes as GIFs, headless: no display, no ffmpeg."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from acro import envs
from acro.drawing.gif import GifWriter
from acro.evaluation import Episodes, Evaluation
from acro.storage.files import replacing

# Of an episode; Acrobot's and CartPole's 500 steps fit, an environment without a time limit does not fill the disk.
MAX_FRAMES = 600
# Pixels. Three such frames side by side are about as wide as a README.
_LONGER_SIDE = 300
_SHORTEST_LONGER_SIDE = 150
_SMALLEST_WIDTH = 250
_BAND_HEIGHT = 24
_FONT_SIZE = 14
# Browsers slow down a GIF whose frames are shown for less than 2 hundredths of a second.
_SHORTEST_DELAY_SECONDS = 0.02
_LAST_FRAME_HUNDREDTHS = 150


@dataclass(frozen=True)
class RenderedEpisode:
    """What a GIF shows: the undiscounted return and the steps of its episode, up to the cut if there is one."""

    episode_return: float
    length: int
    is_cut: bool


def render_episodes(
    episodes: Episodes,
    evaluation: Evaluation,
    indices: Sequence[int],
    path: str | os.PathLike[str],
    *,
    caption: str = "",
    fps: float | None = None,
) -> list[RenderedEpisode]:
    """Write the episodes `indices` of an evaluation, one after another, as one GIF.

    Each is played again from its start by the actions that it had. Frames are written as they are drawn. The file is
    written whole or not at all; no global random state is changed.

    Args:
        episodes: What was played.
        evaluation: What came of it, as `evaluate` returned it.
        indices: Which of its episodes.
        path: The GIF; its folder must exist.
        caption: Drawn above the picture, beside the return so far.
        fps: Steps shown in a second; None takes the environment's own time step, for true speed.

    Raises:
        ImportError: The environment draws with a package that is not installed; the message says which.
        ValueError: The environment cannot draw frames.
        OSError: The file cannot be written.
    """
    with replacing(path) as file, _headless():
        writer = GifWriter(file)
        env = make_drawing(episodes, "rgb_array")
        try:
            rendered = [_append_episode(writer, env, episodes, evaluation, index, caption, fps) for index in indices]
        except DependencyNotInstalled as error:
            raise ImportError(f"cannot draw {episodes.env_id}: {error}") from error
        finally:
            env.close()
        writer.finish()
    return rendered


def replay(env: gymnasium.Env[Any, Any], evaluation: Evaluation, index: int) -> Iterator[tuple[float, bool]]:
    """Play episode `index` of an evaluation again, in one environment.

    Yields:
        The return so far and whether the episode has ended: after the reset, then after every step.
    """
    env.reset(seed=evaluation.seed + index)
    episode_return = 0.0
    yield episode_return, False
    for action in evaluation.actions[index]:
        _, reward, terminated, truncated, _ = env.step(action)
        episode_return += float(reward)
        yield episode_return, bool(terminated or truncated)


def check_drawing(episodes: Episodes, render_mode: str) -> None:
    """Check that the environment of `episodes` can draw itself, in `render_mode`.

    Raises:
        ValueError: It has no such mode.
    """
    # Gymnasium itself only warns, or fails in the environment's own words.
    env = envs.make(episodes.env_id, **episodes.env_kwargs)
    modes = env.metadata.get("render_modes") or []
    env.close()
    if render_mode not in modes:
        raise ValueError(f"cannot draw {episodes.env_id}: it has no render mode {render_mode!r}, only {list(modes)}")


def make_drawing(episodes: Episodes, render_mode: str) -> gymnasium.Env[Any, Any]:
    """Make one environment of `episodes` that draws itself in `render_mode`.

    Raises:
        ValueError: It has no such mode.
    """
    check_drawing(episodes, render_mode)
    return envs.make(episodes.env_id, **{**episodes.env_kwargs, "render_mode": render_mode})


def seconds_per_step(env: gymnasium.Env[Any, Any]) -> float:
    """Return the environment's own time step, in seconds; where it tells none, what its renderer aims at."""
    for name in ("dt", "tau"):
        value = getattr(env.unwrapped, name, None)
        if isinstance(value, (int, float)) and value > 0.0:
            return float(value)
    return 1.0 / (env.metadata.get("render_fps") or 30.0)


def _append_episode(
    writer: GifWriter,
    env: gymnasium.Env[Any, Any],
    episodes: Episodes,
    evaluation: Evaluation,
    index: int,
    caption: str,
    fps: float | None,
) -> RenderedEpisode:
    seconds = 1.0 / fps if fps else seconds_per_step(env)
    stride = max(1, math.ceil(_SHORTEST_DELAY_SECONDS / seconds - 1e-9))
    episode_return, length, is_cut = 0.0, 0, False
    for length, (episode_return, ended) in enumerate(replay(env, evaluation, index)):
        frame_index, is_between = divmod(length, stride)
        is_cut = not ended and frame_index == MAX_FRAMES - 1
        if is_between and not ended:
            continue
        text = f"return {format_return(episode_return)}{' (cut here)' if is_cut else ''}"
        frame = with_band(_fit(_frame(env, episodes.env_id)), caption, text)
        # Rounded from the start of the episode on, so that errors do not add up.
        end, begin = (round(100.0 * seconds * stride * (frame_index + i)) for i in (1, 0))
        writer.append(frame, _LAST_FRAME_HUNDREDTHS if ended or is_cut else end - begin)
        if is_cut:
            break
    return RenderedEpisode(episode_return, length, is_cut)


def _frame(env: gymnasium.Env[Any, Any], env_id: object) -> NDArray[np.uint8]:
    frame: Any = env.render()
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"cannot draw {env_id}: render() returned {found}, expected uint8 (height, width, 3)")
    return frame


def _fit(frame: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(frame)
    longer = max(image.size)
    if longer < _SHORTEST_LONGER_SIDE:
        factor = _LONGER_SIDE // longer
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = min(1.0, _LONGER_SIDE / longer)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)


def with_band(image: Image.Image, left: str, right: str) -> NDArray[np.uint8]:
    """Return `image` (height, width, 3) below a white band with a text at either end."""
    width = max(image.width, _SMALLEST_WIDTH)
    canvas = Image.new("RGB", (width, image.height + _BAND_HEIGHT), "white")
    canvas.paste(image, ((width - image.width) // 2, _BAND_HEIGHT))
    draw = ImageDraw.Draw(canvas)
    font = band_font()
    middle = _BAND_HEIGHT // 2
    draw.text((6, middle), left, fill="black", font=font, anchor="lm")
    draw.text((width - 6, middle), right, fill="black", font=font, anchor="rm")
    return np.asarray(canvas)


@functools.cache
def band_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all text in pictures; Pillow brings it along."""
    return ImageFont.load_default(_FONT_SIZE)


def format_return(value: float) -> str:
    """Return `value` as people read it: whole numbers whole, others with one digit."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


@contextmanager
def _headless() -> Iterator[None]:
    # Without it SDL looks for a display and a sound card, and complains on stderr where there is none.
    defaults = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    added = [name for name in defaults if name not in os.environ]
    os.environ.update({name: defaults[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
