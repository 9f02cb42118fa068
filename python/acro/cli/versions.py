"""What a result and a report of a bug say of the software and the machine; imports neither torch nor lightning."""

from __future__ import annotations

import importlib.metadata
import platform

import acro


def versions() -> dict[str, str]:
    """Return the versions of acro, of Python and of the libraries that a run's numbers depend on."""
    return {
        "acro": acro.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "lightning", "gymnasium", "numpy")},
    }


def report() -> str:
    """Return a line for each version, for the platform and for the extension's build profile."""
    facts = {**versions(), "platform": platform.platform(), "extension": f"{acro._rust.BUILD_PROFILE} build"}
    return "\n".join(f"{name:<10} {value}" for name, value in facts.items())
