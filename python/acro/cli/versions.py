"""Versions of the software, for results and bug reports; imports neither torch nor lightning."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import acro

# What games are made of, by module.
_GAMES = {"ale_py": "ale-py", "minatar": "minatar"}


def versions() -> dict[str, str]:
    """Return the versions of acro, Python and the libraries that a run's numbers depend on."""
    return {
        "acro": acro.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "lightning", "gymnasium", "numpy")},
        **{name: importlib.metadata.version(name) for module, name in _GAMES.items() if module in sys.modules},
    }


def report() -> str:
    """Return lines with each version, the platform and the extension's build profile."""
    facts = {**versions(), "platform": platform.platform(), "extension": f"{acro._rust.BUILD_PROFILE} build"}
    return "\n".join(f"{name:<10} {value}" for name, value in facts.items())
