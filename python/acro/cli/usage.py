"""Makes the text of `python -m acro.fit --help` from the docstrings of the settings.

The classes' source files are read, not imported: importing PyTorch and Lightning takes seconds.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from importlib import resources
from typing import Any

from acro.cli.options import (
    DESCRIPTION,
    LINKED,
    OPTIONS,
    TRAINER_DEFAULTS,
    USAGE,
    asked_files,
    asked_preset,
    read_preset,
)


def usage(argv: Sequence[str]) -> str:
    """Return the help text, with the defaults that apply with the other arguments in `argv`.

    Raises:
        ValueError: There is no preset of the given name.
        OSError: A configuration file cannot be read.
    """
    preset, settings = _asked(argv)
    general = {
        "--config FILE": "Settings from a YAML file, such as a run's config.yaml.",
        "--seed_everything N": f"All randomness derives from it. ({settings.get('seed_everything', 0)})",
        **{
            f"--{option.name} {option.metavar}".rstrip(): option.help
            if option.is_switch or option.default is None
            else f"{option.help} ({_shown(option.default)})"
            for option in OPTIONS
        },
    }
    trainer = {**TRAINER_DEFAULTS, **settings.get("trainer", {})}
    general |= {
        "--trainer.max_epochs N": f"Epochs of data.steps_per_epoch environment steps. ({trainer['max_epochs']})",
        "--trainer.default_root_dir PATH": f"Where run folders go. ({trainer['default_root_dir']})",
        "--trainer.accelerator NAME": f"cpu or gpu. ({trainer['accelerator']})",
        "--print_config": "Print every setting as YAML, and stop.",
        "--version": "Print acro's version, and stop.",
        "--help_all": "Explain everything, with all that Lightning's Trainer takes.",
    }
    whose = "the classes" if preset is None else f"the preset {preset}"
    parts = [
        f"usage: {USAGE}",
        f"{DESCRIPTION} Defaults are in brackets: those of {whose}.",
        _section("General", general),
        _section("Experience", _settings("experience/datamodule.py", "Experience", "data", settings)),
        _section("Network and learning", _settings("dqn/module.py", "DQN", "model", settings)),
    ]
    return "\n\n".join(parts)


def _asked(argv: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """Return the preset, and the settings of the preset and the configuration files."""
    named, files = asked_files(argv)
    named += [file["preset"] for file in files if file.get("preset")]
    env_id = next((argument for argument in argv if argument.startswith("--data.env_id")), None)
    preset = asked_preset(named[0] if named else None, argv, env_id)
    settings: dict[str, Any] = {} if preset is None else read_preset(preset)
    for file in files:
        for group, values in file.items():
            settings[group] = {**settings.get(group, {}), **values} if isinstance(values, dict) else values
    return preset, settings


def _settings(source: str, class_name: str, prefix: str, settings: dict[str, Any]) -> dict[str, str]:
    """Return the explanation and default of every option, from a class's docstring and signature in a source file."""
    tree = ast.parse((resources.files("acro") / source).read_text(encoding="utf-8"))
    documented = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    init = next(node for node in documented.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    positional = init.args.args[len(init.args.args) - len(init.args.defaults) :]
    defaults = {
        argument.arg: ast.literal_eval(default)
        for argument, default in [
            *zip(positional, init.args.defaults, strict=True),
            *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
        ]
        if default is not None
    }
    defaults |= settings.get(prefix, {})
    arguments = (ast.get_docstring(documented) or "").split("Args:\n", 1)[1].split("\n\n", 1)[0]
    explained = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    return {
        f"--{prefix}.{name}": f"{' '.join(text.split())} ({_shown(defaults[name])})"
        for name, text in explained
        if name not in (*LINKED, "seed")
    }


def _shown(default: Any) -> str:
    """Return a default value as it would be typed."""
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return str(list(default)) if isinstance(default, tuple) else str(default)


def _section(title: str, options: dict[str, str]) -> str:
    width = max(map(len, options)) + 2
    lines = [f"{title}:"]
    for option, text in options.items():
        wrapped = textwrap.wrap(text, 118 - width, break_on_hyphens=False)
        lines += [
            f"  {head:<{width}}{line}" for head, line in zip([option, *[""] * len(wrapped)], wrapped, strict=False)
        ]
    return "\n".join(lines)
