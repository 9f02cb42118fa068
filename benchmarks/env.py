"""Steps a second of Acrobot: Gymnasium, EnvPool and acro; `python -m benchmarks.env [--quick]`."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import acro.envs
from acro.evaluation import evaluate
from benchmarks import results

SIZES = (1, 8, 64, 1024)
EPISODES = 100
SINGLE, SYNC, ENVPOOL, ACRO = "Gymnasium, single", "Gymnasium, SyncVectorEnv", "EnvPool", "acro"

VectorStep = Callable[[Any], Any]


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, a fifth of the time each")
    quick = parser.parse_args().quick
    repeats, seconds = (3, 0.05) if quick else (15, 0.25)
    torch.set_num_threads(1)
    rates = {size: _rates(size, repeats, seconds) for size in SIZES}
    evaluations = _evaluations(repeats)
    tables = [_rates_table(rates), _ratios_table(rates), _evaluation_table(evaluations)]
    for table in tables:
        results.show(table)
    data = {
        "steps_per_second": {str(size): by_name for size, by_name in rates.items()},
        "evaluation_seconds": evaluations,
    }
    path = results.save("env", "Environments: Acrobot", tables, notes=_notes(repeats, seconds), data=data)
    print(path)


def _notes(repeats: int, seconds: float) -> list[str]:
    notes = [
        f"One process, one environment thread; medians of {repeats} interleaved repeats of {seconds} s each, after one "
        "that is not counted. Random actions; episodes that end begin again in the same step (EnvPool: in the next).",
        "A ratio is the median of the ratios within a repeat.",
        "EnvPool steps in a worker thread of its own beside the caller's; acro and Gymnasium in the caller's.",
        f"Evaluation: acro.evaluation.evaluate plays {EPISODES} greedy episodes side by side, making the environments "
        "included, with a 6-128-128-3 network in torch on one thread. Its weights are set by hand to push against the "
        "first link's swing, which ends an episode in about 85 steps, as a trained network does.",
    ]
    if find_spec("envpool") is None:
        notes.append("EnvPool is not installed here, and so was not measured.")
    return notes


def _rates(size: int, repeats: int, seconds: float) -> dict[str, list[float]]:
    """Environment steps a second of every contender, one figure a repeat."""
    makers: dict[str, Callable[[int], VectorStep]] = {SYNC: _sync, ACRO: _acro}
    if size == 1:
        makers[SINGLE] = _single
    if find_spec("envpool") is not None:
        makers[ENVPOOL] = _envpool
    contenders = {name: make(size) for name, make in makers.items()}
    actions = np.random.default_rng(0).integers(0, 3, (256, size))
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, step in contenders.items():
            rate = size * _calls_per_second(step, actions, seconds)
            if repeat > 0:
                measured[name].append(rate)
    return measured


def _calls_per_second(step: VectorStep, actions: Any, seconds: float) -> float:
    calls = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        # Between two looks at the clock: 256 steps, or few where a step is milliseconds.
        for action in actions[: 8 if actions.shape[1] > 64 else len(actions)]:
            step(action)
            calls += 1
    return calls / elapsed


def _single(size: int) -> VectorStep:
    assert size == 1
    env = gymnasium.make("Acrobot-v1")
    env.reset(seed=0)

    def step(actions: Any) -> None:
        _, _, terminated, truncated, _ = env.step(actions[0])
        if terminated or truncated:
            env.reset()

    return step


def _sync(size: int) -> VectorStep:
    env = SyncVectorEnv([lambda: gymnasium.make("Acrobot-v1")] * size, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    return env.step


def _acro(size: int) -> VectorStep:
    env = acro.envs.make_vec("acro/Acrobot-v1", size)
    env.reset(seed=0)
    return env.step


def _envpool(size: int) -> VectorStep:
    import envpool

    gymnasium.logger.min_level = gymnasium.logger.ERROR  # Without its warnings of the precision of EnvPool's spaces.
    env = envpool.make("Acrobot-v1", env_type="gymnasium", num_envs=size, num_threads=1, seed=0)
    env.reset()
    step: VectorStep = env.step
    return step


def _evaluations(repeats: int) -> dict[str, list[float]]:
    """Seconds to play `EPISODES` greedy episodes with acro's own evaluation, one figure a repeat."""
    network = _swinging_network()
    measured: dict[str, list[float]] = {SYNC: [], ACRO: []}
    for repeat in range(repeats + 1):
        for name, env_id in ((SYNC, "Acrobot-v1"), (ACRO, "acro/Acrobot-v1")):
            start = time.perf_counter()
            evaluation = evaluate(network, env_id, EPISODES)
            if repeat > 0:
                measured[name].append(time.perf_counter() - start)
    print(f"mean return {evaluation.mean:.1f}, longest episode {evaluation.lengths.max()} steps")
    return measured


def _swinging_network() -> torch.nn.Module:
    """A 6-128-128-3 network whose greedy actions push against the first link's swing, as a trained one's do."""
    layers = torch.nn.Linear(6, 128), torch.nn.Linear(128, 128), torch.nn.Linear(128, 3)
    for layer in layers:
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layers[0].weight[0, 4], layers[0].weight[1, 4] = 1, -1  # The first joint's velocity, either sign.
        layers[1].weight[0, 0] = layers[1].weight[1, 1] = 1
        layers[2].weight[0, 0] = layers[2].weight[2, 1] = 1
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])


def _rates_table(rates: dict[int, dict[str, list[float]]]) -> results.Table:
    names = [name for name in (SINGLE, SYNC, ENVPOOL, ACRO) if name in rates[1]]
    rows = [
        [name, *(_thousands(by_name[name]) if name in by_name else "" for by_name in rates.values())] for name in names
    ]
    return results.Table(
        "Environment steps a second, by number of environments", ["", *(f"{size:,}" for size in SIZES)], rows
    )


def _ratios_table(rates: dict[int, dict[str, list[float]]]) -> results.Table:
    rows = []
    for name in (SINGLE, SYNC, ENVPOOL):
        cells = [_ratio(by_name[ACRO], by_name[name]) if name in by_name else "" for by_name in rates.values()]
        if any(cells):
            rows.append([name, *cells])
    return results.Table("acro is faster by", ["than", *(f"{size:,}" for size in SIZES)], rows)


def _evaluation_table(evaluations: dict[str, list[float]]) -> results.Table:
    rows = [
        [name, f"{1e3 * statistics.median(seconds):.1f} ms", _ratio(seconds, evaluations[ACRO])]
        for name, seconds in evaluations.items()
    ]
    return results.Table(f"{EPISODES} episodes of evaluation", ["", "in all", "times acro's"], rows)


def _thousands(figures: list[float]) -> str:
    return f"{statistics.median(figures):,.0f}"


def _ratio(over: list[float], under: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(over, under, strict=True)):.1f}x"


if __name__ == "__main__":
    main()
