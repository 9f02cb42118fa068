"""The JAX side of a benchmark: makes contestants and times their turns, one JSON line a question and an answer.

Run by the interpreter of `.venv-jax`; `benchmarks.jax_peer` asks.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax_dqn import NUM_ACTIONS, OBSERVATION_SIZE, Batch, Settings, round_of_updates, training_loop


def jax_update(*, updates: int, **settings: Any) -> Callable[[], object]:
    """Return rounds of updates on random transitions."""
    given = Settings(**settings)
    learner, run = round_of_updates(given)
    generator, shape = np.random.default_rng(0), (updates, given.batch_size)
    obs = generator.standard_normal((2, *shape, OBSERVATION_SIZE)).astype(np.float32)
    actions = generator.integers(NUM_ACTIONS, size=shape).astype(np.int32)
    batch = Batch(*map(jnp.asarray, (obs[0], actions, -np.ones(shape, np.float32), obs[1], np.full(shape, 0.97, "f4"))))

    def turn() -> None:
        nonlocal learner
        learner = jax.block_until_ready(run(learner, batch))

    return turn


def jax_loop(*, steps: int, burn_in: int, capacity: int, train_every: int, **settings: Any) -> Callable[[], object]:
    """Return stretches of training in a loop that is compiled whole."""
    loop, run = training_loop(Settings(**settings), capacity, train_every, steps // train_every, epsilon=0.1)
    done = 0

    def turn() -> None:
        nonlocal loop, done
        loop = jax.block_until_ready(run(loop))
        done += steps

    while done < burn_in:
        turn()
    return turn


def sbx_update(*, width: int, batch_size: int, updates: int) -> Callable[[], object]:
    """Return stretches of SBX's `DQN.train`."""
    model = _sbx_dqn(width, learning_starts=100, train_freq=100, gradient_steps=1, batch_size=batch_size)
    model.learn(1_000)

    def turn() -> None:
        model.train(batch_size=batch_size, gradient_steps=updates)
        jax.block_until_ready(model.policy.qf_state.params)

    return turn


def sbx_loop(
    *, steps: int, burn_in: int, width: int, capacity: int, train_every: int, **settings: Any
) -> Callable[[], object]:
    """Return stretches of SBX's `DQN.learn`."""
    model = _sbx_dqn(
        width,
        buffer_size=capacity,
        learning_starts=0,
        train_freq=train_every,
        gradient_steps=-1,
        exploration_fraction=1e-9,
        exploration_final_eps=0.1,
        **settings,
    )
    model.learn(burn_in)

    def turn() -> None:
        model.learn(steps, reset_num_timesteps=False)
        jax.block_until_ready(model.policy.qf_state.params)

    return turn


def _sbx_dqn(width: int, **settings: Any) -> Any:
    import sbx
    from stable_baselines3.common.logger import configure

    settings = {"buffer_size": 10_000, **settings}
    model = sbx.DQN("MlpPolicy", "Acrobot-v1", policy_kwargs={"net_arch": [width, width]}, **settings)
    model.set_logger(configure(format_strings=[]))
    return model


MAKERS = {"jax update": jax_update, "jax loop": jax_loop, "sbx update": sbx_update, "sbx loop": sbx_loop}


def main() -> None:
    """Answer until the questions end."""
    warnings.simplefilter("ignore")
    turns: list[Callable[[], object]] = []
    for line in sys.stdin:
        question = json.loads(line)
        start = time.perf_counter()
        if "make" in question:
            turns.append(MAKERS[question["make"]](**question["settings"]))
            turns[-1]()
        else:
            turns[question["turn"]]()
        print(json.dumps({"seconds": time.perf_counter() - start, "turn": len(turns) - 1}), flush=True)


if __name__ == "__main__":
    main()
