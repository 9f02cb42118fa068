"""Steps a second at the same work as Stable-Baselines3, SBX, rlox and plain JAX.

One environment, one update of one size a step: `python -m benchmarks.same_work [--quick]`; JAX and SBX run in an
environment of their own (`make .venv-jax/.installed`).
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import lightning as L
import torch

from acro import DQN, Experience
from benchmarks.jax_peer import JaxProcess, JaxTurn
from benchmarks.results import Table, pin_to_one_core, save, show
from benchmarks.training import bare_trainer

# Stable-Baselines3's zoo trains Acrobot so: 4 steps, then 4 updates; 256-256, batches of 128, one-step double-free DQN.
HIDDEN, BATCH_SIZE, LEARNING_RATE, TRAIN_EVERY_STEPS = (256, 256), 128, 6.3e-4, 4
BURN_IN_STEPS = 512


def main() -> None:
    """Measure all in turn, several times over."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer repeats, shorter runs")
    is_quick = arguments.parse_args().quick
    repeats, steps = (2, 512) if is_quick else (15, 1_024)
    torch.set_num_threads(1)
    pin_to_one_core()
    warnings.simplefilter("ignore")

    contestants: dict[str, Callable[[int], float]] = {
        "acro, its Acrobot": lambda count: acro_seconds("acro/Acrobot-v1", count),
        "acro, Gymnasium's Acrobot": lambda count: acro_seconds("Acrobot-v1", count),
        "stable-baselines3": sb3_seconds,
        "rlox": rlox_seconds,
    }
    compile_rows = []
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        try:
            jax = stack.enter_context(JaxProcess())
        except ImportError as error:
            print(f"JAX and SBX are left out: {error}")
        else:
            for name, turn in jax_turns(jax, steps).items():
                contestants[name] = turn.of
                compile_rows.append((name, f"{turn.first_seconds:.1f}"))
        for _ in range(repeats):
            for name, seconds_of in list(contestants.items()):
                try:
                    rates.setdefault(name, []).append(steps / seconds_of(steps))
                except ImportError:
                    del contestants[name], rates[name]
                    print(f"{name} is not installed: left out")
    rows = []
    for name, found in rates.items():
        ratios = [
            f"{statistics.median(ours / theirs for ours, theirs in zip(own, found, strict=True)):.2f}"
            for own in (rates["acro, its Acrobot"], rates["acro, Gymnasium's Acrobot"])
        ]
        rows.append((name, f"{statistics.median(found):,.0f}", *ratios))
    table = Table(
        f"{steps:,} environment steps, one update a step",
        ["", "steps a second", "acro, its Acrobot, is faster by", "acro, Gymnasium's Acrobot, is faster by"],
        rows,
    )
    tables = [table]
    if compile_rows:
        tables.append(Table("Made, compiled and run once, before the first turn", ["", "seconds"], compile_rows))
    for shown in tables:
        show(shown)
    path = save(
        "same_work",
        "The same work as Stable-Baselines3, SBX and JAX",
        tables,
        notes=[
            f"One environment, {HIDDEN[0]}-{HIDDEN[1]}, batch {BATCH_SIZE}, {TRAIN_EVERY_STEPS} steps then "
            f"{TRAIN_EVERY_STEPS} updates, one-step returns, no double, Huber loss, Adam, gradient norm 10, 1 thread, "
            f"no evaluation, after {BURN_IN_STEPS} steps that do not count. acro runs under Lightning's Trainer.",
            "rlox has the squared loss only. SBX does not clip gradients.",
            "JAX, compiled whole: environment, memory, acting and updates in one jitted lax.scan; SBX: jitted updates, "
            "Gymnasium's Acrobot and Stable-Baselines3's memory. Both train one model in all turns, the others a new "
            "one in each.",
            f"Medians over {repeats} turns; ratios are the medians of the ratios within a turn.",
        ],
        data=rates,
    )
    print(path)


class Clock(L.Callback):
    """Takes the time from the end of the burn-in to the end of training."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start, or stop."""
        now = time.perf_counter()
        if trainer.current_epoch == 0:
            self._start = now
        self.seconds = now - self._start


def acro_seconds(env_id: str, steps: int) -> float:
    """Return the seconds of `steps` steps with one update each."""
    experience = Experience(
        env_id,
        num_envs=1,
        capacity=50_000,
        batch_size=BATCH_SIZE,
        learning_starts_steps=0,
        updates_per_step=1.0,
        steps_per_round=TRAIN_EVERY_STEPS,
        steps_per_epoch=BURN_IN_STEPS,
        # Where Stable-Baselines3's and rlox's are soon within the burn-in.
        epsilon_start=0.1,
        epsilon_end=0.1,
        zeta_exponent=None,
    )
    dqn = DQN(
        experience.observation_size,
        experience.num_actions,
        HIDDEN,
        double=False,
        learning_rate=LEARNING_RATE,
        target_update_every=250,
    )
    clock = Clock()
    trainer = bare_trainer(1 + steps // BURN_IN_STEPS, clock)
    trainer.fit(dqn, experience)
    return clock.seconds


def jax_turns(jax: JaxProcess, steps: int) -> dict[str, JaxTurn]:
    """Return SBX and a loop in plain JAX, each past its burn-in."""
    shared = {
        "steps": steps,
        "burn_in": BURN_IN_STEPS,
        "width": HIDDEN[0],
        "batch_size": BATCH_SIZE,
        "capacity": 50_000,
        "train_every": TRAIN_EVERY_STEPS,
        "learning_rate": LEARNING_RATE,
        "gamma": 0.99,
    }
    return {
        "SBX": jax.make("sbx loop", target_update_interval=250, **shared),
        "JAX, compiled whole": jax.make("jax loop", target_update_every=250, double=False, **shared),
    }


def sb3_seconds(steps: int) -> float:
    """Return the seconds of `steps` steps of Stable-Baselines3 with its zoo's settings."""
    model = zoo_dqn()
    model.learn(BURN_IN_STEPS)
    start = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    return time.perf_counter() - start


def zoo_dqn(seed: int | None = None) -> Any:
    """Return Stable-Baselines3's DQN with the settings that its zoo has for Acrobot-v1.

    Raises:
        ImportError: Stable-Baselines3 is not installed.
    """
    import stable_baselines3

    return stable_baselines3.DQN(
        "MlpPolicy",
        "Acrobot-v1",
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        buffer_size=50_000,
        learning_starts=0,
        gamma=0.99,
        target_update_interval=250,
        train_freq=TRAIN_EVERY_STEPS,
        gradient_steps=-1,
        exploration_fraction=0.12,
        exploration_final_eps=0.1,
        policy_kwargs={"net_arch": list(HIDDEN)},
        seed=seed,
        device="cpu",
    )


def rlox_seconds(steps: int) -> float:
    """Return the seconds of `steps` steps of rlox."""
    from rlox.algorithms import dqn as rlox_dqn

    agent = rlox_dqn.DQN(
        "Acrobot-v1",
        buffer_size=50_000,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        target_update_freq=250,
        # Every call of `train` counts from 0 again: any other would leave out updates, and explore afresh.
        learning_starts=0,
        exploration_initial_eps=0.1,
        exploration_final_eps=0.1,
        double_dqn=False,
        hidden=HIDDEN[0],
        train_freq=TRAIN_EVERY_STEPS,
        gradient_steps=TRAIN_EVERY_STEPS,
    )
    agent.train(BURN_IN_STEPS)
    start = time.perf_counter()
    agent.train(steps)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
