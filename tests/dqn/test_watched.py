"""Hooks and replaced methods are called in every update, whatever makes the updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batches import random_rounds
from torch import Tensor

from acro import DQN


def watch_gradients(module: DQN, seen: list[Any]) -> None:
    for parameter in module.q_network.parameters():
        parameter.register_hook(seen.append)


def watch_the_target(module: DQN, seen: list[Any]) -> None:
    module.target_network.get_submodule("layers.0").register_forward_hook(lambda *called: seen.append(called))


def replace_the_heads_losses(module: DQN, seen: list[Any]) -> None:
    losses = module.head.losses

    def own(outputs: Tensor, target: Tensor) -> Tensor:
        seen.append(outputs)
        return losses(outputs, target)

    module.head.losses = own  # type: ignore[method-assign]


def watch_steps(module: DQN, seen: list[Any]) -> None:
    module.optimizer.register_step_pre_hook(lambda *called: seen.append(called))


@pytest.mark.parametrize("when", ["before", "later"])
@pytest.mark.parametrize("watch", [watch_gradients, watch_the_target, replace_the_heads_losses, watch_steps])
def test_whatever_is_watched_is_seen_in_every_update(watch: Callable[[DQN, list[Any]], None], when: str) -> None:
    module, other = DQN(4, 3, (8, 8)), DQN(4, 3, (8, 8), backend="torch")
    seen: list[Any] = []
    expected: list[Any] = []
    for own, calls in ((module, seen), (other, expected)):
        own.configure_optimizers()
        if when == "later":
            own.learn(random_rounds(2))
        watch(own, calls)
        if watch is not watch_steps and when == "before":
            own.configure_optimizers()
        own.learn(random_rounds(3))

    assert len(seen) == len(expected) > 0
