"""Trained agents out of checkpoints."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any

from torch import nn

from acro import envs
from acro.dqn.module import DQN
from acro.storage.checkpoints import read_checkpoint


def load_agent(
    path: str | os.PathLike[str], *, env_id: str | None = None, network: str | None = None
) -> tuple[DQN, str, dict[str, Any]]:
    """Read a checkpoint for playing.

    Args:
        path: The checkpoint.
        env_id: The environment to play in; None for the checkpoint's.
        network: `module:name` of what makes the Q-network, called without arguments; None for acro's own.

    Returns:
        The module in evaluation mode, the environment's id and the arguments for making it.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It is damaged or foreign, does not fit, or names code that the caller has not named.
        ImportError: `network` cannot be imported.
    """
    checkpoint = read_checkpoint(path)
    for name in ("hyper_parameters", "datamodule_hyper_parameters", "state_dict"):
        if not isinstance(checkpoint.get(name), dict):
            raise ValueError(f"{path} is no checkpoint of a DQN trained on an Experience: it has no {name}")
    model_settings, settings = checkpoint["hyper_parameters"], checkpoint["datamodule_hyper_parameters"]
    trained_in = settings.get("env_id")
    env_kwargs: dict[str, Any] = (settings.get("env_kwargs") or {}) if env_id in (None, trained_in) else {}
    if env_id is None:
        env_id = _refuse_import(path, trained_in)
    try:
        env: Any = envs.make(env_id, **env_kwargs)
    except TypeError as error:
        raise ValueError(f"cannot make {env_id} with the arguments {env_kwargs!r}: {error}") from error
    sizes = {"observation_size": math.prod(env.observation_space.shape), "num_actions": int(env.action_space.n)}
    env.close()
    for name, found in sizes.items():
        if model_settings.get(name) != found:
            raise ValueError(f"{path} was trained with {name} {model_settings.get(name)}; {env_id} has {found}")
    own = None if network is None else _make_network(network)
    try:
        model = DQN(**model_settings, network=own)
        model.load_state_dict(checkpoint["state_dict"])
    except (TypeError, RuntimeError) as error:
        hint = "" if network else "; where the Q-network is a class of yours, name it with --network MODULE:NAME"
        raise ValueError(f"the weights in {path} do not fit {network or 'acro.QNetwork'}{hint}") from error
    return model.eval(), env_id, env_kwargs


def _refuse_import(path: str | os.PathLike[str], env_id: object) -> str:
    if not isinstance(env_id, str):
        raise ValueError(f"{path} was trained in an environment without an id; name one with --env_id")
    module, colon, _ = env_id.partition(":")
    if colon:
        raise ValueError(
            f"{path} was trained in {env_id}, which would import {module}: "
            f"a checkpoint runs no code here, so name it yourself with --env_id {env_id}"
        )
    return env_id


def _make_network(name: str) -> nn.Module:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f"--network {name}: expected MODULE:NAME")
    try:
        network = getattr(importlib.import_module(module), attribute)()
    except AttributeError as error:
        raise ValueError(f"--network {name}: {error}") from error
    except TypeError as error:
        raise ValueError(f"--network {name} cannot be made without arguments: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"--network {name} made a {type(network).__name__}, expected a torch.nn.Module")
    return network
