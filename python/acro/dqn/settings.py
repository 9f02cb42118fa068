"""Checks of the settings of a `DQN`, alone, together and against a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from torch import nn

from acro.dqn.convolution import ConvQNetwork, planes_of
from acro.dqn.heads import LOSSES, support_of

# Settings that must be those of the checkpoint.
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
# With a categorical head also those that set its atoms.
_SUPPORT = ("v_min", "v_max", "return_range")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the settings, by the names of `DQN`'s arguments.

    Raises:
        ValueError: A setting is out of its range, or does not fit another one.
        TypeError: `optimizer` or `head` has the wrong type.
    """
    optional = [
        name for name in ("average_updates", "munchausen_temperature", "max_grad_norm") if settings[name] is not None
    ]
    for name in ("target_update_every", *(["average_updates"] if "average_updates" in optional else [])):
        if not isinstance(settings[name], Integral):
            raise ValueError(f"{name} must be a whole number, got {settings[name]!r}")
    for name in ("observation_size", "num_actions", "learning_rate", "target_update_every", "tau", *optional):
        if not settings[name] > 0:
            raise ValueError(f"{name} must be above 0, got {settings[name]}")
    if not all(isinstance(width, Integral) and int(width) >= 1 for width in settings["hidden"]):
        raise ValueError(f"hidden must be whole numbers of at least 1, got {settings['hidden']}")
    if settings["tau"] > 1.0:
        raise ValueError(f"tau must be at most 1, a share of the online network, got {settings['tau']}")
    if settings["loss"] not in LOSSES:
        raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {settings['loss']!r}")
    if settings["backend"] not in ("auto", "torch", "rust"):
        raise ValueError(f"backend must be auto, torch or rust, got {settings['backend']!r}")
    if settings["learning_rate_end"] is not None and settings["learning_rate_decay_updates"] < 1:
        raise ValueError(
            f"learning_rate_end={settings['learning_rate_end']} needs learning_rate_decay_updates of at least 1"
        )
    optimizer, head = settings["optimizer"], settings["head"]
    if optimizer is not None and not callable(optimizer):
        raise TypeError(f"optimizer must be called with parameters, such as torch.optim.AdamW, got {optimizer!r}")
    if optimizer is not None:
        for name, unset in {"learning_rate_end": None, "cuda_graph": False}.items():
            if settings[name] != unset:
                raise ValueError(f"{name}={settings[name]} has no effect on an optimizer of your own; leave it out")
    if not isinstance(head, str) and (isinstance(head, type) or not hasattr(head, "losses")):
        raise TypeError(f"head must be value, quantile, categorical or a Head of your own, got {head!r}")


def check_same_network(found: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that the settings `found` in a checkpoint make the same network as those `here`.

    Raises:
        ValueError: They make another network.
    """
    names = _SIZES + _SUPPORT if here.get("head") == "categorical" else _SIZES
    # A checkpoint that lacks a setting was made with its default.
    pairs = {name: (found.get(name, here.get(name)), here.get(name)) for name in names}
    differing = [
        f"{name} is {its!r} in it, {own!r} here" for name, (its, own) in pairs.items() if _lists(its) != _lists(own)
    ]
    its, own = (settings.get("average_updates", here.get("average_updates")) for settings in (found, here))
    if (its is None) != (own is None):
        differing.append(f"average_updates is {its} in it, {own} here")
    if differing:
        raise ValueError(f"cannot continue from this checkpoint with another network: {'; '.join(differing)}")


def _lists(value: Any) -> Any:
    """Return `value` with lists for tuples, which YAML does not have."""
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def check_same_support(found: Mapping[str, Any], support: tuple[float, float]) -> None:
    """Check that the settings `found` in a checkpoint make the same support of a categorical head.

    Raises:
        ValueError: They make another one: the same weights would mean other returns.
    """
    if found.get("head") != "categorical":
        return
    its = support_of(found.get("v_min"), found.get("v_max"), found.get("return_range"))
    if its != support:
        raise ValueError(
            f"the categorical head of this checkpoint has returns from {its[0]:g} to {its[1]:g}, here they are from "
            f"{support[0]:g} to {support[1]:g}; give v_min={its[0]:g}, v_max={its[1]:g}"
        )


def check_observations(
    experience: object,
    network: nn.Module,
    *,
    observation_size: int,
    num_actions: int,
    observation_shape: tuple[int, ...],
    observation_dtype: str,
) -> None:
    """Check that a module with this `network` is made for what `experience` has, where that tells it.

    Raises:
        ValueError: It is not.
    """
    for name, own in {"observation_size": observation_size, "num_actions": num_actions}.items():
        found = getattr(experience, name, own)
        if found != own:
            raise ValueError(f"{name} must be {found} as the Experience's, got {own}; use experience.{name}")
    shape = getattr(experience, "observation_shape", observation_shape)
    dtype = getattr(experience, "observation_dtype", observation_dtype)
    # The dtype decides whether an array is a picture, and whether a picture is scaled.
    is_other_picture = planes_of(shape, dtype) != planes_of(shape, observation_dtype) or (
        isinstance(network, ConvQNetwork) and (dtype == "uint8") != (observation_dtype == "uint8")
    )
    if shape != observation_shape or is_other_picture:
        raise ValueError(
            f"observations must be {shape} {dtype} as the Experience's, got {observation_shape} {observation_dtype}; "
            "give observation_shape=experience.observation_shape, observation_dtype=experience.observation_dtype"
        )
