"""What docs/changing.md changes is called for every update, and computes what a hand works out."""

from __future__ import annotations

import importlib
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from runs import SMALL

from acro import DQN, Batch, Experience
from acro.experience.exploration import GREEDY

PAGE = Path(__file__).parent.parent / "docs" / "changing.md"
# Of the network in `linear`: the values are 1 and 2, the taken one 2, its target 3 + 0.5 * 2 = 4.
ONE = Batch(
    obs=torch.ones(1, 1),
    actions=torch.tensor([1]),
    rewards=torch.tensor([3.0]),
    next_obs=torch.ones(1, 1),
    discounts=torch.tensor([0.5]),
    terminated=torch.tensor([False]),
    indices=torch.tensor([0]),
)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import one of the page's files by its name."""
    for name, block in re.findall(r"^```python title=\"([\w.]+)\"\n(.*?)^```", PAGE.read_text(), flags=re.S | re.M):
        (tmp_path / name).write_text(block)
    monkeypatch.syspath_prepend(tmp_path)

    def find(name: str) -> ModuleType:
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)  # type: ignore[attr-defined]
        return importlib.import_module(name)

    return find


def linear(kind: type[DQN]) -> DQN:
    module = kind(1, 2, hidden=())
    for network in (module.q_network, module.target_network):
        network.load_state_dict({"layers.0.weight": torch.tensor([[1.0], [2.0]]), "layers.0.bias": torch.zeros(2)})
    return module


def calls_in_a_run(kind: type[DQN], method: str, experience: Experience) -> tuple[int, DQN]:
    calls = []

    class Counted(kind):  # type: ignore[valid-type, misc]
        pass

    def counted(self: DQN, *arguments: Any) -> Any:
        calls.append(method)
        return getattr(kind, method)(self, *arguments)

    setattr(Counted, method, counted)
    module: DQN = Counted(4, 2, hidden=(16,))
    settings: dict[str, Any] = {"enable_checkpointing": False, "enable_progress_bar": False}
    L.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, logger=False, **settings).fit(module, experience)
    return len(calls), module


@pytest.mark.parametrize(
    ("file", "name", "method"), [("conservative", "ConservativeDQN", "loss"), ("soft", "SoftDQN", "td_target")]
)
def test_changed_method_is_called_for_every_update(file: str, name: str, method: str, example: Any) -> None:
    calls, module = calls_in_a_run(getattr(example(file), name), method, Experience("CartPole-v1", **SMALL))

    assert calls == module.updates > 0


def test_conservative_loss_is_what_a_hand_works_out(example: Any) -> None:
    loss, td_errors = linear(example("conservative").ConservativeDQN).loss(ONE)

    assert td_errors.tolist() == [2.0]
    # Huber's of 2 is 2 - 0.5.
    assert loss.item() == pytest.approx(1.5 + 0.5 * (math.log(math.exp(1) + math.exp(2)) - 2))


def test_soft_target_is_what_a_hand_works_out(example: Any) -> None:
    target = linear(example("soft").SoftDQN).td_target(ONE)

    soft_maximum = 0.1 * math.log(math.exp(1 / 0.1) + math.exp(2 / 0.1))
    assert target.tolist() == pytest.approx([3 + 0.5 * soft_maximum])
    assert not target.requires_grad


def test_environments_explore_by_an_epsilon_of_their_own(example: Any) -> None:
    exploration = example("spread").SpreadEpsilon(3, 2, zeta_exponent=None)

    explored = np.mean([exploration.explore(0.5) != GREEDY for _ in range(20_000)], axis=0)

    # Exponents 1, 4.5 and 8.
    assert explored == pytest.approx([0.5, 0.5**4.5, 0.5**8], abs=0.01)


def test_experience_asks_its_own_exploration_before_every_step(example: Any) -> None:
    module = example("spread")
    calls = []

    class Counted(module.SpreadEpsilon):  # type: ignore[name-defined, misc]
        def explore(self, epsilon: float) -> Any:
            calls.append(epsilon)
            return super().explore(epsilon)

    module.SpreadEpsilon = Counted
    calls_in_a_run(DQN, "loss", module.SpreadExperience("CartPole-v1", **SMALL))

    assert len(calls) == SMALL["steps_per_epoch"] // SMALL["num_envs"]
