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

from acro._rust import Acrobots, acrobot_observe, acrobot_step
from acro.envs.acrobot_checks import as_actions, as_reset_mask, as_seeds, at_least_1, read_state

ENV_ID = "acro/Acrobot-v1"
MAX_EPISODE_STEPS = 500  # Gymnasium's registration of Acrobot-v1.

Observations = npt.NDArray[np.float32]


class AcrobotEnv(acrobot.AcrobotEnv):
    """One acrobot: the spaces, starts and drawing of Gymnasium's, and the motion of `AcrobotVectorEnv`.

    `state` is Gymnasium's (theta1, theta2, velocity1, velocity2), in rad and rad/s; set it and `render()` to draw
    any recorded state. The class attributes that change the physics of Gymnasium's environment have no effect.
    """

    def step(self, action: Any) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Take one action: 0, 1 or 2 for a torque of -1, 0 or 1 N m, for 0.2 s."""
        if self.state is None:
            raise RuntimeError("cannot step before the first reset; call reset first")
        actions = as_actions(action, ())
        states, terminated = acrobot_step(self._row(), actions.reshape(1))
        self.state = states[0]
        if self.render_mode == "human":
            self.render()
        return acrobot_observe(states)[0], 0.0 if terminated[0] else -1.0, bool(terminated[0]), False, {}

    def _get_ob(self) -> Observations:
        """Gymnasium's reset calls it too, so that a start looks the same in one environment as in many."""
        observation: Observations = acrobot_observe(self._row())[0]
        return observation

    def _row(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.state, dtype=np.float64).reshape(1, -1)


class AcrobotVectorEnv(VectorEnv[Observations, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """Many acrobots, stepped by one call to Rust.

    After `reset(seed=s)` environment i starts exactly where `gymnasium.make("Acrobot-v1").reset(seed=s + i)` does, and
    keeps that random stream for its later starts. What happens to it only depends on its own actions, not on how
    many environments there are, and is the same to the bit on every machine.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int = MAX_EPISODE_STEPS,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        """Make `num_envs` acrobots, their random streams seeded by the operating system until `reset(seed=...)`.

        Args:
            num_envs: Number of environments.
            max_episode_steps: The step that truncates an episode. If that step reaches the goal, both flags are set.
            autoreset_mode: When a new episode starts after one has ended.
            render_mode: "rgb_array" if `render()` must return pictures of all environments.

        Raises:
            ValueError: A number is out of its range, or there is no such mode.
            TypeError: A number is not an int.
            MemoryError: There is not enough memory for so many environments.
        """
        mode = AutoresetMode(autoreset_mode)
        num_envs = at_least_1("num_envs", num_envs)
        max_episode_steps = at_least_1("max_episode_steps", max_episode_steps)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        single = AcrobotEnv()
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = mode
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": single.metadata["render_fps"],
            "autoreset_mode": mode,
        }
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self.action_space = batch_space(single.action_space, num_envs)
        self._seeds = [secrets.randbits(128) for _ in range(num_envs)]
        self._acrobots = Acrobots(self._seeds, max_episode_steps, mode.value)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin new episodes.

        Args:
            seed: Restarts the random streams, environment i's with `seed + i`, or with item i of a sequence. Without
                a seed they continue.
            options: `low` and `high` bound the four numbers of the start (default -0.1 and 0.1, at most -pi and
                pi); `reset_mask`, (num_envs,) bool, selects the environments.

        Returns:
            All environments' observations, (num_envs, 6) float32, and an empty dict.
        """
        self._require_open()
        seeds = as_seeds(seed, self.num_envs)
        mask = as_reset_mask(options, self.num_envs)
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
            bool, all fresh arrays, and infos: empty, or after SAME_STEP resets those of `SyncVectorEnv`.

        Raises:
            ValueError: An action is not 0, 1 or 2, or there is not one for each environment.
            TypeError: The actions are not integers, or not an array.
            RuntimeError: There was no reset, or the environments are closed; in DISABLED mode, an episode has ended.
        """
        if self.closed:
            self._require_open()
        try:
            stepped = self._acrobots.step(actions)  # type: ignore[arg-type]
        except TypeError:  # Most callers pass an int64 vector, which needs no check here.
            stepped = None
        if stepped is None:
            stepped = self._acrobots.step(as_actions(actions, (self.num_envs,)))
        observations, rewards, terminated, truncated, final_observations = stepped
        if final_observations is None:
            return observations, rewards, terminated, truncated, {}
        ended = terminated | truncated
        final_obs = np.full(self.num_envs, None, dtype=object)
        for env, observation in zip(np.flatnonzero(ended), final_observations, strict=True):
            final_obs[env] = observation
        infos = {"final_obs": final_obs, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}
        return observations, rewards, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Draw every environment: (500, 500, 3) uint8 each; None without a `render_mode`."""
        return None if self.render_mode is None else self.call("render")

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Read an attribute, or call a method, of every environment as a single `AcrobotEnv`.

        The single environments are copies: changes to them are lost after the call.

        Raises:
            ValueError: `name` is reset, step or close; use the methods of the vector environment.
            AttributeError: An `AcrobotEnv` has no such attribute.
        """
        if name in ("reset", "step", "close"):
            raise ValueError(f"cannot call {name!r} on copies; use {name} of the vector environment")
        if name in ("np_random", "np_random_seed", "spec"):
            return tuple(getattr(self, name)) if name != "spec" else (self.spec,) * self.num_envs
        results = []
        single = AcrobotEnv(render_mode=self.render_mode)
        for state in self.states:
            single.state = state
            attribute = getattr(single, name)
            results.append(attribute(*args, **kwargs) if callable(attribute) else attribute)
        if single.screen is not None:
            single.close()
        return tuple(results)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Read an attribute of every environment; see `call`."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set `state` of every environment: a list or tuple has one for each, anything else is for all.

        Raises:
            AttributeError: `name` is not "state"; the physics of these environments is fixed.
            ValueError: There is not one for each environment, or a state is out of bounds.
        """
        if name != "state":
            raise AttributeError(f"cannot set {name!r}: only state can be set, the rest of an acrobot is fixed")
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"values has length {len(values)}, expected {self.num_envs}, one for each environment")
        self.load_state_dict({**self.state_dict(), "states": np.array(values, np.float64)})

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy by `state_dict` and the arguments."""
        rest = {name: value for name, value in self.__dict__.items() if name != "_acrobots"}
        return {"state": self.state_dict(), "rest": rest}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__dict__.update(saved["rest"])
        self._acrobots = Acrobots(self._seeds, self.max_episode_steps, self.autoreset_mode.value)
        self.load_state_dict(saved["state"])

    @property
    def states(self) -> npt.NDArray[np.float64]:
        """The acrobots' (theta1, theta2, velocity1, velocity2), (num_envs, 4), in rad and rad/s; a copy."""
        return self._acrobots.states

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each environment's random stream, as in `SyncVectorEnv`."""
        return tuple(self._seeds)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Copies of the environments' random streams; drawing from them does not change any start."""
        generators = []
        for state, increment in self._acrobots.save()[-1]:
            bits = np.random.PCG64(0)
            bits.state = {**bits.state, "state": {"state": state, "inc": increment}}
            generators.append(np.random.Generator(bits))
        return tuple(generators)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, as plain values and NumPy arrays; O(num_envs)."""
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
        """Continue from `state`, which `state_dict` returned.

        Raises:
            ValueError: It has other settings or another number of environments, or makes no sense;
                nothing is changed then.
            TypeError: It is not a dict.
        """
        own = {"max_episode_steps": self.max_episode_steps, "autoreset_mode": self.autoreset_mode.value}
        seeds, saved = read_state(state, own, self.num_envs)
        self._acrobots.restore(*saved)
        self._seeds = seeds

    def _require_open(self) -> None:
        if self.closed:
            raise RuntimeError("the environments are closed; make new ones")


# Only once, even if this module is reloaded.
if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="acro.envs.acrobot:AcrobotEnv",
        vector_entry_point="acro.envs.acrobot:AcrobotVectorEnv",
        reward_threshold=-100.0,  # Gymnasium's registration of Acrobot-v1.
        max_episode_steps=MAX_EPISODE_STEPS,
    )
