"""`acro/Acrobot-v1`: Gymnasium's Acrobot with its physics in Rust, one or thousands at once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control import acrobot, utils
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from acro import _rust

ENV_ID = "acro/Acrobot-v1"
MAX_EPISODE_STEPS = 500  # Gymnasium's registration of Acrobot-v1.

Observations = npt.NDArray[np.float32]


class AcrobotEnv(acrobot.AcrobotEnv):
    """One acrobot: Gymnasium's spaces, starts and drawing, the motion of `AcrobotVectorEnv`.

    `state` is Gymnasium's (theta1, theta2, velocity1, velocity2), in rad and rad/s; set it and `render()` to draw
    any recorded state. The class attributes with which Gymnasium's environment changes its physics are not read.
    """

    def step(self, action: Any) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Take one action: 0, 1 or 2 for a torque of -1, 0 or 1 N m, for 0.2 s."""
        if self.state is None:
            raise RuntimeError("cannot step before the first reset; call reset first")
        actions = _as_actions(action, ())
        states, terminated = _rust.acrobot_step(self._row(), actions.reshape(1))
        self.state = states[0]
        if self.render_mode == "human":
            self.render()
        return _rust.acrobot_observe(states)[0], 0.0 if terminated[0] else -1.0, bool(terminated[0]), False, {}

    def _get_ob(self) -> Observations:
        """Gymnasium's reset calls it too, so that a start looks the same in one environment and in many."""
        observation: Observations = _rust.acrobot_observe(self._row())[0]
        return observation

    def _row(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.state, dtype=np.float64).reshape(1, -1)


class AcrobotVectorEnv(VectorEnv[Observations, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """Many acrobots, stepped in one call to Rust.

    Environment i of `reset(seed=s)` starts exactly where `gymnasium.make("Acrobot-v1").reset(seed=s + i)` does, and
    keeps that random stream for its later starts. What happens to it depends on its own actions alone, not on how
    many environments there are, and is the same to the bit on every machine.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int = MAX_EPISODE_STEPS,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        """Make `num_envs` acrobots, their random streams seeded by the operating system until `reset(seed=...)`.

        Args:
            num_envs: How many.
            max_episode_steps: The step that truncates an episode. If it also reaches the goal, both flags are set.
            autoreset_mode: When an ended episode makes room for the next.
        """
        mode = AutoresetMode(autoreset_mode)
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        single = AcrobotEnv()
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = mode
        self.metadata = {"render_modes": [], "render_fps": single.metadata["render_fps"], "autoreset_mode": mode}
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        self._seeds = [secrets.randbits(128) for _ in range(num_envs)]
        self._acrobots = _rust.Acrobots(self._seeds, max_episode_steps, mode.value)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin new episodes.

        Args:
            seed: Restarts the random streams, environment i's with `seed + i` or with its own of a sequence. Without
                one they go on.
            options: `low` and `high` bound the four numbers of the start (default -0.1 and 0.1, at most pi either
                way); `reset_mask`, (num_envs,) bool, chooses the environments.

        Returns:
            All environments' observations, (num_envs, 6) float32, and an empty dict.
        """
        self._require_open()
        seeds = self._as_seeds(seed)
        mask = _as_reset_mask(options, self.num_envs)
        bounds = None
        if options is not None and ("low" in options or "high" in options):
            low, high = utils.maybe_parse_reset_bounds(options, -0.1, 0.1)
            if not -np.pi <= low <= high <= np.pi:
                raise ValueError(f"reset bounds are {low} and {high}; they must lie between -pi and pi")
            bounds = float(low), float(high)
        observations = self._acrobots.reset(seeds, mask, bounds)
        for env, env_seed in enumerate(seeds):
            if env_seed is not None and (mask is None or mask[env]):
                self._seeds[env] = env_seed
        return observations, {}

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[Observations, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Take one action, 0, 1 or 2, in every environment.

        Returns:
            Observations (num_envs, 6) float32, rewards (num_envs,) float64, terminated and truncated (num_envs,)
            bool, all fresh, and infos: empty, or where SAME_STEP began new episodes what `SyncVectorEnv` gives.

        Raises:
            ValueError: An action is not 0, 1 or 2, or there is not one for each environment.
            TypeError: The actions are not integers.
            RuntimeError: Before the first reset, after `close`, or in DISABLED mode after an episode's end.
        """
        if self.closed:
            self._require_open()
        try:
            stepped = self._acrobots.step(actions)  # type: ignore[arg-type]
        except TypeError:  # Not an int64 vector; most callers have one, and pay nothing here.
            stepped = None
        if stepped is None:
            stepped = self._acrobots.step(_as_actions(actions, (self.num_envs,)))
        observations, rewards, terminated, truncated, final_observations = stepped
        if final_observations is None:
            return observations, rewards, terminated, truncated, {}
        ended = terminated | truncated
        final_obs = np.full(self.num_envs, None, dtype=object)
        for env, observation in zip(np.flatnonzero(ended), final_observations, strict=True):
            final_obs[env] = observation
        infos = {"final_obs": final_obs, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}
        return observations, rewards, terminated, truncated, infos

    @property
    def states(self) -> npt.NDArray[np.float64]:
        """The acrobots' (theta1, theta2, velocity1, velocity2), (num_envs, 4), in rad and rad/s; a copy."""
        return self._acrobots.states

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """What each environment's random stream was last seeded with, as `SyncVectorEnv` gives it."""
        return tuple(self._seeds)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Copies of the environments' random streams: drawing from them changes no start."""
        generators = []
        for state, increment in self._acrobots.save()[-1]:
            bits = np.random.PCG64(0)
            bits.state = {**bits.state, "state": {"state": state, "inc": increment}}
            generators.append(np.random.Generator(bits))
        return tuple(generators)

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, as plain values and NumPy arrays; O(num_envs)."""
        has_reset, states, elapsed_steps, ended, rngs = self._acrobots.save()
        return {
            "max_episode_steps": self.max_episode_steps,
            "autoreset_mode": self.autoreset_mode.value,
            "seeds": list(self._seeds),
            "has_reset": has_reset,
            "states": states,
            "elapsed_steps": elapsed_steps,
            "ended": ended,
            "rngs": [list(rng) for rng in rngs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: It was taken from other settings or another number of environments, or makes no sense.
        """
        own = {"max_episode_steps": self.max_episode_steps, "autoreset_mode": self.autoreset_mode.value}
        for name, value in own.items():
            if state.get(name) != value:
                raise ValueError(f"the saved {name} is {state.get(name)!r}, this environment's is {value!r}")
        missing = {"seeds", "has_reset", "states", "elapsed_steps", "ended", "rngs"} - state.keys()
        if missing:
            raise ValueError(f"the saved state lacks {', '.join(sorted(missing))}")
        if len(state["seeds"]) != self.num_envs:
            raise ValueError(f"the saved state has {len(state['seeds'])} environments, expected {self.num_envs}")
        self._acrobots.restore(
            bool(state["has_reset"]),
            np.asarray(state["states"], dtype=np.float64),
            np.asarray(state["elapsed_steps"], dtype=np.int64),
            np.asarray(state["ended"], dtype=np.bool_),
            [(int(position), int(increment)) for position, increment in state["rngs"]],
        )
        self._seeds = [int(seed) for seed in state["seeds"]]

    def _require_open(self) -> None:
        if self.closed:
            raise RuntimeError("the environments are closed; make new ones")

    def _as_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            seed = [int(seed) + env for env in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed has length {len(seed)}, expected {self.num_envs}, one for each environment")
        for given in seed:
            if given is not None and not (isinstance(given, int) and 0 <= given < 2**128):
                raise ValueError(f"a seed must be an int from 0 to 2**128 - 1 or None, got {given!r}")
        return list(seed)


def _as_reset_mask(options: dict[str, Any] | None, num_envs: int) -> npt.NDArray[np.bool_] | None:
    """Gymnasium's rules for `options["reset_mask"]`."""
    if options is None or "reset_mask" not in options:
        return None
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a bool array, got {getattr(mask, 'dtype', type(mask))}")
    if mask.shape != (num_envs,):
        raise ValueError(f"options['reset_mask'] has shape {mask.shape}, expected {(num_envs,)}")
    if not mask.any():
        raise ValueError("options['reset_mask'] chooses no environment; mark at least one")
    return np.ascontiguousarray(mask)


def _as_actions(actions: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    array = np.asarray(actions)
    if array.dtype.kind not in "iu":
        raise TypeError(f"actions are {array.dtype}, expected integers: 0, 1 or 2")
    if array.shape != shape:
        raise ValueError(f"actions have shape {array.shape}, expected {shape}")
    return array.astype(np.int64)


# Once, even where this module is loaded again.
if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="acro.envs.acrobot:AcrobotEnv",
        vector_entry_point="acro.envs.acrobot:AcrobotVectorEnv",
        reward_threshold=-100.0,  # Gymnasium's registration of Acrobot-v1.
        max_episode_steps=MAX_EPISODE_STEPS,
    )
