"""Loads trained agents from checkpoints."""

from __future__ import annotations

import importlib
import inspect
import math
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from acro import envs
from acro.dqn.convolution import convolutions_for, planes_of, sizes_after
from acro.dqn.heads import Head
from acro.dqn.module import DQN
from acro.evaluation import Evaluation, evaluate
from acro.storage.checkpoints import read_checkpoint
from acro.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Agent:
    """A trained agent.

    Attributes:
        module: The DQN, in evaluation mode; it uses its averaged weights if it has them.
        env_id: The environment that it was evaluated in; None if that has no id.
        env_kwargs: Arguments that make the environment.
        frame_stack: Number of frames that it sees, (frame_stack, ...), the newest last; None for one frame without
            that axis.
    """

    module: DQN
    env_id: str | None
    env_kwargs: dict[str, Any]
    frame_stack: int | None = None

    def act(
        self, obs: ArrayLike, epsilon: float = 0.0, generator: np.random.Generator | None = None
    ) -> int | NDArray[np.int64]:
        """Return the greedy action of one observation, or those of several, as `DQN.act` does."""
        return self.module.act(obs, epsilon, generator)

    def evaluate(self, episodes: int = 100, seed: int = 0, env_id: str | None = None) -> Evaluation:
        """Play greedy episodes, many at once, as `acro.evaluate` does, in the environment that `make_env` makes."""
        env_id, env_kwargs = environment_for(self, env_id)
        return evaluate(self.module, env_id, episodes, seed, env_kwargs, self.frame_stack)

    def make_env(self, env_id: str | None = None, *, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """Return an environment that shows what the agent sees, the frames of a game stacked.

        Args:
            env_id: The environment; None for the one that the agent was evaluated in.
            render_mode: Gymnasium's render mode, such as "human" or "rgb_array".

        Raises:
            ValueError: It cannot be made, does not fit the agent, or only the checkpoint names the module to import.
        """
        env_id, env_kwargs = environment_for(self, env_id)
        env = envs.make(env_id, render_mode=render_mode, **env_kwargs)
        return env if self.frame_stack is None else FrameStackObservation(env, self.frame_stack)


def load_agent(
    path: str | os.PathLike[str], *, network: nn.Module | str | None = None, head: Head | None = None
) -> Agent:
    """Read a trained agent; no environment is made, and no code in the file is run.

    Args:
        path: A checkpoint, or a run's folder: its best checkpoint, else its last.
        network: A network of your own that was trained: a module of the same class, or "module:name" of a function or
            class that makes it without arguments.
        head: A head of your own that it was trained with.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It is damaged, is not acro's, or does not fit.
        ImportError: `network` cannot be imported.

    Example:
        >>> agent = load_agent("runs/acrobot/version_0")
        >>> action = agent.act(obs)
    """
    path = _checkpoint_of(Path(path))
    checkpoint = read_checkpoint(path)
    for name in ("hyper_parameters", "datamodule_hyper_parameters", "state_dict"):
        if not isinstance(checkpoint.get(name), dict):
            raise ValueError(f"{path} is not a checkpoint of a DQN trained on an Experience: it has no {name}")
    settings = {**checkpoint["hyper_parameters"], **({} if head is None else {"head": head})}
    trained_in = checkpoint["datamodule_hyper_parameters"]
    if foreign := settings.keys() - inspect.signature(DQN).parameters.keys():
        raise ValueError(
            f"{path} is of a subclass of DQN with {', '.join(sorted(foreign))}; load it by that class's "
            "load_from_checkpoint"
        )
    own = _make_network(network) if isinstance(network, str) else network
    try:
        if own is None:
            _check_network_sizes(settings, checkpoint["state_dict"])
        module = DQN(**settings, network=own)
        module.load_state_dict(checkpoint["state_dict"])
    except (TypeError, RuntimeError) as error:
        hint = "" if network else "; if the Q-network is your own class, name it with --network MODULE:NAME"
        raise ValueError(f"the weights in {path} do not fit {network or 'acro.QNetwork'}{hint}") from error
    saved = checkpoint.get("dqn")
    module.check_head(saved if isinstance(saved, dict) else {})
    eval_env, env_kwargs = trained_in.get("eval_env"), trained_in.get("env_kwargs")
    env_id = trained_in.get("env_id") if eval_env is None else eval_env
    env_kwargs = dict(env_kwargs or {}) if eval_env is None else {}
    frame_stack = trained_in.get("frame_stack")
    return Agent(
        module.eval(),
        env_id if isinstance(env_id, str) else None,
        env_kwargs,
        frame_stack if isinstance(frame_stack, int) else None,
    )


def environment_for(agent: Agent, env_id: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return the id of the environment to play in, and the arguments that make it.

    Args:
        agent: The agent that will play.
        env_id: The environment; None for the agent's own.

    Raises:
        ValueError: It cannot be made, does not fit the agent, or only the checkpoint names the module to import.
    """
    env_kwargs = agent.env_kwargs if env_id in (None, agent.env_id) else {}
    if env_id is None:
        env_id = _refuse_import(agent.env_id)
    try:
        env: Any = envs.make(env_id, **env_kwargs)
    except TypeError as error:
        raise ValueError(f"cannot make {env_id} with the arguments {env_kwargs!r}: {error}") from error
    numbers = math.prod(env.observation_space.shape) * (agent.frame_stack or 1)
    sizes = {"observation_size": numbers, "num_actions": int(env.action_space.n)}
    env.close()
    shape = (*([agent.frame_stack] if agent.frame_stack else []), *env.observation_space.shape)
    trained_shape, trained_dtype = agent.module.observation_shape, agent.module.hparams["observation_dtype"]
    if planes_of(trained_shape, trained_dtype) is not None and (shape, str(env.observation_space.dtype)) != (
        trained_shape,
        trained_dtype,
    ):
        raise ValueError(
            f"the agent was trained with observations {trained_shape} {trained_dtype}; {env_id} has {shape} "
            f"{env.observation_space.dtype}"
        )
    for name, found in sizes.items():
        trained = agent.module.hparams[name]
        if trained != found:
            raise ValueError(f"the agent was trained with {name} {trained}; {env_id} has {found}")
    return env_id, env_kwargs


def _checkpoint_of(path: Path) -> Path:
    """Return the best checkpoint of a run folder, else the last; return any other path as it is."""
    if not path.is_dir():
        return path
    run = RunFolder(path)
    found = [run.best_checkpoint, run.last_checkpoint]
    for checkpoint in found:
        if checkpoint.is_file():
            return checkpoint
    raise FileNotFoundError(f"{path} is not a run folder: there is no {found[0]}; name a checkpoint")


def _check_network_sizes(settings: dict[str, Any], weights: dict[str, Any]) -> None:
    """Raise a RuntimeError if the network would need more weights than the file has; no network is made."""
    hidden = settings.get("hidden", ())
    per_action = {"quantile": "num_quantiles", "categorical": "num_atoms"}.get(str(settings.get("head")))
    outputs = settings["num_actions"] * (1 if per_action is None else settings.get(per_action, 1))
    features = settings["observation_size"]
    shape, layers = settings.get("observation_shape"), settings.get("convolutions")
    planes = planes_of(shape, str(settings.get("observation_dtype"))) if isinstance(shape, (list, tuple)) else None
    if planes is not None and (layers is None or layers):
        features = math.prod(sizes_after(planes, convolutions_for(planes) if layers is None else layers))
    widths = [features, *(hidden if isinstance(hidden, (list, tuple)) else [None]), outputs]
    if not all(isinstance(width, int) and width > 0 for width in widths):
        raise RuntimeError(f"the network has the widths {str(widths)[:80]}")
    needed = sum(before * after for before, after in pairwise(widths))
    found = sum(tensor.numel() for tensor in weights.values() if isinstance(tensor, Tensor))
    if len(hidden) > len(weights) or needed > found:
        raise RuntimeError(f"the network needs at least {needed} weights, and there are {found}")


def _refuse_import(env_id: str | None) -> str:
    if env_id is None:
        raise ValueError("the agent was trained in an environment without an id; name one with --env_id")
    module, colon, name = env_id.partition(":")
    if colon and "<" in name:
        raise ValueError(
            f"the agent was trained in what a function made, {env_id}, which has no name that can be imported: give "
            "what makes it a name and say --env_id MODULE:NAME"
        )
    if colon:
        raise ValueError(
            f"the agent was trained in {env_id}, which would import {module}: "
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
