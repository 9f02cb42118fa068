"""Train SB3's or SBX's DQN with rl-zoo's settings until Acrobot is solved: `-m benchmarks.solve_peer NAME SEED STEPS`.

`benchmarks.time_to_solve` runs it from cold. Prints "solved STEP SECONDS", with the seconds of evaluations, or "never".
Imports nothing but the library that it trains with.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

THRESHOLD, EPISODES, EVALUATE_EVERY_STEPS = -100.0, 100, 1_024


def main(library: str, seed: int, steps: int) -> str:
    """Return the line to print."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    settings: dict[str, Any]
    if library == "sbx":
        from sbx import DQN

        settings = {}
    else:
        import torch
        from stable_baselines3 import DQN

        torch.set_num_threads(1)
        settings = {"device": "cpu"}

    class UntilSolved(BaseCallback):
        """Evaluates, and stops training once the threshold is passed."""

        line = "never"
        evaluating_seconds = 0.0

        def _on_step(self) -> bool:
            if self.num_timesteps % EVALUATE_EVERY_STEPS:
                return True
            start = time.perf_counter()
            mean: Any = evaluate_policy(self.model, starts, n_eval_episodes=EPISODES)[0]
            self.evaluating_seconds += time.perf_counter() - start
            if mean < THRESHOLD:
                return True
            self.line = f"solved {self.num_timesteps} {self.evaluating_seconds}"
            return False

    starts = make_vec_env("Acrobot-v1", 8, seed=seed + 10_000)
    model = DQN(
        "MlpPolicy",
        "Acrobot-v1",
        learning_rate=6.3e-4,
        batch_size=128,
        buffer_size=50_000,
        learning_starts=0,
        gamma=0.99,
        target_update_interval=250,
        train_freq=4,
        gradient_steps=-1,
        exploration_fraction=0.12,
        exploration_final_eps=0.1,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        **settings,
    )
    callback = UntilSolved()
    model.learn(steps, callback=callback)
    return callback.line


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), flush=True)
