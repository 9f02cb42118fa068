"""Atari and MinAtar games: making them, saving their state, drawing them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import AtariPreprocessing, TimeLimit
from numpy.typing import NDArray

ATARI, MINATAR = "ALE/", "MinAtar/"
"""The start of their games' ids."""

# The side of one of MinAtar's 10 x 10 cells in a picture.
_CELL_PIXELS = 24
# The colours of the background and of each channel; the first channel is the player, which covers the others.
_COLOURS = np.array(
    [
        [15, 17, 26],
        [64, 128, 255],
        [255, 214, 64],
        [128, 112, 64],
        [224, 88, 72],
        [96, 200, 120],
        [200, 120, 224],
        [240, 240, 240],
        [96, 208, 216],
        [240, 144, 56],
        [160, 160, 176],
    ],
    dtype=np.uint8,
)


def is_game(env_id: str) -> bool:
    """Whether `env_id` is a game of ALE's or of MinAtar's, whatever module is named before it."""
    return env_id.rpartition(":")[2].startswith((ATARI, MINATAR))


def make_game(
    env_id: str, *, max_episode_steps: int | None = None, render_mode: str | None = None, **env_kwargs: Any
) -> gymnasium.Env[Any, Any]:
    """Make a game with the published preprocessing for DQN.

    An Atari game shows 84 x 84 grey pixels of every fourth frame, the brighter of each two, and begins with up to 30
    idle frames (Mnih et al. 2015, as `gymnasium.wrappers.AtariPreprocessing` does it); with ALE's own sticky actions
    (Machado et al. 2018), and a `FireReset` if it has lives and a fire button. A MinAtar game shows its 10 x 10 cells
    by channel.

    Args:
        env_id: The game.
        max_episode_steps: A time limit in steps, not in frames; None for the game's own.
        render_mode: Gymnasium's render mode; MinAtar's games have "rgb_array" only.
        env_kwargs: Arguments of the game; of an Atari game `repeat_action_probability`, `mode` and `difficulty`.

    Raises:
        ModuleNotFoundError: The games are not installed.
        gymnasium.error.Error: There is no such game.
        ValueError: It has no such argument, mode or difficulty.
    """
    module, _, env_id = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    make = _make_atari if env_id.startswith(ATARI) else _make_minatar
    # Checking a step takes longer than a step of MinAtar.
    env = make(env_id, render_mode=render_mode, **{"disable_env_checker": True, **env_kwargs})
    # -1 is Gymnasium's way to say that there is no limit.
    return env if max_episode_steps in (None, -1) else TimeLimit(env, max_episode_steps)


def _make_atari(env_id: str, **env_kwargs: Any) -> gymnasium.Env[Any, Any]:
    if fixed := env_kwargs.keys() & {"frameskip", "obs_type"}:
        raise ValueError(f"{' and '.join(sorted(fixed))} of an Atari game cannot be chosen: every fourth frame is grey")
    if not 0.0 <= (sticky := env_kwargs.get("repeat_action_probability", 0.0)) <= 1.0:
        raise ValueError(f"repeat_action_probability must be from 0 to 1, got {sticky}")
    ale_py = _imported("ale_py", "acro-dqn[atari]")
    _imported("cv2", "acro-dqn[atari]")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    gymnasium.register_envs(ale_py)
    try:
        game = AtariGame(gymnasium.make(env_id, frameskip=1, obs_type="grayscale", **env_kwargs))
    except RuntimeError as error:
        # ALE's, of a mode or a difficulty that the game does not have.
        raise ValueError(f"cannot make {env_id} with the arguments {env_kwargs!r}: {error}") from error
    return FireReset(AtariPreprocessing(game)) if game.waits_for_fire else AtariPreprocessing(game)


def _make_minatar(env_id: str, render_mode: str | None, **env_kwargs: Any) -> gymnasium.Env[Any, Any]:
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"{env_id} is drawn as an rgb_array only, got render_mode={render_mode!r}")
    games = _imported("minatar.gym", "acro-dqn[minatar]")
    if not any(known.startswith(MINATAR) for known in gymnasium.registry):
        games.register_envs()
    return MinAtarGame(gymnasium.make(env_id, render_mode=render_mode, **env_kwargs))


def _imported(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModuleNotFoundError(f"{error}; install the games with: pip install '{extra}'") from error


class AtariGame(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An Atari game that saves ALE's whole state, including its random generator."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        # 60 frames a second, of which every fourth is a step.
        self.metadata = {**env.metadata, "render_fps": 15}

    @property
    def waits_for_fire(self) -> bool:
        """Whether a life may begin only when the fire button is pressed; then its action is number 1."""
        game: Any = self.unwrapped
        return bool(game.ale.lives() > 0 and game.get_action_meanings()[1] == "FIRE")

    def state_dict(self) -> dict[str, Any]:
        """Return the state as bytes."""
        state = self.unwrapped.ale.cloneState(include_rng=True)  # type: ignore[attr-defined]
        return {"ale": np.frombuffer(state.serialize(), dtype=np.uint8).copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        import ale_py

        self.unwrapped.ale.restoreState(ale_py.ALEState(state["ale"].tobytes()))  # type: ignore[attr-defined]


class FireReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Fires at the start of a game and after each lost life, as wrappers of Stable-Baselines3 and CleanRL do.

    Breakout waits for that without end, and so may a greedy policy. A shot takes a step; with sticky actions, which
    drop one in 256 of those, it takes three.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        sticky = self.unwrapped.ale.getFloat("repeat_action_probability")  # type: ignore[attr-defined]
        self._presses = 3 if sticky else 1
        self._lives = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a game; the observation is the one after the shot."""
        self.env.reset(seed=seed, options=options)
        obs, _, _, _, info = self._fire()
        self._lives = info["lives"]
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and the shot if a life was lost in it; the reward is that of both."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if info["lives"] < self._lives and not (terminated or truncated):
            obs, more, terminated, truncated, info = self._fire()
            reward = float(reward) + more
        self._lives = info["lives"]
        return obs, reward, terminated, truncated, info

    def _fire(self) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(self._presses):
            obs, reward, terminated, truncated, info = self.env.step(1)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


class MinAtarGame(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A MinAtar game that saves the random state inside the game, and draws pictures of uint8."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        # People can follow 10 steps a second.
        self.metadata = {**env.metadata, "render_modes": ["rgb_array"], "render_fps": 10}

    def render(self) -> NDArray[np.uint8] | None:
        """Return the cells as squares, (240, 240, 3); None without a render mode."""
        if self.unwrapped.render_mode is None:
            return None
        cells: NDArray[np.bool_] = self.unwrapped.game.state()  # type: ignore[attr-defined]
        colours = _COLOURS[np.where(cells.any(axis=-1), cells.argmax(axis=-1) + 1, 0)]  # (10, 10, 3)
        return colours.repeat(_CELL_PIXELS, axis=0).repeat(_CELL_PIXELS, axis=1)

    def state_dict(self) -> dict[str, Any]:
        """Return what a reset does not change: the random state, and the last action, which may repeat."""
        game: Any = self.unwrapped.game  # type: ignore[attr-defined]
        state: dict[str, Any] = game.env.random.get_state(legacy=False)
        return {**state, "state": dict(state["state"]), "last_action": int(game.last_action)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        game: Any = self.unwrapped.game  # type: ignore[attr-defined]
        generator = np.random.RandomState()
        generator.set_state({name: value for name, value in state.items() if name != "last_action"})
        # A seeded game and its environment share one generator.
        game.random = game.env.random = generator
        game.last_action = state["last_action"]
