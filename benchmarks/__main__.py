"""A short form of every benchmark, one after another: `python -m benchmarks`."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

# Not measurements of their own.
_PARTS = {"__main__", "games", "jax_dqn", "jax_peer", "jax_worker", "replay_peers", "report", "results", "solve_peer"}


def main() -> int:
    """Run every script with --quick; return 1 if one of them failed."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    failed = []
    for name in (name for name in names if name not in _PARTS and not name.startswith("test_")):
        print(f"\n== python -m benchmarks.{name} --quick", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--quick"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
