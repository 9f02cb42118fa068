"""Draws greedy episodes as GIF or MP4; no display is needed."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from acro import envs
from acro.drawing.movie import write_movie
from acro.drawing.panels import make_panel, put_side_by_side
from acro.evaluation import Episodes, Evaluation
from acro.formatting import format_return

# The longest picture that people watch to its end; it also bounds the frames, and so the memory.
_LONGEST_SECONDS = 15.0
_MAX_FRAMES = 200
# Browsers slow down GIFs whose frames are shorter than 2 hundredths of a second.
_SHORTEST_FRAME_SECONDS = 0.02
# How long the last frame of an episode stays, and how long if there are several episodes.
_END_SECONDS = 1.5
_ALL_ENDS_SECONDS = 5.0
# So that other policies that are a little slower still reach their end; a first one often never does.
_LONGER_THAN_LAST = 1.5


class Pace(NamedTuple):
    """How fast steps are shown: at `speed` times the true speed, every `stride`-th step for `frame_seconds`."""

    speed: int
    stride: int
    frame_seconds: float

    @classmethod
    def of(cls, steps: int, step_seconds: float, seconds: float) -> Pace:
        """Return true speed if `steps` fit into `seconds`, else the least whole multiple with which they fit."""
        speed = max(1, math.ceil(steps * step_seconds / seconds - 1e-9))
        fewest = _SHORTEST_FRAME_SECONDS * speed / step_seconds
        stride = max(1, math.ceil(steps / _MAX_FRAMES), math.ceil(fewest - 1e-9))
        return cls(speed, stride, step_seconds * stride / speed)

    def seconds(self, steps: int, end_seconds: float) -> list[float]:
        """Return how long each frame is shown: the start, every `stride`-th step, and the end."""
        before = math.ceil(steps / self.stride)
        # The last frame may be less than a stride after the one before; the time it stays makes up for that.
        early = (before - steps / self.stride) * self.frame_seconds
        return [self.frame_seconds] * before + [end_seconds - early]


def render_episodes(
    episodes: Episodes,
    evaluation: Evaluation,
    indices: Sequence[int],
    path: str | os.PathLike[str],
    *,
    caption: str = "",
    fps: float | None = None,
) -> list[float]:
    """Write the episodes `indices` of an evaluation, one after another, as one GIF or MP4 of at most 15 seconds.

    Each episode is replayed from its start with its actions. It is shown at true speed if that fits, else at
    a whole multiple in the caption. The file is written completely or not at all; no global random state changes.

    Args:
        episodes: The episodes that were played.
        evaluation: The result of `evaluate`.
        indices: The episodes to draw.
        path: Ends in .gif or .mp4; its folder must exist.
        caption: Text above the picture, beside the return so far.
        fps: Steps per second at true speed; None for the environment's own time step.

    Returns:
        The undiscounted returns in the picture; they are the evaluation's if the environment is deterministic.

    Raises:
        ImportError: A package that the environment draws with is not installed, or PyAV for an MP4.
        ValueError: The environment cannot draw frames, or `path` has another suffix.
        OSError: The file cannot be written.
    """
    lengths = [int(evaluation.lengths[index]) for index in indices]
    end_seconds = min(_END_SECONDS, _ALL_ENDS_SECONDS / len(indices))
    returns = [0.0] * len(indices)
    with _headless(), make_drawing(episodes, "rgb_array") as env:
        step_seconds = 1.0 / fps if fps else seconds_per_step(env)
        pace = Pace.of(sum(lengths), step_seconds, _LONGEST_SECONDS - len(indices) * end_seconds)

        def frames() -> Iterator[NDArray[np.uint8]]:
            for place, (index, length) in enumerate(zip(indices, lengths, strict=True)):
                for panel, returns[place] in _panels(env, episodes, evaluation, index, length, pace, caption):
                    yield panel

        seconds = [second for length in lengths for second in pace.seconds(length, end_seconds)]
        write_movie(path, frames(), seconds)
    return returns


def render_progress(
    episodes: Episodes,
    evaluations: Sequence[Evaluation],
    captions: Sequence[str],
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
) -> None:
    """Write the median episodes of several evaluations side by side, as one GIF or MP4.

    It lasts as long as the last policy's episode, or up to 1.5 times as long if others end by then. An ended episode
    stays on its last frame; one that has not ended names its final return.

    Arguments, from left to right, and errors are those of `render_episodes`.
    """
    lengths = [int(evaluation.lengths[evaluation.median_episode]) for evaluation in evaluations]
    steps = max(length for length in lengths if length <= _LONGER_THAN_LAST * lengths[-1])
    with _headless(), ExitStack() as stack:
        drawing = [stack.enter_context(make_drawing(episodes, "rgb_array")) for _ in evaluations]
        step_seconds = 1.0 / fps if fps else seconds_per_step(drawing[0])
        pace = Pace.of(steps, step_seconds, _LONGEST_SECONDS - _END_SECONDS)
        parts = [
            _panels(env, episodes, evaluation, evaluation.median_episode, steps, pace, caption)
            for env, evaluation, caption in zip(drawing, evaluations, captions, strict=True)
        ]
        frames = (put_side_by_side([panel for panel, _ in panels]) for panels in zip(*parts, strict=True))
        write_movie(path, frames, pace.seconds(steps, _END_SECONDS))


def show_episode(episodes: Episodes, evaluation: Evaluation, index: int) -> None:
    """Show episode `index` of an evaluation in a window, at the speed of `render_episodes`.

    Raises:
        ValueError: The environment has no window.
    """
    with make_drawing(episodes, "human") as env:
        pace = Pace.of(int(evaluation.lengths[index]), seconds_per_step(env), _LONGEST_SECONDS - _END_SECONDS)
        # Gymnasium's environments wait by the frame rate of their renderer, which this sets.
        env.unwrapped.metadata = {**env.metadata, "render_fps": round(pace.speed / seconds_per_step(env))}
        for _ in replay(env, evaluation, index):
            pass


def replay(env: gymnasium.Env[Any, Any], evaluation: Evaluation, index: int) -> Iterator[tuple[float, bool]]:
    """Replay episode `index` of an evaluation in one environment.

    Yields:
        The return so far and whether the episode has ended, after the reset and after every step.
    """
    env.reset(seed=evaluation.seed + index)
    episode_return, actions = 0.0, evaluation.actions[index]
    yield episode_return, False
    for step, action in enumerate(actions, start=1):
        _, reward, terminated, truncated, _ = env.step(action)
        episode_return += float(reward)
        # A nondeterministic environment may end earlier than before, or not at all.
        ended = bool(terminated or truncated or step == len(actions))
        yield episode_return, ended
        if ended:
            return


def check_drawing(episodes: Episodes, render_mode: str) -> None:
    """Check that the environment of `episodes` can draw itself, in `render_mode`.

    Raises:
        ValueError: It has no such mode.
    """
    # Gymnasium only warns, or fails with an error of the environment.
    env = envs.make(episodes.env_id, **episodes.env_kwargs)
    modes = env.metadata.get("render_modes") or []
    env.close()
    if render_mode not in modes:
        name = envs.name_of(episodes.env_id)
        raise ValueError(f"cannot draw {name}: it has no render mode {render_mode!r}, only {list(modes)}")


def make_drawing(episodes: Episodes, render_mode: str) -> gymnasium.Env[Any, Any]:
    """Make one environment of `episodes` that draws itself in `render_mode`.

    Raises:
        ValueError: It has no such mode.
    """
    check_drawing(episodes, render_mode)
    try:
        return envs.make(episodes.env_id, **{**episodes.env_kwargs, "render_mode": render_mode})
    except TypeError as error:
        raise ValueError(
            f"cannot draw {envs.name_of(episodes.env_id)}: what makes it must take render_mode, and failed: {error}"
        ) from error


def seconds_per_step(env: gymnasium.Env[Any, Any]) -> float:
    """Return the environment's time step in seconds; if it has none, that of its renderer."""
    for name in ("dt", "tau"):
        value = getattr(env.unwrapped, name, None)
        if isinstance(value, (int, float)) and value > 0.0:
            return float(value)
    return 1.0 / (env.metadata.get("render_fps") or 30.0)


def _panels(
    env: gymnasium.Env[Any, Any],
    episodes: Episodes,
    evaluation: Evaluation,
    index: int,
    steps: int,
    pace: Pace,
    caption: str,
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield an episode's frames for `steps` steps with the return so far; an ended episode repeats its last frame."""
    left = " · ".join(filter(None, [caption, f"{pace.speed}x" if pace.speed > 1 else ""]))

    def drawn() -> Iterator[tuple[NDArray[np.uint8], float]]:
        for step, (episode_return, ended) in enumerate(replay(env, evaluation, index)):
            is_cut = step == steps and not ended
            if step % pace.stride and not (ended or is_cut):
                continue
            right = f"return {format_return(episode_return)}"
            if is_cut:
                right = f"goes on to {format_return(evaluation.returns[index])}"
            shown = make_panel(_picture(env, envs.name_of(episodes.env_id)), left, right), episode_return
            yield shown
            if ended or is_cut:
                break
        yield from itertools.repeat(shown)

    return itertools.islice(drawn(), len(pace.seconds(steps, 0.0)))


def _picture(env: gymnasium.Env[Any, Any], env_id: str) -> NDArray[np.uint8]:
    try:
        picture: Any = env.render()
    except DependencyNotInstalled as error:
        raise ImportError(f"cannot draw {env_id}: {error}") from error
    except Exception as error:  # Environments run other people's code.
        raise ValueError(f"cannot draw {env_id}: render() raised {type(error).__name__}: {error}") from error
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape[2:] != (3,):
        found = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise ValueError(f"cannot draw {env_id}: render() returned {found}, expected uint8 (height, width, 3)")
    return picture


@contextmanager
def _headless() -> Iterator[None]:
    # Otherwise SDL looks for a display and a sound card, and complains on stderr if there are none.
    defaults = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    added = [name for name in defaults if name not in os.environ]
    os.environ.update({name: defaults[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
