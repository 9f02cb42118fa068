"""Play with a trained agent: `python examples/use_agent.py runs/acrobot/version_0`."""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium

import acro


def main(run: str | Path, env_id: str = "acro/Acrobot-v1", seed: int = 0) -> float:
    """Play one episode with the agent of a run's folder or a checkpoint; return its return."""
    agent = acro.load_agent(run)
    env = gymnasium.make(env_id)
    obs, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        action = agent.act(obs)  # an int; for observations (N, ...), an array (N,)
        obs, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    env.close()
    return total


if __name__ == "__main__":
    print(main(sys.argv[1]))
