"""Options of `python -m acro.fit` besides the classes' settings; imports neither torch nor lightning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PRESETS = resources.files("acro") / "presets"
DEFAULT_PRESET = "acrobot"
USAGE = (
    "python -m acro.fit [--preset NAME] [--config FILE] [--seed_everything N] [--ckpt_path PATH|last] "
    "[--model.*] [--data.*] [--trainer.*]"
)
DESCRIPTION = "Train a DQN agent; without arguments, one that swings Acrobot up."
# The Trainer's own defaults suit larger networks.
TRAINER_DEFAULTS: dict[str, Any] = {
    # Small networks are not faster on a GPU, which "auto" would take.
    "accelerator": "cpu",
    "devices": 1,
    "max_epochs": 30,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
    "enable_model_summary": False,
    "default_root_dir": "runs",
}
# Arguments of `DQN` that are taken from the `Experience`, and are no options.
LINKED = ("observation_size", "num_actions", "return_range", "observation_shape", "observation_dtype")


class Option(NamedTuple):
    """A command-line option; with the default False and no metavar it is a switch."""

    name: str
    type: Any
    default: Any
    metavar: str
    help: str

    @property
    def is_switch(self) -> bool:
        """Whether the option takes no value."""
        return not self.metavar


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.name.removesuffix(".yaml") for path in PRESETS.iterdir() if path.name.endswith(".yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset.

    Raises:
        ValueError: There is no preset of that name.
    """
    if name not in preset_names():
        raise ValueError(f"--preset {name}: no such preset; there are {', '.join(preset_names())}")
    settings: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    return settings


def preset_of(env_id: str) -> str | None:
    """Return the preset for the environment `env_id`, the one with the shortest name if there are several, or None."""
    fitting = [name for name in preset_names() if read_preset(name)["data"]["env_id"] == env_id]
    return min(fitting, key=len, default="atari" if env_id.startswith("ALE/") else None)


def asked_preset(preset: str | None, argv: Sequence[str], env_id: str | None) -> str | None:
    """Return the preset whose settings are the defaults; None for the classes' own defaults.

    Args:
        preset: The preset in the command line or a configuration file.
        argv: The command line.
        env_id: The environment in the command line or a configuration file.

    Raises:
        ValueError: The command line and a configuration file name different ones.
    """
    given, files = asked_files(argv)
    named = dict.fromkeys([*given, *(file["preset"] for file in files if file.get("preset"))])
    if len(named) > 1:
        raise ValueError(f"--preset and --config name different presets, {' and '.join(named)}; leave one of them out")
    return DEFAULT_PRESET if preset is None and env_id is None and not files else preset


def asked_files(argv: Sequence[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the presets named in `argv`, and the content of its configuration files."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", action="append", default=[])
    parser.add_argument("-c", "--config", action="append", default=[])
    given = parser.parse_known_args(argv)[0]
    files = [yaml.safe_load(Path(path).read_text()) or {} for path in given.config]
    # What is no mapping is refused when it is parsed.
    return given.preset, [file for file in files if isinstance(file, dict)]


def _switch(name: str, help: str) -> Option:  # noqa: A002 - as argparse calls it
    return Option(name, bool, False, "", help)


OPTIONS = (
    Option("preset", str | None, None, "NAME", f"A tuned run to start from: {', '.join(preset_names())}."),
    Option(
        "ckpt_path",
        str | None,
        None,
        "PATH|last",
        "Continue from a checkpoint or a run's folder, or where the newest run of the preset stopped.",
    ),
    Option("name", str | None, None, "NAME", "Folder of the run under the root, instead of the preset's name."),
    Option("gif", bool, True, "true|false", "Draw episodes of the policy while it learns and at the end."),
    Option("torch_threads", int, 1, "N", "One is fastest for small networks."),
    _switch("trust_config", "With --ckpt_path: import what the run's config.yaml names outside of acro and Lightning."),
    _switch("debug", "Show where a mistake comes from."),
)
