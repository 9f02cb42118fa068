"""Which checkpoints a network can continue from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What must be the same for a checkpoint to fit.
_SIZES = (
    "observation_size",
    "num_actions",
    "hidden",
    "convolutions",
    "dueling",
    "noisy",
    "layer_norm",
    "head",
    "num_quantiles",
    "num_atoms",
)
# Under a categorical head, what its probabilities are of.
_SUPPORT = ("v_min", "v_max", "return_range")


def check_same_network(found: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that the settings `found` in a checkpoint make the network of those `here`.

    Raises:
        ValueError: They make another one.
    """
    names = _SIZES + _SUPPORT if here.get("head") == "categorical" else _SIZES
    # A checkpoint from before a setting existed has what was the only way then: the default.
    pairs = {name: (found.get(name, here.get(name)), here.get(name)) for name in names}
    differing = [f"{name} is {its!r} in it, {own!r} here" for name, (its, own) in pairs.items() if its != own]
    if (found["average_updates"] is None) != (here["average_updates"] is None):
        differing.append(f"average_updates is {found['average_updates']} in it, {here['average_updates']} here")
    if differing:
        raise ValueError(f"cannot continue from this checkpoint with another network: {'; '.join(differing)}")
