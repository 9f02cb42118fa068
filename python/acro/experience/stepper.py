"""Steps a vector environment with a network's greedy actions and exploration; what happened comes back as arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import nn

from acro import envs
from acro.envs.finite import check_finite, env_name
from acro.evaluation import greedy_actions
from acro.experience.exploration import GREEDY, EpsilonGreedy

logger = logging.getLogger(__name__)


class Step(NamedTuple):
    """One step of N environments, columns (N, ...); several steps have a leading axis.

    `rewards` and `terminated` are those to learn from, clipped or cut by lives where the settings say so. `returns` and
    `lengths` are the true ones of each episode up to this step, and `ended` says where it was the last. An environment
    has not `acted` where this step only reset it.
    """

    obs: NDArray[np.generic]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    next_obs: NDArray[np.generic]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    acted: NDArray[np.bool_]
    ended: NDArray[np.bool_]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


class Stepper:
    """Steps a vector environment of this process, in any of Gymnasium's autoreset modes.

    Args:
        env: The stepper owns it from now on, and resets it at once.
        exploration: Chooses the exploratory actions.
        seed: Environment i is reset with `seed + i`.
        total_envs: Number of environments in all processes; None if this is the only one.
        first_env: Number of the first environment of this process.
        clip_rewards: Clip the rewards to learn from to [-1, 1].
        life_loss_ends: Report the loss of a life (`lives` in the infos) as termination to the learner.
        observe: Maps observations (N, ...) to what the network sees, such as stacks of frames; None leaves them.
    """

    def __init__(
        self,
        env: VectorEnv,
        exploration: EpsilonGreedy,
        *,
        seed: int,
        total_envs: int | None = None,
        first_env: int = 0,
        clip_rewards: bool = False,
        life_loss_ends: bool = False,
        observe: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None = None,
    ) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.exploration = exploration
        self.taken_steps = 0
        self._started: Step
        self._clip_rewards = clip_rewards
        self._life_loss_ends = life_loss_ends
        self._observe = observe
        self._total_envs = env.num_envs if total_envs is None else total_envs
        self._first_env = first_env
        self._autoreset_mode = envs.autoreset_mode(env)
        self._returns = np.zeros(env.num_envs, dtype=np.float64)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        # Environments whose next step only resets them (next-step mode).
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)
        envs.record(env)
        # A copy, here and in `step`: a vector environment may write the next observations into the same array.
        try:
            obs, infos = env.reset(seed=seed)
        except Exception:
            logger.error("%s failed in its first reset", env_name(env))
            raise
        self._obs = np.array(obs)
        self._lives = self._lives_in(infos)
        check_finite(env, 0, self._obs)
        if life_loss_ends and not self._lives.any():
            logger.warning("life_loss_ends has no effect: %s reports no lives", env_name(env))

    def step(self, network: nn.Module, epsilon: float) -> Step:
        """Step every environment once; the next step may write into the returned arrays."""
        actions = self.exploration.explore(epsilon)
        greedy = actions == GREEDY
        if greedy.any():
            seen = self._obs if self._observe is None else self._observe(self._obs)
            actions[greedy] = self._greedy_actions(network, seen, greedy)
        obs, acted = self._obs, ~self._resetting
        try:
            next_obs, rewards, terminated, truncated, infos = self.env.step(actions)
        except Exception:
            logger.error("%s failed at environment step %d", env_name(self.env), self.taken_steps + self._total_envs)
            raise
        ended = terminated | truncated
        has_ended = bool(ended.any())
        self.taken_steps += self._total_envs
        check_finite(self.env, self.taken_steps, next_obs, rewards)
        self._returns += rewards
        self._lengths += 1
        # Only what is learned from is changed; returns and ends of episodes stay true.
        learned = np.clip(rewards, -1.0, 1.0) if self._clip_rewards else rewards
        final = terminated | self._lost_lives(infos) if self._life_loss_ends else terminated
        final_obs = next_obs
        if self._autoreset_mode is AutoresetMode.NEXT_STEP:
            self._lengths[self._resetting] = 0
            self._resetting = ended
        elif has_ended:
            final_obs = _with_final_obs(next_obs, infos)
            check_finite(self.env, self.taken_steps, final_obs)
            if self._autoreset_mode is AutoresetMode.DISABLED:
                final_obs = final_obs.copy()
                next_obs, _ = self.env.reset(options={"reset_mask": ended})
        returns, lengths = self._returns, self._lengths
        if has_ended:
            returns, lengths = returns.copy(), lengths.copy()
            self._returns[ended] = 0.0
            self._lengths[ended] = 0
            self.exploration.end_episodes(ended)
        self._obs = next_obs.copy()
        return Step(obs, actions, learned, final_obs, final, truncated, acted, ended, returns, lengths)

    def _greedy_actions(
        self, network: nn.Module, obs: NDArray[np.generic], greedy: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return the greedy actions of the environments in the mask `greedy`, the same to the bit in any process.

        BLAS may sum a row in another order when the batch has fewer rows. So the network always gets `total_envs` rows,
        each environment in its own row, and zeros for environments of other processes. A network whose rows do not
        depend on each other (`row_by_row_actions`) gets the greedy rows only.
        """
        if (act := getattr(network, "row_by_row_actions", None)) is not None:
            actions: NDArray[np.int64] = act(obs[greedy])
            return actions
        own, everywhere = slice(self._first_env, self._first_env + len(obs)), obs
        if len(obs) < self._total_envs:
            everywhere = np.zeros((self._total_envs, *obs.shape[1:]), dtype=obs.dtype)
            everywhere[own] = obs
        return greedy_actions(network, everywhere)[own][greedy]

    def _lives_in(self, infos: dict[str, Any]) -> NDArray[np.int64]:
        """Return each environment's lives; 0 if it does not report any."""
        return np.asarray(infos.get("lives", np.zeros(self.env.num_envs)), dtype=np.int64)

    def _lost_lives(self, infos: dict[str, Any]) -> NDArray[np.bool_]:
        before, self._lives = self._lives, self._lives_in(infos)
        return self._lives < before

    def steps(self, network: nn.Module, epsilon: float, count: int) -> Iterator[Step]:
        """Yield `count` steps of every environment, each taken when it is asked for."""
        for _ in range(count):
            yield self.step(network, epsilon)

    def start(self, network: nn.Module, epsilon: float, count: int) -> None:
        """Take `count` steps for `finish`, at once: there is no other process to take them later."""
        # A vector environment may write its next observations into the arrays of the last ones.
        self._started = stacked([_copied(step) for step in self.steps(network, epsilon, count)])

    def finish(self) -> Step:
        """Return the steps of `start`, fresh arrays (count, N, ...)."""
        return self._started

    def close(self) -> None:
        """Do nothing: the environments stay open for a second `fit`."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on, except the network; `env` is None if it cannot be saved."""
        return {
            "exploration": self.exploration.state_dict(),
            "env": envs.state_dict(self.env),
            "obs": np.array(self._obs),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "resetting": self._resetting.copy(),
            "lives": self._lives.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> dict[int, str]:
        """Continue from `state`; environments without a saved state start new episodes.

        Returns:
            By environment, why its episode could not be continued.

        Raises:
            ValueError: The state is of another kind of environment.
        """
        self.exploration.load_state_dict(state["exploration"])
        if state["env"] is None:
            self.exploration.end_episodes(np.ones(self.env.num_envs, dtype=np.bool_))
            return {}
        self._obs = state["obs"].copy()
        self._returns[:] = state["returns"]
        self._lengths[:] = state["lengths"]
        self._resetting[:] = state["resetting"]
        self._lives[:] = state.get("lives", self._lives)
        restored = envs.load_state_dict(self.env, state["env"])
        if restored.obs is None:
            return {}
        return self._continue_from(restored.obs, restored.differences)

    def _continue_from(self, obs: NDArray[np.generic], differences: dict[int, str]) -> dict[int, str]:
        """Start new episodes where the old ones could not be continued, and return why."""
        if any(
            index not in differences and now.tobytes() != then.tobytes()
            for index, (now, then) in enumerate(zip(obs, self._obs, strict=True))
        ):
            # A wrapper around the vector environment has a state of its own, which is not saved.
            obs, _ = self.env.reset()
            differences = dict.fromkeys(range(self.env.num_envs), "is shown differently by the vector's wrappers")
        if differences:
            fresh = list(differences)
            self._obs[fresh] = obs[fresh]
            self._returns[fresh], self._lengths[fresh], self._resetting[fresh] = 0.0, 0, False
            self.exploration.end_episodes(np.isin(np.arange(self.env.num_envs), fresh))
        return differences


def stacked(steps: Sequence[Step]) -> Step:
    """Return the steps as one, on a new leading axis."""
    return Step(*(np.stack(column) for column in zip(*steps, strict=True)))


def unstacked(steps: Step) -> Iterator[Step]:
    """Yield each of the steps (count, N, ...)."""
    for index in range(len(steps.actions)):
        yield Step(*(column[index] for column in steps))


def _copied(step: Step) -> Step:
    return Step(*(np.array(column) for column in step))


def _with_final_obs(next_obs: NDArray[np.generic], infos: dict[str, Any]) -> NDArray[np.generic]:
    """Return `next_obs` with the final observations where same-step mode already has the first of a new episode."""
    if "final_obs" not in infos:
        return next_obs
    obs: NDArray[np.generic] = next_obs.copy()
    for env in np.flatnonzero(infos["_final_obs"]):
        obs[env] = infos["final_obs"][env]
    return obs
