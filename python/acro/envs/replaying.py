"""Replays an open episode, to restore an environment whose state cannot be saved."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from numpy.random import Generator, RandomState

# Longer open episodes are not replayed, or an endless one would need unbounded memory. ALE cuts at 27,000 steps.
MAX_STEPS = 100_000
_COLUMNS = 3

_RANDOM = frozenset({Generator, RandomState})
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records what is needed to replay the open episode of `env`, which has Discrete actions.

    These are the random state of `env` and its wrappers before the last reset, the reset's arguments, and the actions
    since. If `env` or a wrapper has `state_dict` and `load_state_dict`, its state before the
    reset is recorded too. Checksums of the observations, and the rewards, show whether a replay is identical.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.difference: str | None = None
        self._start: dict[str, Any] | None = None
        self._layers = [(layer, gives_its_state(layer)) for layer in _layers(env)]
        self._first_checksum = 0
        # Action, reward and observation's checksum of each step, in one flat list: a tuple for each step would be an
        # object that every garbage collection has to visit.
        self._steps: list[Any] = []
        self._ended: tuple[Any, ...] = (False, False)
        # What the next call returns instead of the environment's result, so that a vector environment gets it.
        self._last: tuple[Any, float, bool, bool, dict[str, Any]] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and drop the last one; O(1) plus the environment's own `state_dict`."""
        if self._last is not None:
            return self._last[0], {}
        unwrapped = self.env.unwrapped
        if seed is not None:
            # An environment that ignores seeds, such as MinAtar's, whose game has its own generator.
            unwrapped.np_random, _ = seeding.np_random(seed)
        else:
            # Otherwise it is seeded by the operating system when it is first used.
            _ = unwrapped.np_random
        self._start = {"layers": [_save(*layer) for layer in self._layers], "seed": seed, "options": options}
        obs, info = self.env.reset(seed=seed, options=options)
        self._first_checksum, self._steps, self._ended = _checksum(obs), [], (False, False)
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and record it."""
        if self._last is not None:
            last, self._last = self._last, None
            return last
        # This runs for every step of every environment, so it makes as few calls as possible.
        obs, reward, terminated, truncated, _ = stepped = self.env.step(action)
        steps = self._steps
        if len(steps) < _COLUMNS * MAX_STEPS:
            try:
                checksum = crc32(obs)
            except (TypeError, ValueError, BufferError):
                checksum = _checksum(obs)
            steps += (action, reward, checksum)
            self._ended = (terminated, truncated)
        else:
            self._start = None
        return stepped

    @property
    def open_episode(self) -> dict[str, Any] | None:
        """What replays the open episode, as plain values and arrays; None before a reset and after 100,000 steps.

        Setting it replays the episode in this environment, which must be of the same kind. The next `reset` and `step`
        then return the episode's last observation, reward and flags without using the environment. If the replay
        differs, `difference` says where, and a new episode begins.
        """
        if self._start is None:
            return None
        actions, rewards, checksums = (self._steps[column::_COLUMNS] for column in range(_COLUMNS))
        return {
            **self._start,
            "actions": np.array(actions, dtype=np.int64),
            "rewards": np.array(rewards, dtype=np.float64),
            "checksums": np.array([self._first_checksum, *checksums], dtype=np.int64),
            "ended": [bool(flag) for flag in self._ended],
        }

    @open_episode.setter
    def open_episode(self, episode: dict[str, Any] | None) -> None:
        self._last, self.difference = None, None
        if episode is None:
            self.difference = f"had no episode of at most {MAX_STEPS} steps"
        else:
            self.difference = self._different_layers(episode["layers"]) or self._play(episode)
        if self.difference is not None:
            obs, _ = self.reset()
            self._last = (obs, 0.0, False, False, {})

    def _different_layers(self, layers: list[dict[str, Any]]) -> str | None:
        own = [type(layer).__name__ for layer, _ in self._layers]
        saved = [layer["type"] for layer in layers]
        return None if own == saved else f"is {' in '.join(own[::-1])}, and was {' in '.join(saved[::-1])}"

    def _play(self, episode: dict[str, Any]) -> str | None:
        """Replay `episode`; if it differs, return how, and restore the environment to before the episode's reset."""
        difference = self._follow(episode)
        if difference is not None:
            self._restore(episode)
        return difference

    def _restore(self, episode: dict[str, Any]) -> None:
        for (layer, _), saved in zip(self._layers, episode["layers"], strict=True):
            _load(layer, saved)

    def _follow(self, episode: dict[str, Any]) -> str | None:
        self._restore(episode)
        obs, _ = self.reset(seed=episode["seed"], options=episode["options"])
        # A generator that the seed replaced may exist now and not have existed when it was saved.
        self._start = {name: episode[name] for name in ("layers", "seed", "options")}
        last: tuple[Any, Any, bool, bool, dict[str, Any]] = (obs, 0.0, False, False, {})
        checksums = episode["checksums"].tolist()
        if self._first_checksum != checksums[0]:
            return "has another observation after the reset of its open episode"
        flags = [[False, False]] * (len(checksums) - 2) + [episode["ended"]]
        saved = zip(episode["actions"], episode["rewards"].tolist(), checksums[1:], flags, strict=False)
        for step, (action, reward, checksum, ended) in enumerate(saved, start=1):
            last = self.step(action)
            found = {
                "observation": (self._steps[-1], checksum),
                "reward": (np.float64(last[1]).tobytes(), np.float64(reward).tobytes()),
                "terminated": (bool(last[2]), ended[0]),
                "truncated": (bool(last[3]), ended[1]),
            }
            for what, (now, then) in found.items():
                if now != then:
                    return f"has another {what} at step {step} of its open episode"
        self._last = (last[0], last[1], last[2], last[3], {})
        return None


def check_episode(episode: Any, num_actions: int) -> None:
    """Raise a ValueError unless `episode` is an open episode of an environment with `num_actions` actions."""
    if episode is None:
        return
    names = {"layers", "seed", "options", "actions", "rewards", "checksums", "ended"}
    if not isinstance(episode, dict) or not names <= episode.keys():
        raise ValueError("an open episode must be a dict with layers, seed, options, actions, rewards and checksums")
    columns = [episode[name] for name in ("actions", "rewards", "checksums")]
    if not all(isinstance(column, np.ndarray) and column.ndim == 1 for column in columns):
        raise ValueError("an open episode's actions, rewards and checksums must be vectors")
    actions, rewards, checksums = columns
    if not len(actions) == len(rewards) == len(checksums) - 1 or len(actions) > MAX_STEPS:
        raise ValueError(
            f"an open episode must have as many rewards as actions, and a checksum more, got {len(actions)} actions, "
            f"{len(rewards)} rewards and {len(checksums)} checksums"
        )
    if actions.dtype != np.int64 or ((actions < 0) | (actions >= num_actions)).any():
        raise ValueError(f"an open episode's actions must be int64 from 0 to {num_actions - 1}")
    ended = episode["ended"]
    if not (isinstance(ended, list) and len(ended) == 2 and all(isinstance(flag, bool) for flag in ended)):
        raise ValueError(f"an open episode's ended must be two bools, got {ended!r}")
    seed, options = episode["seed"], episode["options"]
    if not (seed is None or isinstance(seed, int)) or not (options is None or isinstance(options, dict)):
        raise ValueError("an open episode's seed must be an int or None, and its options a dict or None")
    for layer in episode["layers"] if isinstance(episode["layers"], list) else [None]:
        if not isinstance(layer, dict) or not {"type", "random", "own"} <= layer.keys():
            raise ValueError("an open episode's layers must be dicts with type, random and own")
        for state in layer["random"].values() if isinstance(layer["random"], dict) else [None]:
            if not isinstance(state, dict) or state.get("bit_generator") not in _BIT_GENERATORS:
                raise ValueError(f"an open episode's random states must be of {', '.join(_BIT_GENERATORS)}")


def _layers(env: gymnasium.Env[Any, Any]) -> list[gymnasium.Env[Any, Any]]:
    """The environment and its wrappers, outermost first."""
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def gives_its_state(layer: object) -> bool:
    """Whether an environment has a `state_dict` of its own."""
    return hasattr(layer, "state_dict") and hasattr(layer, "load_state_dict")


def _save(layer: Any, gives_state: bool) -> dict[str, Any]:
    """Return a layer's random states by attribute, and its own state if it has a `state_dict`."""
    random: dict[str, Any] = {}
    attributes = vars(layer)
    # Called at each reset, where isinstance or a look at every attribute would take longer than all else.
    if not _RANDOM.isdisjoint(map(type, attributes.values())):
        for name, value in attributes.items():
            if type(value) is Generator:
                random[name] = value.bit_generator.state
            elif type(value) is RandomState:
                random[name] = {**value.get_state(legacy=False), "legacy": True}
    return {"type": type(layer).__name__, "random": random, "own": layer.state_dict() if gives_state else None}


def _load(layer: gymnasium.Env[Any, Any], saved: dict[str, Any]) -> None:
    for name, state in saved["random"].items():
        generator: Any = getattr(layer, name, None)
        if state.get("legacy"):
            if not isinstance(generator, RandomState):
                generator = RandomState()
            generator.set_state(state)
        else:
            # In place if there is one, since wrappers may share it.
            if not _is_generator(generator, state["bit_generator"]):
                generator = Generator(getattr(np.random, state["bit_generator"])(0))
            generator.bit_generator.state = state
        setattr(layer, name, generator)
    if saved["own"] is not None:
        layer.load_state_dict(saved["own"])  # type: ignore[attr-defined]


def _is_generator(value: Any, bit_generator: str) -> bool:
    return isinstance(value, Generator) and type(value.bit_generator).__name__ == bit_generator


def _checksum(obs: Any) -> int:
    """Return the CRC-32 of an observation, copied first if it is a number or not contiguous."""
    return crc32(np.ascontiguousarray(obs).data)
