"""Products are the same, whichever library makes them."""

from __future__ import annotations

import pytest
import torch

from acro.dqn import products
from acro.dqn.gradients import DirectLayers
from acro.dqn.networks import QNetwork

# Below and above where oneDNN takes over.
SIZES = [(5, 6, 3), (128, 128, 128), (301, 97, 130)]

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")


@pytest.fixture(autouse=True, params=[False, pytest.param(True, marks=needs_onednn)], ids=["mkl", "onednn"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_HAS_FAST_ONEDNN", request.param)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES)
def test_linear_layer(rows: int, inputs: int, outputs: int, relu: bool) -> None:
    torch.manual_seed(0)
    left, weight, bias = torch.randn(rows, inputs), torch.randn(outputs, inputs).t(), torch.randn(outputs)

    expected = left @ weight + bias
    torch.testing.assert_close(
        products.linear(left, weight, bias, relu=relu), expected.relu() if relu else expected, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("is_given_out", [False, True])
@pytest.mark.parametrize(("rows", "inner", "columns"), SIZES)
def test_product_of_transposed_factors(rows: int, inner: int, columns: int, is_given_out: bool) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(inner, rows).t(), torch.randn(columns, inner).t()
    out = torch.full((rows, columns), torch.nan) if is_given_out else None

    found = products.product(left, right, out=out)

    assert out is None or found is out
    torch.testing.assert_close(found, left.double().mm(right.double()).float(), atol=1e-4, rtol=1e-4)


def test_layers_answer_as_the_network_does() -> None:
    torch.manual_seed(0)
    network, obs = QNetwork(6, 3, (160, 160)), torch.randn(128, 6)

    expected = network(obs)
    expected.square().sum().backward()
    layers = DirectLayers(network)
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    *inputs, outputs = layers.activate(obs)
    with torch.no_grad():
        layers.backpropagate(inputs, 2 * outputs)

    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(layers.answer(obs), expected)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("vendor", "family", "expected"),
    [("AuthenticAMD", 26, True), ("AuthenticAMD", 25, False), ("GenuineIntel", 26, False)],
)
def test_zen_5_is_known_by_its_family(vendor: str, family: int, expected: bool) -> None:
    cpuinfo = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 2\n"
    assert products.is_zen_5(cpuinfo) is expected


def test_unknown_processor_is_not_zen_5() -> None:
    assert not products.is_zen_5("")
