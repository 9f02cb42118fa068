"""Networks of one's own: what fits works everywhere, and what does not is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import lightning as L
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.spaces import Box, Discrete
from lightning.pytorch.callbacks import ModelSummary
from runs import SMALL
from torch import Tensor, nn

from acro import DQN, Experience


class Net(nn.Module):
    def __init__(self, inputs: int = 4, outputs: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, obs: Tensor) -> Tensor:
        values: Tensor = self.layer(obs)
        return values


class Pictures(gymnasium.Env[Any, Any]):
    """Eight steps of noise; action 1 is rewarded."""

    observation_space = Box(0, 255, (1, 12, 12), np.uint8)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._picture(), float(action), self.steps == 8, False, {}

    def _picture(self) -> Any:
        return self.np_random.integers(256, size=(1, 12, 12), dtype=np.uint8)


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 2))

    def forward(self, obs: Tensor) -> Tensor:
        values: Tensor = self.layers(obs.float() / 255)
        return values


def fit(module: Any, experience: Experience | None = None, *, folder: Path | None = None, **trainer: Any) -> None:
    settings = {"enable_model_summary": False, "enable_progress_bar": False, **trainer}
    made = L.Trainer(
        accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, logger=False, enable_checkpointing=False, **settings
    )
    made.fit(module, experience or Experience("CartPole-v1", **SMALL))
    if folder is not None:
        made.save_checkpoint(folder / "own.ckpt")


@pytest.fixture
def pictures() -> Experience:
    return Experience(Pictures, **{**SMALL, "env_kwargs": None})


def picture_dqn(experience: Experience) -> DQN:
    return DQN(
        experience.observation_size,
        experience.num_actions,
        network=CNN(),
        observation_shape=experience.observation_shape,
    )


def test_convolutional_network_trains_with_the_model_summary(
    pictures: Experience, caplog: pytest.LogCaptureFixture
) -> None:
    module = picture_dqn(pictures)
    # A command that ran in this process before has made Lightning quieter.
    caplog.set_level("INFO", logger="lightning.pytorch")

    # Where rich is installed, Lightning's own choice prints instead.
    fit(module, pictures, enable_model_summary=True, callbacks=[ModelSummary()])

    assert module.updates > 0
    assert "[1, 1, 12, 12]" in caplog.text


def test_convolutional_network_is_exported_without_an_example(pictures: Experience, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    module = picture_dqn(pictures).eval()

    module.to_onnx(tmp_path / "q.onnx", input_names=["obs"], dynamo=True)

    obs = torch.rand(1, 1, 12, 12) * 255
    (values,) = onnxruntime.InferenceSession(str(tmp_path / "q.onnx")).run(None, {"obs": obs.numpy()})
    np.testing.assert_allclose(values, module(obs).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_convolutional_network_is_loaded_with_its_observations_shape(pictures: Experience, tmp_path: Path) -> None:
    module = picture_dqn(pictures)
    fit(module, pictures, folder=tmp_path)
    obs = np.random.default_rng(0).integers(256, size=(5, 1, 12, 12), dtype=np.uint8)

    loaded = DQN.load_from_checkpoint(tmp_path / "own.ckpt", network=CNN())

    assert loaded.observation_shape == (1, 12, 12)
    assert np.array_equal(loaded.act(obs), module.eval().act(obs))


def test_convolutional_network_without_a_shape_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="if observations have several axes, give observation_shape"):
        DQN(144, 2, network=CNN())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Net, r"network must be a module, got the class Net; give Net\(\)"),
        (lambda obs: obs, r"network must be a torch\.nn\.Module, got function"),
        (Net(4, 3), r"network must return \(1, 2\) for one observation, got \(1, 3\)"),
        (Net(5, 2), r"network must take observations \(1, 4\) of float32, and failed: "),
        (Net().double(), r"network must take observations \(1, 4\) of float32, and failed: "),
        (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), "network must have no BatchNorm"),
    ],
)
def test_network_that_does_not_fit_is_one_sentence(network: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        DQN(4, 2, network=network)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": Net}, "head must be value, quantile, categorical or a Head of your own, got <class "),
        ({"head": 3}, "head must be value, quantile, categorical or a Head of your own, got 3"),
        ({"optimizer": "adam"}, "optimizer must be called with parameters, such as torch.optim.AdamW, got 'adam'"),
    ],
)
def test_part_that_is_no_part_is_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        DQN(4, 2, **settings)


@pytest.mark.parametrize(("sizes", "name"), [((5, 2), "observation_size"), ((4, 3), "num_actions")])
def test_sizes_of_another_environment_are_one_sentence(sizes: tuple[int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be . as the Experience's, got .; use experience.{name}"):
        fit(DQN(*sizes))


class DoubleCart(CartPoleEnv):
    """CartPole whose observations have 64 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(-np.inf, np.inf, (4,), np.float64)

    def reset(self, **arguments: Any) -> Any:
        obs, info = super().reset(**arguments)
        return obs.astype(np.float64), info

    def step(self, action: Any) -> Any:
        obs, *rest = super().step(action)  # type: ignore[no-untyped-call]
        return obs.astype(np.float64), *rest


def test_network_of_ones_own_gets_observations_in_32_bits() -> None:
    module = DQN(4, 2, network=Net())

    fit(module, Experience(DoubleCart, **{**SMALL, "env_kwargs": None}))

    assert module.updates > 0
    assert module.act([0.0, 0.1, 0.2, 0.3]) in (0, 1)


def test_compiled_network_trains() -> None:
    module = DQN(4, 2, network=torch.compile(Net(), backend="eager"))  # type: ignore[arg-type]

    fit(module)

    assert module.updates > 0


def test_compiled_module_is_refused() -> None:
    with pytest.raises(ValueError, match="DQN cannot be compiled: compile its network instead"):
        fit(torch.compile(DQN(4, 2), backend="eager"))
