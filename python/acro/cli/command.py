"""What all commands share: errors, exit codes and streams."""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import acro

# Errors that a user can cause; any other error is a bug and shows its traceback.
_USER_ERRORS = (argparse.ArgumentError, ImportError, MemoryError, OSError, TypeError, ValueError)


def run_command(command: Callable[[list[str]], int], argv: Sequence[str] | None) -> int:
    """Call `command`, and turn a user's mistakes into one sentence and an exit code.

    Args:
        command: Returns the exit code.
        argv: The arguments; None for those of the process.

    Returns:
        The command's exit code, 2 after a user's mistake, 130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if "--version" in argv:
        print(f"acro {acro.__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An ASCII terminal shows a question mark for other characters.
            stream.reconfigure(errors="replace")
    try:
        code = command(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`). Python flushes again when it exits, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except _USER_ERRORS as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    finally:
        # Python remembers an interrupt inside an `exec` of text (every dataclass that an import makes), caught or
        # not, and ends by the signal in place of the exit code; the next `exec` forgets it.
        exec("")
    return code


@contextmanager
def loading() -> Iterator[None]:
    """Import libraries that take seconds: delay Ctrl-C, and suspend garbage collection.

    Raises:
        KeyboardInterrupt: At the end if Ctrl-C was pressed; at once if it was pressed twice.
    """
    is_first, collects = "torch" not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        with _interrupts_wait():
            yield
    finally:
        if is_first:
            # Otherwise later collections would look through it all. Unfrozen at exit, where libraries check for leaks.
            gc.freeze()
            atexit.register(gc.unfreeze)
        if collects:
            gc.enable()


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Delay Ctrl-C: a KeyboardInterrupt within PyTorch's import can abort the process."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    received = False

    def wait(signum: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            raise KeyboardInterrupt
        received = True

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if received:
        raise KeyboardInterrupt
