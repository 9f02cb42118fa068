"""Stepping the training environments and remembering what happened."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import nn

from acro import envs
from acro.envs.finite import check_finite
from acro.evaluation import greedy_actions
from acro.experience.exploration import GREEDY, EpsilonGreedy
from acro.replay import ReplayMemory

logger = logging.getLogger(__name__)


class EpisodeLog:
    """Every finished training episode: when it ended, what it returned (undiscounted), how long it was."""

    # SB3 and CleanRL report the mean of as many.
    WINDOW_EPISODES = 100

    def __init__(self) -> None:
        self.end_steps: list[int] = []
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def __len__(self) -> int:
        return len(self.returns)

    def append(self, end_step: int, episode_return: float, length: int) -> None:
        """Add an episode that ended at environment step `end_step`."""
        self.end_steps.append(end_step)
        self.returns.append(episode_return)
        self.lengths.append(length)

    def metrics(self) -> dict[str, float]:
        """Return the running means over the last 100 episodes; nothing before the first has ended."""
        if not self.returns:
            return {}
        return {
            "train/return": float(np.mean(self.returns[-self.WINDOW_EPISODES :])),
            "train/length": float(np.mean(self.lengths[-self.WINDOW_EPISODES :])),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return three arrays of one entry per episode."""
        return {
            "end_steps": np.array(self.end_steps, dtype=np.int64),
            "returns": np.array(self.returns, dtype=np.float64),
            "lengths": np.array(self.lengths, dtype=np.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.end_steps = state["end_steps"].tolist()
        self.returns = state["returns"].tolist()
        self.lengths = state["lengths"].tolist()


class Collector:
    """Acts in a vector environment and stores every transition, in whichever autoreset mode it is.

    Args:
        env: Owned by the collector from here on; it is reset at once.
        memory: What receives the transitions.
        exploration: Mixes exploratory actions into the greedy ones.
        seed: Environment i is reset with `seed + i`.
        clip_rewards: Store rewards cut to [-1, 1].
        life_loss_ends: Store the loss of a life, told by `lives` in the environment's infos, as an episode's end.
    """

    def __init__(
        self,
        env: VectorEnv,
        memory: ReplayMemory,
        exploration: EpsilonGreedy,
        *,
        seed: int,
        clip_rewards: bool = False,
        life_loss_ends: bool = False,
    ) -> None:
        self.env = env
        self.memory = memory
        self.exploration = exploration
        self.episodes = EpisodeLog()
        self.env_steps = 0
        self._clip_rewards = clip_rewards
        self._life_loss_ends = life_loss_ends
        self._autoreset_mode = env.metadata["autoreset_mode"]
        self._returns = np.zeros(env.num_envs, dtype=np.float64)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        # Environments whose next step only resets them (next-step mode).
        self._resetting = np.zeros(env.num_envs, dtype=np.bool_)
        envs.record(env)
        obs, infos = env.reset(seed=seed)
        # A copy, here and in `step`: a vector environment may write the next observations into the same array.
        self._obs = np.array(obs)
        self._lives = self._lives_in(infos)
        check_finite(env, 0, self._obs)

    def step(self, network: nn.Module, epsilon: float, device: torch.device | str = "cpu") -> None:
        """Step every environment once; `num_envs` environment steps."""
        actions = self.exploration.explore(epsilon)
        greedy = actions == GREEDY
        if greedy.any():
            seen = self._obs if self.memory.frame_stack is None else self.memory.latest(self._obs)
            actions[greedy] = greedy_actions(network, seen[greedy], device)
        next_obs, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = terminated | truncated
        self.env_steps += self.env.num_envs
        check_finite(self.env, self.env_steps, next_obs, rewards)
        self._returns += rewards
        self._lengths += 1
        # What is learned from may differ from what happened; episodes and their returns do not.
        learned = np.clip(rewards, -1.0, 1.0) if self._clip_rewards else rewards
        final = terminated | self._lost_lives(infos) if self._life_loss_ends else terminated
        if self._autoreset_mode is AutoresetMode.NEXT_STEP:
            self._remember_acted(actions, learned, next_obs, final, truncated)
            self._resetting = ended
        else:
            final_obs = next_obs
            if ended.any():
                final_obs = _with_final_obs(next_obs, infos)
                check_finite(self.env, self.env_steps, final_obs)
            self.memory.extend(self._obs, actions, learned, final_obs, final, truncated)
            if self._autoreset_mode is AutoresetMode.DISABLED and ended.any():
                next_obs, _ = self.env.reset(options={"reset_mask": ended})
        if ended.any():
            self._finish(ended)
        self._obs = next_obs.copy()

    def _remember_acted(
        self,
        actions: NDArray[np.int64],
        rewards: NDArray[np.float64],
        next_obs: NDArray[np.generic],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
    ) -> None:
        """Store the environments that acted: in one that only reset, the row (last obs -> first obs) never happened."""
        self._lengths[self._resetting] = 0
        acted = np.flatnonzero(~self._resetting)
        self.memory.extend(
            self._obs[acted],
            actions[acted],
            rewards[acted],
            next_obs[acted],
            terminated[acted],
            truncated[acted],
            envs=acted,
        )

    def _lives_in(self, infos: dict[str, Any]) -> NDArray[np.int64]:
        """Return each environment's lives, 0 where it tells none."""
        return np.asarray(infos.get("lives", np.zeros(self.env.num_envs)), dtype=np.int64)

    def _lost_lives(self, infos: dict[str, Any]) -> NDArray[np.bool_]:
        before, self._lives = self._lives, self._lives_in(infos)
        return self._lives < before

    def _finish(self, ended: NDArray[np.bool_]) -> None:
        for env in np.flatnonzero(ended):
            self.episodes.append(self.env_steps, float(self._returns[env]), int(self._lengths[env]))
        self._returns[ended] = 0.0
        self._lengths[ended] = 0
        self.exploration.end_episodes(ended)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides the next steps but the network; `env` is None where it cannot be taken."""
        return {
            "memory": self.memory.state_dict(),
            "exploration": self.exploration.state_dict(),
            "episodes": self.episodes.state_dict(),
            "env": envs.state_dict(self.env),
            "env_steps": self.env_steps,
            "obs": np.array(self._obs),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "resetting": self._resetting.copy(),
            "lives": self._lives.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; without an environment's state, from the fresh episodes that it is in.

        Raises:
            ValueError: The memory or the environment is of another kind than the state's.
        """
        self.memory.load_state_dict(state["memory"])
        self.exploration.load_state_dict(state["exploration"])
        self.episodes.load_state_dict(state["episodes"])
        self.env_steps = state["env_steps"]
        if state["env"] is None:
            self.exploration.end_episodes(np.ones(self.env.num_envs, dtype=np.bool_))
            return
        self._obs = state["obs"].copy()
        self._returns[:] = state["returns"]
        self._lengths[:] = state["lengths"]
        self._resetting[:] = state["resetting"]
        # Checkpoints from before lives counted have none.
        self._lives[:] = state.get("lives", self._lives)
        restored = envs.load_state_dict(self.env, state["env"])
        if restored.obs is not None:
            self._continue_from(restored.obs, restored.differences)

    def _continue_from(self, obs: NDArray[np.generic], differences: dict[int, str]) -> None:
        """Begin new episodes where the old ones could not be continued, and say why."""
        if any(
            index not in differences and now.tobytes() != then.tobytes()
            for index, (now, then) in enumerate(zip(obs, self._obs, strict=True))
        ):
            # A wrapper around the vector environment has a state that nobody gives.
            obs, _ = self.env.reset()
            differences = dict.fromkeys(range(self.env.num_envs), "is shown differently by the vector's wrappers")
        if not differences:
            return
        reasons = "; ".join(f"environment {index} {reason}" for index, reason in differences.items())
        logger.warning("%s: their episodes start afresh, the rest continues exactly", reasons)
        fresh = list(differences)
        self._obs[fresh] = obs[fresh]
        self._returns[fresh], self._lengths[fresh], self._resetting[fresh] = 0.0, 0, False
        self.exploration.end_episodes(np.isin(np.arange(self.env.num_envs), fresh))


def _with_final_obs(next_obs: NDArray[np.generic], infos: dict[str, Any]) -> NDArray[np.generic]:
    """Put the last observations of ended episodes in place of the first ones of the next (same-step mode)."""
    if "final_obs" not in infos:
        return next_obs
    obs: NDArray[np.generic] = next_obs.copy()
    for env in np.flatnonzero(infos["_final_obs"]):
        obs[env] = infos["final_obs"][env]
    return obs
