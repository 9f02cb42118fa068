"""Checks of the settings of an `Experience`, alone, together and against a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from gymnasium.vector import AutoresetMode

from acro import envs
from acro.experience.exploration import check_zeta_exponent

# Settings that must be those of the checkpoint that a run continues from.
SAME_SETTINGS = (
    "env_id",
    "env_kwargs",
    "autoreset_mode",
    "num_envs",
    "capacity",
    "prioritized",
    "frame_stack",
    "lag",
    "seed",
)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the settings, by the names of `Experience`'s arguments.

    Raises:
        ValueError: A setting is out of its range, or does not fit another one.
    """
    optional = [name for name in ("frame_stack", "n_step_end") if settings[name] is not None]
    duration = [] if settings["n_step_end"] is None else ["n_step_decay_steps"]
    durations = ("learning_starts_steps", "epsilon_decay_steps", "beta_steps")
    counts = ("num_envs", "capacity", "batch_size", "n_step", "eval_episodes", *optional, *duration)
    for name in (*counts, "steps_per_round", "steps_per_epoch", "seed"):
        if not isinstance(settings[name], Integral):
            raise ValueError(f"{name} must be a whole number, got {settings[name]!r}")
    for name in counts:
        if settings[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {settings[name]}")
    if settings["seed"] < 0:
        raise ValueError(f"seed must be at least 0, got {settings['seed']}")
    if settings["capacity"] < settings["num_envs"]:
        raise ValueError(f"capacity must be at least num_envs={settings['num_envs']}, got {settings['capacity']}")
    for name in ("updates_per_step", *durations):
        if not settings[name] >= 0:
            raise ValueError(f"{name} must be at least 0, got {settings[name]}")
    for name in ("gamma", "epsilon_start", "epsilon_end"):
        if not 0.0 <= settings[name] <= 1.0:
            raise ValueError(f"{name} must be from 0 to 1, got {settings[name]}")
    decay = settings["epsilon_decay_per_episode"]
    if decay is not None and not 0.0 < decay <= 1.0:
        raise ValueError(f"epsilon_decay_per_episode must be above 0 and at most 1, got {decay}")
    check_zeta_exponent(settings["zeta_exponent"])
    if settings["lag"] not in (0, 1):
        raise ValueError(f"lag must be 0 or 1, got {settings['lag']}")
    if settings["autoreset_mode"] not in (modes := [mode.value for mode in AutoresetMode]):
        raise ValueError(f"autoreset_mode must be one of {modes}, got {settings['autoreset_mode']!r}")
    for name, unit in (("steps_per_round", "num_envs"), ("steps_per_epoch", "steps_per_round")):
        if settings[name] < 1 or settings[name] % settings[unit]:
            raise ValueError(f"{name} must be a multiple of {unit}={settings[unit]}, got {settings[name]}")


def check_collectors(
    collectors: int, num_envs: int, env_id: str | envs.EnvFactory, *, is_given: bool, frame_stack: int | None, lag: int
) -> None:
    """Check that `collectors` can step the environments; `is_given` says that those are made already.

    Raises:
        ValueError: They cannot, or another setting does not work with them.
    """
    if frame_stack is not None and (collectors or lag):
        raise ValueError(
            f"frame_stack={frame_stack} reads stacks from the memory, which collectors and a lag cannot see; use "
            "gymnasium.wrappers.FrameStackObservation, or collectors=0 and lag=0"
        )
    if collectors < 0 or (collectors and num_envs % collectors):
        raise ValueError(f"collectors must divide num_envs={num_envs}, or be 0, got {collectors}")
    if collectors and is_given:
        raise ValueError("collectors make their environments themselves; give an id or a function, or collectors=0")
    if collectors and envs.makes_vectors(envs.find(env_id)):
        raise ValueError(
            f"collectors make vectors of single environments, and {envs.name_of(env_id)} makes vectors, whose state "
            "cannot be divided; give a function that makes one environment, or collectors=0"
        )


def check_same_settings(found: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that a checkpoint was made with the same settings as those `here`.

    Raises:
        ValueError: A setting differs.
    """
    # A checkpoint that lacks a setting was made when there was only one way, or before its seed was kept.
    older = {"lag": 0, "seed": here["seed"]}
    pairs = {name: (found.get(name, older.get(name)), here[name]) for name in SAME_SETTINGS}
    differing = [f"{name} is {its!r} in it, {own!r} here" for name, (its, own) in pairs.items() if its != own]
    if differing:
        raise ValueError(f"cannot continue from this checkpoint with other settings: {'; '.join(differing)}")
