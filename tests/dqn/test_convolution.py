"""Convolutional networks: which observations get one, and what it makes of them."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from acro import DQN, Experience
from acro.dqn.convolution import MINATAR, NATURE, ConvQNetwork, Planes, planes_of
from acro.dqn.networks import QNetwork
from acro.replay import Batch


@pytest.mark.parametrize(
    ("shape", "dtype", "planes"),
    [
        ((4, 84, 84), "uint8", Planes(4, 84, 84, False)),
        ((84, 84), "uint8", Planes(1, 84, 84, False)),
        ((84, 84), "float32", None),
        ((210, 160, 3), "uint8", Planes(3, 210, 160, True)),
        ((3, 64, 48), "float32", Planes(3, 64, 48, False)),
        ((10, 10, 4), "bool", Planes(4, 10, 10, True)),
        ((10, 10, 10), "bool", Planes(10, 10, 10, True)),
        ((4, 96, 96, 3), "uint8", Planes(12, 96, 96, True)),
        ((2, 3, 64, 64), "uint8", Planes(6, 64, 64, False)),
        ((3, 5, 7), "float32", None),
        ((6,), "uint8", None),
    ],
)
def test_pictures_are_told_by_their_shape(shape: tuple[int, ...], dtype: str, planes: Planes | None) -> None:
    assert planes_of(shape, dtype) == planes


def layer_of(convolution: nn.Module) -> tuple[int, int, int]:
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels, convolution.kernel_size[0], convolution.stride[0]


def test_a_picture_of_84_pixels_has_the_published_network() -> None:
    network = ConvQNetwork((4, 84, 84), 6)
    layers = [layer_of(layer) for layer in network.convolutions]
    assert layers == list(NATURE)
    # Mnih et al. (2015): 64 x 7 x 7 numbers, 512 units, 6 actions; 1,687,206 weights in all.
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_687_206


def test_a_picture_of_10_cells_has_the_published_network() -> None:
    network = ConvQNetwork((10, 10, 4), 6, (128,))
    layers = [layer_of(layer) for layer in network.convolutions]
    assert layers == list(MINATAR)
    # Young and Tian (2019): 16 x 8 x 8 numbers, 128 units.
    assert sum(parameter.numel() for parameter in network.parameters()) == 4 * 16 * 9 + 16 + 1024 * 128 + 128 + 129 * 6


def test_bytes_count_from_0_to_1() -> None:
    network = ConvQNetwork((4, 40, 40), 3, (16,))
    pixels = torch.randint(0, 256, (2, 4, 40, 40), dtype=torch.uint8)
    kept = pixels.clone()
    assert torch.equal(network(pixels), network(pixels.float() / 255.0))
    assert torch.equal(pixels, kept)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_network_of_bytes_scales_the_same_values_of_any_dtype(dtype: torch.dtype) -> None:
    network = ConvQNetwork((4, 40, 40), 3, (16,), observation_dtype="uint8")
    pixels = torch.randint(0, 256, (2, 4, 40, 40), dtype=torch.uint8)
    expected = network(pixels)
    given = pixels.to(dtype)
    kept = given.clone()
    assert torch.equal(network(given), expected)
    assert torch.equal(given, kept)


def test_an_observation_of_floats_is_left_as_it_is() -> None:
    network = ConvQNetwork((4, 40, 40), 3, (16,))
    pixels = torch.rand(2, 4, 40, 40)
    kept = pixels.clone()
    network(pixels)
    assert torch.equal(pixels, kept)


def test_channels_last_are_the_same_picture() -> None:
    torch.manual_seed(0)
    last = ConvQNetwork((12, 10, 4), 3, (16,))
    first = ConvQNetwork((4, 12, 10), 3, (16,))
    first.load_state_dict(last.state_dict())
    obs = torch.rand(5, 12, 10, 4)
    assert torch.allclose(last(obs), first(obs.permute(0, 3, 1, 2)), atol=1e-6)


def test_stacked_colours_are_channels_of_one_picture() -> None:
    network = ConvQNetwork((2, 12, 10, 3), 3, (16,))
    plain = ConvQNetwork((6, 12, 10), 3, (16,))
    plain.load_state_dict(network.state_dict())
    obs = torch.rand(5, 2, 12, 10, 3)
    assert torch.allclose(network(obs), plain(obs.permute(0, 1, 4, 2, 3).flatten(1, 2)), atol=1e-6)


def batch(shape: tuple[int, ...], dtype: torch.dtype) -> Batch:
    torch.manual_seed(0)
    obs = torch.randint(0, 2, (2, 8, *shape)).to(dtype)
    zeros = torch.zeros(2, 8)
    actions = torch.randint(0, 3, (2, 8))
    return Batch(obs, actions, torch.ones(2, 8), obs, zeros, zeros.bool(), actions)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dueling": True},
        {"noisy": True},
        {"layer_norm": True},
        {"head": "quantile", "num_quantiles": 4},
        {"head": "categorical", "num_atoms": 5, "v_min": 0.0, "v_max": 2.0, "dueling": True},
    ],
)
@pytest.mark.parametrize(("shape", "dtype"), [((10, 10, 4), "bool"), ((2, 36, 36), "uint8")])
def test_every_head_learns_from_pictures(settings: dict[str, Any], shape: tuple[int, ...], dtype: str) -> None:
    dqn = DQN(
        torch.Size(shape).numel(),
        3,
        (16,),
        observation_shape=shape,
        observation_dtype=dtype,
        learning_rate=0.01,
        **settings,
    )
    assert type(dqn.q_network) is ConvQNetwork
    rounds = batch(shape, getattr(torch, dtype))
    dqn.configure_optimizers()
    errors = [float(dqn.learn(rounds).abs().mean()) for _ in range(30)]
    assert errors[-1] < 0.5 * errors[0]
    assert dqn(dqn.example_input_array).shape == (1, 3)


def test_convolutions_may_be_told() -> None:
    settings: dict[str, Any] = {"observation_shape": (4, 84, 84), "observation_dtype": "uint8"}
    told = DQN(4 * 84 * 84, 3, (16,), convolutions=[(8, 8, 8)], **settings)
    assert isinstance(told.q_network, ConvQNetwork)
    assert len(told.q_network.convolutions) == 1
    none = DQN(4 * 84 * 84, 3, (16,), convolutions=[], **settings)
    assert type(none.q_network) is QNetwork


@pytest.mark.parametrize(
    ("shape", "convolutions", "message"),
    [
        (
            (10, 10, 4),
            [(16, 3, 2), (16, 5, 1)],
            r"^convolution 2 has a kernel of 5 x 5, and only 4 x 4 are left of the picture's 10 x 10; ",
        ),
        ((10, 10, 4), [(16, 3, 0)], r"^convolutions must be \(channels, kernel, stride\) of at least 1 each, got "),
        (
            (3, 5, 7),
            [(16, 3, 1)],
            r"^observation_shape must be a picture's, with sides of at least 8, for convolutions",
        ),
        ((6,), [(16, 3, 1)], r"^observation_shape must be a picture's, .* got \(6,\)$"),
    ],
)
def test_a_convolution_that_does_not_fit_says_the_sizes(
    shape: tuple[int, ...], convolutions: list[tuple[int, int, int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DQN(torch.Size(shape).numel(), 3, convolutions=convolutions, observation_shape=shape)


@pytest.mark.parametrize(
    ("env_id", "frame_stack", "settings"),
    [
        ("MinAtar/Breakout-v1", None, {}),
        ("CartPole-v1", 4, {}),
        ("CartPole-v1", 4, {"observation_shape": (16,)}),
        ("ALE/Pong-v5", 4, {"observation_shape": (4, 84, 84)}),
    ],
)
def test_observations_of_another_shape_than_the_experience_has_are_an_error(
    env_id: str, frame_stack: int | None, settings: dict[str, Any]
) -> None:
    experience = Experience(env_id, capacity=1_000, frame_stack=frame_stack)
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    module = DQN(experience.observation_size, experience.num_actions, **settings)

    with pytest.raises(ValueError, match=r"observations must be \(.*give observation_shape=experience.observation_sh"):
        trainer.fit(module, experience)


def test_agent_of_bytes_acts_on_the_same_values_alike() -> None:
    shape = (3, 40, 40)
    module = DQN(4_800, 4, observation_shape=shape, observation_dtype="uint8").eval()
    obs = np.random.default_rng(0).integers(256, size=(50, *shape), dtype=np.uint8)
    expected = module.act(obs)

    np.testing.assert_array_equal(module.act(obs.astype(np.float32)), expected)
    np.testing.assert_array_equal(module.act(obs.astype(np.int64)), expected)
    assert module.act(obs[0].tolist()) == np.asarray(expected)[0]
    for wrong in (obs / 255, obs.astype(np.int64) - 1):
        with pytest.raises(ValueError, match="obs must have values of uint8, got"):
            module.act(wrong)
