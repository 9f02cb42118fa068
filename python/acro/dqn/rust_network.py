"""Greedy actions of a `QNetwork` in Rust (`rust/network`), and when Rust can replace torch."""

from __future__ import annotations

import operator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from acro._rust import Network
from acro.dqn.networks import QNetwork
from acro.dqn.optimizer import flatten_parameters
from acro.overrides import MODULE_HOOKS, has_module_hooks

_HOOKS_OF_ALL_MODULES = [getattr(torch.nn.modules.module, f"_global{hooks}") for hooks in MODULE_HOOKS]


def why_not_network(network: nn.Module) -> str | None:
    """Return why Rust cannot compute what `network` does; None if it can."""
    if type(network) is not QNetwork:
        return f"the network is a {type(network).__name__}, not acro.QNetwork"
    if network.noisy:
        return "the network is noisy"
    parameter = next(network.parameters())
    if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        return f"the network is {parameter.dtype} on {parameter.device}, not torch.float32 on the CPU"
    if any(_HOOKS_OF_ALL_MODULES) or has_module_hooks(network):
        return "the network's layers have hooks"
    if repr(network) != network.built_as or "forward" in vars(network):
        return "the network's layers were replaced"
    return None


def make_network(network: QNetwork) -> Network:
    """Return Rust's network of the same layers; it computes with flat parameters that it is given."""
    return Network(
        network.observation_size,
        network.hidden,
        network.num_actions,
        outputs=network.outputs_per_action or 1,
        dueling=network.dueling,
        layer_norm=network.layer_norm,
    )


class Layers:
    """The layers and parameters of a network as they are now, to notice a later change of them."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        # A call of `modules` and `parameters` for every action would take longer than the action.
        modules = list(network.modules())
        self._named = [named for module in modules for named in (module._modules, module._parameters)]
        self._hooks = _HOOKS_OF_ALL_MODULES + [getattr(module, hooks) for module in modules for hooks in MODULE_HOOKS]
        self._parts = self._find_parts()

    def _find_parts(self) -> list[object]:
        return list(chain.from_iterable(map(dict[str, Any].values, self._named)))

    def are_unchanged(self) -> bool:
        """Whether no layer or parameter was replaced, and no hook was added."""
        parts = self._find_parts()
        return (
            len(parts) == len(self._parts)
            and all(map(operator.is_, parts, self._parts))
            and not any(self._hooks)
            and "forward" not in vars(self._network)
        )


class RustActing:
    """Chooses a QNetwork's greedy actions: for few observations, calling torch takes longer than the arithmetic."""

    @classmethod
    def of(cls, network: nn.Module) -> RustActing | None:
        """Return one for `network`; None if Rust cannot compute the same."""
        return cls(network) if isinstance(network, QNetwork) and why_not_network(network) is None else None

    def __init__(self, network: QNetwork) -> None:
        self._network = make_network(network)
        self._parameters = list(network.parameters())
        self._weights = flatten_parameters(self._parameters).numpy()
        self._layers = Layers(network)
        self._addresses = self._find_addresses()

    def _find_addresses(self) -> list[int]:
        return [parameter.data_ptr() for parameter in self._parameters]

    def is_current(self) -> bool:
        """Whether the network's layers and parameters are the same, where they were."""
        return self._find_addresses() == self._addresses and self._layers.are_unchanged()

    def __call__(self, obs: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return the first action of largest value for each row of `obs` (N, ...), (N,)."""
        rows = np.asarray(obs, dtype=np.float32, order="C")
        if len(rows) == 1:
            # A product with one row is summed in another order; with two or more, a row's result does not depend on the
            # others. An environment's actions must not depend on how many are stepped with it.
            return self._network.greedy_actions(self._weights, np.concatenate([rows, rows]))[:1]
        return self._network.greedy_actions(self._weights, rows)
