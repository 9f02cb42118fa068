"""All commands under one name: `acro COMMAND ...`, or `python -m acro COMMAND ...`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from acro.cli.command import run_command

_COMMANDS = {
    "fit": "train an agent, and leave a run folder",
    "play": "play a trained agent, and print its returns",
    "plot": "draw the learning curves of runs",
    "sweep": "train many runs on Ray: seeds, grids, searches",
    "doctor": "print what a report of a bug needs",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in the arguments; return its exit code, 2 if there is no such command."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in ("fit", "play", "plot", "sweep"):
        command: int = importlib.import_module(f"acro.{argv[0]}").main(argv[1:])
        return command
    return run_command(_other, argv)


def _other(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0
    if argv[0] != "doctor":
        raise ValueError(f"COMMAND must be one of {', '.join(_COMMANDS)}, got {argv[0]}; see acro --help")
    from acro.cli.versions import report

    print(report())
    return 0


def _help() -> str:
    commands = "\n".join(f"  {name:<8}{does}" for name, does in _COMMANDS.items())
    return (
        "usage: acro COMMAND [ARGUMENT ...]\n\n"
        "Deep Q-learning for PyTorch Lightning. Without arguments, `acro fit` swings Acrobot up.\n\n"
        f"{commands}\n\n"
        "`acro COMMAND --help` explains one; `acro --version` prints the version.\n"
        "`python -m acro COMMAND` and `python -m acro.COMMAND` are the same."
    )


if __name__ == "__main__":
    sys.exit(main())
