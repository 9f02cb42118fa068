"""Stepping environments, in the learner's process or in another: what happened comes back as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import nn

from acro import envs
from acro.envs.finite import check_finite
from acro.evaluation import greedy_actions
from acro.experience.exploration import GREEDY, EpsilonGreedy


class Step(NamedTuple):
    """One step of N environments; with a leading axis, several.

    `rewards` and `terminated` are what is learned from; `ended`, `returns` and `lengths` are of the episodes so far,
    this step included. Where not `acted`, the step only reset.
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
    """Environments that are stepped together, with their exploration, in whichever autoreset mode they are.

    Args:
        env: Owned from here on; it is reset at once.
        exploration: Mixes exploratory actions into the greedy ones.
        seed: Environment i is reset with `seed + i`.
        of: Environments there are in all, here and elsewhere; None for those in `env`.
        first: Which of them the first one here is.
        clip_rewards: Cut the rewards that are learned from to [-1, 1].
        life_loss_ends: Tell the loss of a life, told by `lives` in the environment's infos, as an episode's end.
        see: Returns what the network sees of observations (N, ...); None for themselves.
    """

    def __init__(
        self,
        env: VectorEnv,
        exploration: EpsilonGreedy,
        *,
        seed: int,
        of: int | None = None,
        first: int = 0,
        clip_rewards: bool = False,
        life_loss_ends: bool = False,
        see: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None = None,
    ) -> None:
        self.env = env
        self.exploration = exploration
        self.taken_steps = 0
        self._clip_rewards = clip_rewards
        self._life_loss_ends = life_loss_ends
        self._see = see
        self._of = env.num_envs if of is None else of
        self._first = first
        self._autoreset_mode = envs.autoreset_mode(env)
        self._returns = np.zeros(env.num_envs, dtype=np.float64)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        # Environments whose next step only resets them (next-step mode).
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)
        envs.record(env)
        # A copy, here and in `step`: a vector environment may write the next observations into the same array.
        obs, infos = env.reset(seed=seed)
        self._obs = np.array(obs)
        self._lives = self._lives_in(infos)
        check_finite(env, 0, self._obs)

    def step(self, network: nn.Module, epsilon: float, device: torch.device | str = "cpu") -> Step:
        """Step every environment once; the arrays are good until the next step."""
        actions = self.exploration.explore(epsilon)
        greedy = actions == GREEDY
        if greedy.any():
            seen = self._obs if self._see is None else self._see(self._obs)
            actions[greedy] = self._greedy_actions(network, seen, greedy, device)
        obs, acted = self._obs, ~self._resetting
        next_obs, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated
        has_ended = bool(ended.any())
        self.taken_steps += self._of
        check_finite(self.env, self.taken_steps, next_obs, rewards)
        self._returns += rewards
        self._lengths += 1
        # What is learned from may differ from what happened; episodes and their returns do not.
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
        self, network: nn.Module, obs: NDArray[np.generic], greedy: NDArray[np.bool_], device: torch.device | str
    ) -> NDArray[np.int64]:
        """Return the actions of largest value where `greedy`, which do not depend on where the others are stepped.

        BLAS adds a row up in another order where there are fewer rows. So a network is shown as many rows everywhere,
        each in its environment's place, with zeros for those of other processes; one of which a row is the same beside
        any others, the greedy ones alone.
        """
        if getattr(network, "acts_row_by_row", False):
            return greedy_actions(network, obs[greedy], device)
        here, everywhere = slice(self._first, self._first + len(obs)), obs
        if len(obs) < self._of:
            everywhere = np.zeros((self._of, *obs.shape[1:]), dtype=obs.dtype)
            everywhere[here] = obs
        return greedy_actions(network, everywhere, device)[here][greedy]

    def _lives_in(self, infos: dict[str, Any]) -> NDArray[np.int64]:
        """Return each environment's lives, 0 where it tells none."""
        return np.asarray(infos.get("lives", np.zeros(self.env.num_envs)), dtype=np.int64)

    def _lost_lives(self, infos: dict[str, Any]) -> NDArray[np.bool_]:
        before, self._lives = self._lives, self._lives_in(infos)
        return self._lives < before

    def steps(self, network: nn.Module, epsilon: float, count: int, device: torch.device | str = "cpu") -> Step:
        """Step every environment `count` times; return arrays of their own with a leading axis (count, N, ...)."""
        # A vector environment may write its next observations where its last ones were.
        return stacked([_copied(self.step(network, epsilon, device)) for _ in range(count)])

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next steps but the network; `env` is None where it cannot be taken."""
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
        """Continue from `state`; without an environment's state, from the fresh episodes that it is in.

        Returns:
            Why episodes could not be continued and new ones began, by the environments' indices.

        Raises:
            ValueError: The environment is of another kind than the state's.
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
        """Begin new episodes where the old ones could not be continued, and return why."""
        if any(
            index not in differences and now.tobytes() != then.tobytes()
            for index, (now, then) in enumerate(zip(obs, self._obs, strict=True))
        ):
            # A wrapper around the vector environment has a state that nobody gives.
            obs, _ = self.env.reset()
            differences = dict.fromkeys(range(self.env.num_envs), "is shown differently by the vector's wrappers")
        if differences:
            fresh = list(differences)
            self._obs[fresh] = obs[fresh]
            self._returns[fresh], self._lengths[fresh], self._resetting[fresh] = 0.0, 0, False
            self.exploration.end_episodes(np.isin(np.arange(self.env.num_envs), fresh))
        return differences


def stacked(steps: Sequence[Step]) -> Step:
    """Return steps one after another, on a new leading axis."""
    return Step(*(np.stack(column) for column in zip(*steps, strict=True)))


def unstacked(steps: Step) -> Iterator[Step]:
    """Yield steps (count, N, ...) one after another."""
    for index in range(len(steps.actions)):
        yield Step(*(column[index] for column in steps))


def _copied(step: Step) -> Step:
    return Step(*(np.array(column) for column in step))


def _with_final_obs(next_obs: NDArray[np.generic], infos: dict[str, Any]) -> NDArray[np.generic]:
    """Put the last observations of ended episodes in place of the first ones of the next (same-step mode)."""
    if "final_obs" not in infos:
        return next_obs
    obs: NDArray[np.generic] = next_obs.copy()
    for env in np.flatnonzero(infos["_final_obs"]):
        obs[env] = infos["final_obs"][env]
    return obs
