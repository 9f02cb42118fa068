"""One gradient update on a GPU, sampling and moving included: `python -m benchmarks.gpu [--quick]`."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from acro import DQN, ReplayMemory
from acro.dqn.cuda_graph import CudaGraphUpdates
from benchmarks.jax_peer import JaxProcess
from benchmarks.results import Table, save, show
from benchmarks.update import Turn, timed

NUM_ACTIONS, ROUND, CAPACITY = 6, 32, 10_000
PICTURE = (4, 84, 84)


class Size(NamedTuple):
    """One table: layers of `hidden`, of observations of six numbers or of pictures."""

    hidden: tuple[int, ...]
    batch_size: int
    is_picture: bool = False

    def __str__(self) -> str:
        of = "Mnih et al. (2015), 4 x 84 x 84 bytes" if self.is_picture else "-".join(map(str, self.hidden))
        return f"{of}, batch {self.batch_size}"


SIZES = (Size((128, 128), 128), Size((256, 256), 128), Size((512,), 32, is_picture=True))


class Noise(gymnasium.Env[Any, Any]):
    """Random observations in episodes of 100 steps: what is learned from has no part in what an update costs."""

    def __init__(self, size: Size) -> None:
        self.observation_space = (
            Box(0, 255, PICTURE, np.uint8) if size.is_picture else Box(-np.inf, np.inf, (6,), np.float32)
        )
        self.action_space = Discrete(NUM_ACTIONS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on."""
        self._steps += 1
        return self.observation_space.sample(), -1.0, False, self._steps == 100, {}


def acro_update(size: Size, device: str, **settings: Any) -> Callable[[], None]:
    """Return rounds of acro's DQN, each with its sample."""
    memory = filled(size)
    pictures: dict[str, Any] = {"observation_shape": PICTURE, "observation_dtype": "uint8"}
    given = {**pictures, **settings} if size.is_picture else settings
    dqn = DQN(math.prod(PICTURE) if size.is_picture else 6, NUM_ACTIONS, size.hidden, **given)
    dqn.to(device).configure_optimizers()

    def stretch() -> None:
        # As `Experience` and `training_step`: drawn into page-locked memory; a graph has inputs of its own.
        out = memory.empty_batch((ROUND, size.batch_size), pin_memory=True) if device == "cuda" else None
        batch = memory.sample((ROUND, size.batch_size), out=out).as_tensors()
        td_errors = dqn.learn(batch if isinstance(dqn.update_backend, CudaGraphUpdates) else batch.to(device))
        td_errors.sum().item()

    return stretch


def filled(size: Size) -> ReplayMemory:
    """Return a memory of random transitions; of pictures, single frames."""
    generator = np.random.default_rng(0)
    shape = PICTURE[1:] if size.is_picture else (6,)
    dtype, stack = (np.uint8, PICTURE[0]) if size.is_picture else (np.float32, None)
    memory = ReplayMemory(CAPACITY, shape, obs_dtype=dtype, num_envs=8, frame_stack=stack)
    obs = [generator.integers(256, size=(8, *shape)).astype(dtype) for _ in range(101)]
    for step in range(CAPACITY // 8):
        ends = np.full(8, step % 100 == 99)
        actions = generator.integers(NUM_ACTIONS, size=8)
        memory.extend(obs[step % 100], actions, -np.ones(8), obs[step % 100 + 1], np.zeros(8, bool), ends)
    return memory


def sb3_update(size: Size) -> Callable[[], None]:
    """Return stretches of Stable-Baselines3's `DQN.train` on the GPU.

    Raises:
        ImportError: It is not installed.
    """
    import stable_baselines3
    from stable_baselines3.common.logger import configure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stable_baselines3.DQN(
            "CnnPolicy" if size.is_picture else "MlpPolicy",
            Noise(size),
            policy_kwargs=None if size.is_picture else {"net_arch": list(size.hidden)},
            buffer_size=CAPACITY if not size.is_picture else 2_000,
            device="cuda",
        )
        model.set_logger(configure(format_strings=[]))
        model.learn(1_000)

    def stretch() -> None:
        model.train(gradient_steps=ROUND, batch_size=size.batch_size)
        torch.cuda.synchronize()

    return stretch


def contestants(size: Size, stack: ExitStack) -> dict[str, Turn]:
    """Return who can be asked for updates of that size here."""
    found = {
        "acro, cuda_graph": timed(acro_update(size, "cuda", cuda_graph=True)),
        "acro": timed(acro_update(size, "cuda")),
    }
    if not size.is_picture:
        found["acro on the CPU, in Rust"] = timed(acro_update(size, "cpu"))
        try:
            jax = stack.enter_context(JaxProcess("cuda"))
            given = {"width": size.hidden[0], "batch_size": size.batch_size, "updates": ROUND}
            found["JAX, lax.scan"] = jax.make("jax update", **given)
        except ImportError as error:
            print(f"JAX is left out: {error}")
    try:
        found["stable-baselines3"] = timed(sb3_update(size))
    except ImportError:
        print("stable-baselines3 is not installed: left out")
    return found


def main() -> None:
    """Measure every size, all contestants in turn."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    repeats = 5 if arguments.parse_args().quick else 50
    if not torch.cuda.is_available():
        print("there is no GPU here: nothing is measured", file=sys.stderr)
        return
    tables, data = [], {}
    for size in SIZES:
        with ExitStack() as stack:
            turns = contestants(size, stack)
            seconds: dict[str, list[float]] = {name: [] for name in turns}
            for repeat in range(3 + repeats):
                for name, turn in turns.items():
                    one = turn() / ROUND
                    # The first turns make what is made once.
                    if repeat >= 3:
                        seconds[name].append(one)
        first = seconds["acro, cuda_graph"]
        rows = [
            (
                name,
                f"{1e6 * statistics.median(own):.0f}",
                f"{statistics.median(a / b for a, b in zip(own, first, strict=True)):.2f}x",
            )
            for name, own in seconds.items()
        ]
        tables.append(Table(str(size), ("", "µs an update", "of cuda_graph's"), rows))
        data[str(size)] = seconds
        show(tables[-1])
    save(
        "gpu",
        "One gradient update on a GPU",
        tables,
        notes=[
            f"On an {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}.",
            f"Medians over {repeats} rounds of {ROUND} updates, the contestants taking turns. acro's and "
            "Stable-Baselines3's figures include sampling and moving the batches to the GPU, JAX's do not.",
        ],
        data=data,
    )


if __name__ == "__main__":
    main()
