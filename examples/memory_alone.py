"""The replay memory in a loop of your own: deep Q-learning in one file, without Lightning.

The loop is that of CleanRL's dqn.py; a comment stands where the memory is another.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from torch import nn

from acro import ReplayMemory

NUM_ENVS, BATCH_SIZE, GAMMA = 8, 128, 0.99


def main(steps: int = 30_000, learning_starts: int = 1_000) -> float:
    """Train CartPole for `steps` environment steps; return the mean of the last 20 episodes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    envs = gymnasium.make_vec(
        "CartPole-v1", NUM_ENVS, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"}
    )
    network, target = (nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 2)) for _ in range(2))
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    # ReplayBuffer(buffer_size, ...): each observation is stored once, and each environment has a ring.
    memory = ReplayMemory(10_000, obs_shape=(4,), num_envs=NUM_ENVS, seed=0)
    running, returns = np.zeros(NUM_ENVS), []

    obs, _ = envs.reset(seed=0)
    for step in range(0, steps, NUM_ENVS):
        epsilon = max(0.05, 1.0 - step / (0.5 * steps))
        with torch.no_grad():
            actions = network(torch.from_numpy(obs)).argmax(dim=1).numpy()  # (NUM_ENVS,)
        actions = np.where(random.random(NUM_ENVS) < epsilon, random.integers(0, 2, NUM_ENVS), actions)
        next_obs, rewards, terminated, truncated, infos = envs.step(actions)
        running += rewards
        last_obs = next_obs.copy()
        for env in np.flatnonzero(terminated | truncated):
            last_obs[env] = infos["final_obs"][env]
            returns.append(running[env])
            running[env] = 0.0
        # rb.add(...): what the time limit cuts off is `truncated` and bootstraps on.
        memory.extend(obs, actions, rewards, last_obs, terminated, truncated)
        obs = next_obs
        if step < learning_starts:
            continue
        for _ in range(2):
            # rb.sample(...): `n_step` is chosen here, and `discounts` is 0 where an episode terminated.
            batch = memory.sample(BATCH_SIZE, n_step=3, gamma=GAMMA).as_tensors()
            with torch.no_grad():
                td_target = batch.rewards + batch.discounts * target(batch.next_obs).max(dim=1).values  # (B,)
            values = network(batch.obs).gather(1, batch.actions.unsqueeze(1)).squeeze(1)  # (B,)
            loss = nn.functional.smooth_l1_loss(values, td_target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for ours, theirs in zip(target.parameters(), network.parameters(), strict=True):
                    ours.lerp_(theirs, 0.01)
    return float(np.mean(returns[-20:]))


if __name__ == "__main__":
    print(f"mean return of the last 20 episodes: {main():.0f}")
