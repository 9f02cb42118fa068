"""What every command does alike: its errors, its exit codes, its streams."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import acro

# What a user can get wrong; anything else is a bug, and shows its traceback.
_USER_ERRORS = (argparse.ArgumentError, ImportError, MemoryError, OSError, TypeError, ValueError)


def run_command(command: Callable[[list[str]], int], argv: Sequence[str] | None) -> int:
    """Call `command` with its arguments, and answer for all that can go wrong.

    Args:
        command: Returns the exit code.
        argv: The arguments; None takes the process's own.

    Returns:
        The command's exit code; 2 after a user's mistake, told in one sentence; 130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if "--version" in argv:
        print(f"acro {acro.__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows ASCII only shows a question mark in place of a sign.
            stream.reconfigure(errors="replace")
    try:
        code = command(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except _USER_ERRORS as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return code
