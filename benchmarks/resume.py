"""What it costs that any environment resumes: remembering open episodes, and playing them again.

`python -m benchmarks.resume [--quick]`. Processor time throughout, since other programs take the machine's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import lightning as L
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray

from acro import DQN, Experience, envs
from acro.cli.options import read_preset
from benchmarks.results import Table, save, show
from benchmarks.training import bare_trainer

# Epochs of each: CartPole's until its episodes last, which is what most of its run is.
PRESETS = {"cartpole": 10, "mountaincar": 2, "lunarlander": 2}
NUM_ENVS = 8
OPEN_STEPS = 1_000
_BLOCK = 100


def main() -> None:
    """Measure and store."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer repeats")
    is_quick = arguments.parse_args().quick
    torch.set_num_threads(1)
    rows, data = [], {}
    for preset, epochs in PRESETS.items():
        settings = read_preset(preset)
        seconds, module = train(settings, 1 if is_quick else epochs)
        training = 1e6 * seconds
        recording = 1e6 * recording_seconds(settings["data"]["env_id"], module, 20 if is_quick else 60)
        rows.append((preset, f"{recording:.2f}", f"{training:.0f}", f"{100 * recording / training:.2f} %"))
        data[preset] = {"recording_us": recording, "training_us": training}
    cost = Table(
        "An environment step of a preset's run, in µs", ["preset", "remembering it", "all of it", "share"], rows
    )
    restoring = [restoring_seconds("LunarLander-v3") for _ in range(1 if is_quick else 3)]
    restored = Table(
        f"Open episodes of {OPEN_STEPS:,} steps in {NUM_ENVS} environments, played again",
        ["environment", "seconds"],
        [("LunarLander-v3", f"{statistics.median(restoring):.2f}")],
    )
    show(cost)
    show(restored)
    save(
        "resume",
        "Resuming",
        [cost, restored],
        notes=[
            "Remembering: the difference between stepping a vector of environments with and without it, the median "
            f"over blocks of {_BLOCK} steps of the trained network, both in turn. All of it: a run of the preset after "
            "its burn-in, evaluations and checkpoints left out, which would make the share smaller. "
            "acro's own Acrobot gives its state, and nothing is remembered. Processor time.",
        ],
        data={**data, "restoring_seconds": restoring},
    )


def recording_seconds(env_id: str, module: DQN, blocks: int) -> float:
    """Return what remembering takes an environment step, where `module` plays."""
    plain, recorded, pilot = (make(env_id, is_recorded) for is_recorded in (False, True, False))
    obs, _ = pilot.reset(seed=0)
    differences = []
    for block in range(blocks):
        actions = []
        for _ in range(_BLOCK):
            actions.append(module.greedy_actions(obs))
            obs = pilot.step(actions[-1])[0]
        # Each goes first every other time.
        order = (plain, recorded) if block % 2 else (recorded, plain)
        seconds = {id(env): step_all(env, actions) for env in order}
        differences.append(seconds[id(recorded)] - seconds[id(plain)])
    return statistics.median(differences) / (_BLOCK * NUM_ENVS)


def make(env_id: str, is_recorded: bool) -> Any:
    """Return environments after their first reset."""
    env = envs.make_vec(env_id, NUM_ENVS)
    if is_recorded:
        envs.record(env)
    env.reset(seed=0)
    return env


def step_all(env: SyncVectorEnv, actions: list[NDArray[np.int64]]) -> float:
    """Return the processor time of these steps."""
    start = time.process_time()
    for each in actions:
        env.step(each)
    return time.process_time() - start


def train(settings: dict[str, Any], epochs: int) -> tuple[float, DQN]:
    """Return the processor time of an environment step of a preset's run, once it learns, and who learned."""
    data, model = settings["data"], settings["model"]
    source = Experience(**data)
    module = DQN(source.observation_size, source.num_actions, **model)
    clock = Clock()
    trainer = bare_trainer(epochs + 1, clock)
    trainer.fit(module, source)
    steps: int = data["steps_per_epoch"]
    return statistics.median(clock.seconds[1:]) / steps, module.eval()


class Clock(L.Callback):
    """Takes the processor time of every epoch's rounds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start."""
        self._start = time.process_time()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.seconds.append(time.process_time() - self._start)


def restoring_seconds(env_id: str) -> float:
    """Return the processor time of playing every environment's open episode again."""
    env = make(env_id, True)
    # Nothing, and the engines now and then: most episodes then last as long as is wanted here.
    for step in range(OPEN_STEPS - 1):
        env.step(np.full(NUM_ENVS, 2 if step % 3 == 0 else 0))
    state = envs.state_dict(env)
    assert state is not None
    lengths: list[int] = [len(episode["actions"]) for episode in state["episodes"]]
    other = make(env_id, True)
    start = time.process_time()
    assert envs.load_state_dict(other, state).differences == {}
    seconds = time.process_time() - start
    return seconds * OPEN_STEPS * NUM_ENVS / sum(lengths)


if __name__ == "__main__":
    main()
