"""What `python -m acro.fit --help` prints: acro's own settings, out of the docstrings that explain them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence

from acro.dqn import DQN
from acro.experience import Experience

USAGE = (
    "python -m acro.fit [--preset NAME] [--config FILE] [--seed_everything N] [--ckpt_path PATH|last] "
    "[--model.*] [--data.*] [--trainer.*]"
)
# Taken from the environment or the seed; or no setting of a command line.
_LINKED = {"observation_size", "num_actions", "return_range", "seed"}


def usage(presets: Sequence[str]) -> str:
    """Return the help text; `presets` are the names that `--preset` takes."""
    general = {
        "--preset NAME": f"A tuned run to start from: {', '.join(presets)}.",
        "--config FILE": "Settings from a YAML file, such as a run's config.yaml.",
        "--seed_everything N": "All randomness derives from it. (0)",
        "--ckpt_path PATH|last": "Continue from a checkpoint, or where the newest run of the preset stopped.",
        "--torch_threads N": "One is fastest for networks this small. (1)",
        "--trainer.max_epochs N": "Epochs of data.steps_per_epoch environment steps.",
        "--trainer.default_root_dir PATH": "Where run folders go. (runs)",
        "--trainer.accelerator NAME": "cpu or gpu. (cpu)",
        "--print_config": "Print every setting as YAML, and stop.",
        "--debug": "Show where a mistake comes from.",
        "--help_all": "Explain everything, with all that Lightning's Trainer takes.",
    }
    parts = [
        f"usage: {USAGE}",
        "Train a DQN agent; without arguments, one that swings Acrobot up. Defaults are in brackets.",
        _section("General", general),
        _section("Experience", _settings(Experience, "data")),
        _section("Network and learning", _settings(DQN, "model")),
    ]
    return "\n\n".join(parts)


def _settings(documented: type, prefix: str) -> dict[str, str]:
    """Return option -> explanation and default, from the Google-style docstring of `documented`."""
    arguments = (inspect.getdoc(documented) or "").split("Args:\n", 1)[1]
    explained = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    defaults = {name: given.default for name, given in inspect.signature(documented).parameters.items()}
    return {
        f"--{prefix}.{name}": f"{' '.join(text.split())} ({defaults[name]})"
        for name, text in explained
        if name not in _LINKED
    }


def _section(title: str, options: dict[str, str]) -> str:
    width = max(map(len, options)) + 2
    lines = [f"{title}:"]
    for option, text in options.items():
        wrapped = textwrap.wrap(text, 118 - width, break_on_hyphens=False)
        lines += [
            f"  {head:<{width}}{line}" for head, line in zip([option, *[""] * len(wrapped)], wrapped, strict=False)
        ]
    return "\n".join(lines)
