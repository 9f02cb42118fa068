"""Versions of the software, for results and bug reports; imports neither torch nor lightning."""

from __future__ import annotations

import importlib.metadata
import platform

import acro

# Where games come from, by the start of their ids.
_GAMES = {"ALE/": "ale-py", "MinAtar/": "minatar"}


def versions(env_id: str = "") -> dict[str, str]:
    """Return the versions of acro, Python and the libraries that the numbers of a run in `env_id` depend on."""
    games = [name for start, name in _GAMES.items() if start in env_id]
    return {
        "acro": acro.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "lightning", "gymnasium", "numpy", *games)},
    }


def report() -> str:
    """Return lines with each version, the platform and the extension's build profile."""
    facts = {**versions(), "platform": platform.platform(), "extension": f"{acro._rust.BUILD_PROFILE} build"}
    return "\n".join(f"{name:<10} {value}" for name, value in facts.items())
