"""A round that could be captured as a CUDA graph does what the plain one does; on a GPU it is captured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from batches import random_rounds
from runs import differences, last_checkpoint, train
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from acro import DQN, Experience
from acro.dqn.cuda_graph import CudaGraphUpdates, plain_round, round_inputs
from acro.dqn.optimizer import FlatAdam
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


@pytest.mark.parametrize("is_prioritized", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_captured_is_a_round_but_for_its_last_step(variant: str, is_prioritized: bool) -> None:
    """On the CPU, without capturing: the same numbers as the loop's, with shares and learning rate as inputs."""
    plain, other = modules = [make(VARIANTS[variant], CPU) for _ in range(2)]
    for seed, count in enumerate([5, 1, 5, 5, 2]):
        rounds = random_rounds(count, is_prioritized=is_prioritized, seed=seed)
        expected = plain.learn(rounds)
        found = plain_round(other, adam_of(other), round_inputs(other, adam_of(other), rounds))
        other.updates += count - 1
        other.optimizer.step()
        other.follow()
        other.average(count)
        torch.testing.assert_close(found, expected)
        assert other.statistics.keys() == plain.statistics.keys()
        for module in modules:
            module.optimizer.param_groups[0]["lr"] *= 0.7

    assert other.updates == plain.updates == 18
    for left, right in zip(other.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@needs_gpu
@pytest.mark.parametrize("variant", VARIANTS)
def test_captured_rounds_learn_what_plain_ones_do(variant: str) -> None:
    plain, captured = (make({**VARIANTS[variant], "cuda_graph": is_captured}, GPU) for is_captured in (False, True))
    assert isinstance(captured.update_backend, CudaGraphUpdates)
    for seed, count in enumerate([5, 1, 5, 5, 2]):
        rounds = random_rounds(count, seed=seed)
        expected = plain.learn(rounds.to(GPU))
        torch.testing.assert_close(captured.learn(rounds), expected)
        assert captured.statistics.keys() == plain.statistics.keys()
        for name, value in plain.statistics.items():
            torch.testing.assert_close(captured.statistics[name], value)

    for left, right in zip(captured.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@needs_gpu
def test_rounds_go_on_without_a_graph_where_none_can_be_made() -> None:
    class Unpredictable(DQN):
        def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            loss, td_errors = super().loss(batch)
            return loss * (1.0 if loss.item() > 0 else 2.0), td_errors

    module = Unpredictable(4, 3, (8, 8), cuda_graph=True).to(GPU)
    module.configure_optimizers()
    with pytest.warns(UserWarning, match="rounds go on without a CUDA graph"):
        module.learn(random_rounds(3))
    # Without another warning.
    module.learn(random_rounds(3))
    plain = DQN(4, 3, (8, 8)).to(GPU)
    plain.configure_optimizers()
    for _ in range(2):
        plain.learn(random_rounds(3).to(GPU))

    assert module.updates == 6
    for left, right in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@needs_gpu
def test_layer_frozen_while_training_stays_as_it_is_under_a_graph() -> None:
    plain, captured = (make({"cuda_graph": is_captured}, GPU) for is_captured in (False, True))
    for module in (plain, captured):
        first = module.q_network.get_submodule("layers.0")
        for is_trained in (True, False, True):
            first.requires_grad_(is_trained)
            before = [parameter.clone() for parameter in first.parameters()]
            rounds = random_rounds(3, seed=int(is_trained))
            module.learn(rounds if module is captured else rounds.to(GPU))
            is_same = all(torch.equal(*pair) for pair in zip(before, first.parameters(), strict=True))
            assert is_same != is_trained

    for left, right in zip(captured.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@needs_gpu
@pytest.mark.parametrize("head", ["value", "quantile"])
def test_captured_rounds_of_pictures_learn_what_plain_ones_do(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As while a graph is made, or convolutions would be summed in another order.
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    settings: dict[str, Any] = {"observation_shape": (4, 84, 84), "observation_dtype": "uint8", "head": head}
    modules = [DQN(4 * 84 * 84, 3, (32,), **settings, cuda_graph=is_captured) for is_captured in (False, True)]
    for module in modules:
        module.to(GPU).configure_optimizers()
    plain, captured = modules
    for seed, count in enumerate([4, 2, 4]):
        rounds = random_rounds(count, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        shape = (*rounds.rewards.shape, 4, 84, 84)
        obs, next_obs = (torch.randint(256, shape, generator=generator, dtype=torch.uint8) for _ in range(2))
        rounds = rounds._replace(obs=obs, next_obs=next_obs)
        expected = plain.learn(rounds.to(GPU))
        torch.testing.assert_close(captured.learn(rounds), expected, rtol=1e-3, atol=1e-4)

    assert captured.update_backend is not None
    for left, right in zip(captured.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


@needs_gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_batches_for_a_gpu_are_drawn_into_page_locked_memory(cuda_graph: bool, tmp_path: Path) -> None:
    class Watch(DQN):
        seen: list[bool]

        def training_step(self, batch: Batch, batch_idx: int = 0) -> None:
            if len(batch.rewards):
                self.seen = [*getattr(self, "seen", []), batch.obs.is_pinned() and batch.indices.is_pinned()]
            super().training_step(batch, batch_idx)

    experience = Experience(num_envs=4, learning_starts_steps=64, steps_per_epoch=128, eval_episodes=1)
    module = Watch(6, 3, (8, 8), cuda_graph=cuda_graph)
    settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    L.Trainer(accelerator="gpu", max_epochs=1, default_root_dir=tmp_path, **settings).fit(module, experience)
    assert module.updates == 32
    assert all(module.seen)


@pytest.mark.parametrize("name", ["q_network", "target_network"])
def test_round_of_a_network_with_hooks_is_left_to_the_loop(name: str) -> None:
    module = make({}, CPU)
    updates, rounds = CudaGraphUpdates(module, adam_of(module)), random_rounds(3)
    handle = getattr(module, name).get_submodule("layers.0").register_forward_hook(lambda *_: None)
    assert updates(rounds, module.optimizer.step) is None
    handle.remove()
    next(module.q_network.parameters()).register_hook(lambda gradient: None)
    assert updates(rounds, module.optimizer.step) is None
    assert module.updates == 0


def test_cuda_graph_without_a_gpu_is_an_error() -> None:
    with pytest.raises(ValueError, match="cuda_graph must be False on cpu: CUDA graphs need a GPU"):
        DQN(4, 3, (8, 8), cuda_graph=True).configure_optimizers()


def make(settings: dict[str, Any], device: torch.device) -> DQN:
    torch.manual_seed(0)
    module = DQN(4, 3, (8, 8), target_update_every=3, backend="torch", **settings).to(device)
    module.configure_optimizers()
    return module


def adam_of(module: DQN) -> FlatAdam:
    assert isinstance(module.optimizer, FlatAdam)
    return module.optimizer


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_captured_stays_on_the_gpu(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have a device and no numbers: asking for one, or mixing devices, raises, with or without a GPU."""
    stepped: list[set[str]] = []

    def fused_adam(*columns: list[torch.Tensor], lr: torch.Tensor, **_: Any) -> None:
        stepped.append({tensor.device.type for column in columns for tensor in column} | {lr.device.type})

    # Neither has a fake form.
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
    monkeypatch.setattr(torch, "_fused_adam_", fused_adam)
    # The target network is a deep copy; its tensors must be fakes of the same mode.
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda self, memo: self, raising=False)
    with FakeTensorMode(), torch.device("cuda:0"):
        module = DQN(4, 3, (8, 8), target_update_every=3, backend="torch", **VARIANTS[variant])
        module.configure_optimizers()
        columns = {name: torch.empty(3, 16) for name in ("rewards", "discounts", "weights")}
        columns |= {"obs": torch.empty(3, 16, 4), "next_obs": torch.empty(3, 16, 4)}
        columns |= {"actions": torch.empty(3, 16, dtype=torch.int64)}
        columns |= {"target_shares": torch.empty(2), "learning_rate": torch.empty(())}
        td_errors = plain_round(module, adam_of(module), columns)
        with pytest.raises(DataDependentOutputException):
            td_errors.sum().item()

    assert (td_errors.shape, td_errors.device.type) == ((3, 16), "cuda")
    assert stepped == [{"cuda"}, {"cuda"}]


@pytest.fixture
def deterministic() -> Iterator[bool]:
    """Of a Trainer, whose setting outlives it."""
    yield True
    torch.use_deterministic_algorithms(False)


@needs_gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("env_id", ["acro/Acrobot-v1", "MinAtar/Breakout-v1"])
def test_run_on_a_gpu_resumes_to_the_bit(env_id: str, cuda_graph: bool, deterministic: bool, tmp_path: Path) -> None:
    model: dict[str, Any] = {"cuda_graph": cuda_graph}
    if env_id.startswith("MinAtar"):
        model |= {"observation_shape": (10, 10, 4), "observation_dtype": "bool"}
    data = {"prioritized": True, "env_kwargs": {"max_episode_steps": 60}}
    settings: dict[str, Any] = {"epochs": 2, "env_id": env_id, "data": data, "model": model, "accelerator": "gpu"}
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    module, _ = train(tmp_path / "straight", deterministic=deterministic, **settings)
    train(tmp_path / "stopped", stop_after=11, deterministic=deterministic, **settings)
    train(tmp_path / "stopped", resume=True, deterministic=deterministic, **settings)

    assert isinstance(module.update_backend, CudaGraphUpdates) == cuda_graph
    assert differences(last_checkpoint(tmp_path / "straight"), last_checkpoint(tmp_path / "stopped")) == []
