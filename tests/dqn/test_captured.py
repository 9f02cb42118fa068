"""A round that could be captured as a CUDA graph does what the plain one does; on a GPU it is captured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import random_rounds
from runs import differences, last_checkpoint, train
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from acro import DQN
from acro.dqn.captured import StaticInputs
from acro.replay import Batch

CPU, GPU = torch.device("cpu"), torch.device("cuda")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

VARIANTS: dict[str, dict[str, Any]] = {
    "double": {},
    "soft target, mean square, no clipping": {"tau": 0.1, "loss": "mse", "max_grad_norm": None},
    "dueling, averaged": {"dueling": True, "average_updates": 7},
    "quantiles": {"head": "quantile", "num_quantiles": 5},
    "categories": {"head": "categorical", "num_atoms": 11, "v_min": -10.0, "v_max": 10.0},
    "munchausen": {"munchausen_temperature": 0.03},
}


@pytest.mark.parametrize("device", [CPU, pytest.param(GPU, marks=needs_gpu)], ids=["cpu", "gpu"])
@pytest.mark.parametrize("is_prioritized", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_captured_rounds_learn_what_plain_ones_do(variant: str, is_prioritized: bool, device: torch.device) -> None:
    plain, captured = modules = [make(VARIANTS[variant], device) for _ in range(2)]
    for seed, count in enumerate([5, 1, 5, 5, 2]):
        rounds = random_rounds(count, is_prioritized=is_prioritized, seed=seed)
        on_device = Batch(*(None if column is None else column.to(device) for column in rounds))
        expected = plain.update(on_device)
        found = captured._count(
            captured._updater.captured_round(rounds, captured.updates, captured.optimizer.step_directly)
        )
        torch.testing.assert_close(found, expected)
        for module in modules:
            module.optimizer.param_groups[0]["lr"] *= 0.7

    assert captured.updates == plain.updates == 18
    for left, right in zip(captured.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def make(settings: dict[str, Any], device: torch.device) -> DQN:
    torch.manual_seed(0)
    module = DQN(4, 3, (8, 8), target_update_every=3, **settings).to(device)
    module.optimizer = module.configure_optimizers()["optimizer"]
    return module


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_captured_stays_on_the_gpu(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have a device and no numbers: asking for one, or mixing devices, raises, with or without a GPU."""
    stepped: list[set[str]] = []

    def fused_adam(*columns: list[torch.Tensor], lr: torch.Tensor, **_: Any) -> None:
        stepped.append({tensor.device.type for column in columns for tensor in column} | {lr.device.type})

    # It has no fake form.
    monkeypatch.setattr(torch, "_fused_adam_", fused_adam)
    # The target network is a deep copy; its tensors must be fakes of the same mode.
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda self, memo: self, raising=False)
    with FakeTensorMode(), torch.device("cuda:0"):
        module = DQN(4, 3, (8, 8), target_update_every=3, **VARIANTS[variant])
        module.configure_optimizers()
        columns = {name: torch.empty(3, 16) for name in ("rewards", "discounts", "weights")}
        columns |= {"obs": torch.empty(3, 16, 4), "next_obs": torch.empty(3, 16, 4)}
        columns |= {"actions": torch.empty(3, 16, dtype=torch.int64)}
        columns |= {"target_shares": torch.empty(2), "learning_rate": torch.empty(())}
        td_errors = module._updater._all_but_last_step(columns)
        with pytest.raises(DataDependentOutputException):
            td_errors.sum().item()

    assert (td_errors.shape, td_errors.device.type) == ((3, 16), "cuda")
    assert stepped == [{"cuda"}, {"cuda"}]


@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("gpu", marks=needs_gpu)])
def test_run_of_captured_rounds_resumes_to_the_bit(
    accelerator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DQN, "_is_captured", True)
    settings: dict[str, Any] = {"epochs": 2, "data": {"prioritized": True}, "accelerator": accelerator}
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", **settings)
    train(tmp_path / "stopped", stop_after=11, **settings)
    train(tmp_path / "stopped", resume=True, **settings)

    assert differences(last_checkpoint(tmp_path / "straight"), last_checkpoint(tmp_path / "stopped")) == []


def test_static_inputs_keep_their_place_and_take_every_dtype() -> None:
    first = {"a": torch.arange(5, dtype=torch.uint8), "b": torch.randn(3, 2), "c": torch.tensor([True, False])}
    inputs = StaticInputs({**first, "d": torch.tensor(0.5)}, CPU)
    places = {name: tensor.data_ptr() for name, tensor in inputs.tensors.items()}
    for values in ({**first, "d": torch.tensor(1.5)}, {name: 1 - value.float() for name, value in first.items()}):
        inputs.fill({"d": torch.tensor(2.5), **values})
        for name, value in values.items():
            assert torch.equal(inputs.tensors[name], value.to(inputs.tensors[name].dtype))
            assert inputs.tensors[name].data_ptr() == places[name]
            assert inputs.tensors[name].data_ptr() % inputs.tensors[name].itemsize == 0
