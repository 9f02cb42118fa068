"""A filesystem that fails at one call of a save: the first, the second, and so on."""

from __future__ import annotations

import errno
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from acro.storage import files

# A torn write writes half, and fails then. A short one writes half and says so, which is no error.
KINDS = ("ENOSPC", "EIO", "torn", "short")
_CALLS = ("stat", "chmod", "open", "close", "fsync", "replace")


@dataclass
class Report:
    """What came of failing at every call.

    Attributes:
        failed: How often which call failed.
        kept: How often the file was afterwards as before.
        replaced: How often it was the new one, whole.
        problems: What must not be: another exception than the call's, another file than these two, one left behind.
    """

    failed: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    replaced: int = 0
    problems: list[str] = field(default_factory=list)


class _Faults:
    """Counts the calls of a save, and fails at one of them."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind = kind
        self.error = getattr(errno, kind, errno.ENOSPC)
        self.failed = ""
        self._left = at

    def is_due(self, call: str) -> bool:
        # Only a write can be cut in two.
        if self.kind in ("torn", "short") and call != "write":
            return False
        self._left -= 1
        if self._left == 0:
            self.failed = call
        return self._left == 0

    def before(self, call: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if self.is_due(call):
                raise OSError(self.error, os.strerror(self.error))
            return function(*arguments, **named)

        return called


class _File(io.FileIO):
    """What Python's buffered file calls the system by."""

    faults: _Faults

    def write(self, data: Any) -> int:
        if not self.faults.is_due("write"):
            return super().write(data)
        if self.faults.kind in ("torn", "short"):
            written = super().write(memoryview(data)[: max(1, len(data) // 2)])
            if self.faults.kind == "short":
                return written
        raise OSError(self.faults.error, os.strerror(self.faults.error))

    def readinto(self, buffer: Any) -> int:
        if self.faults.is_due("read"):
            raise OSError(self.faults.error, os.strerror(self.faults.error))
        return super().readinto(buffer)

    def truncate(self, size: int | None = None) -> int:
        if self.faults.is_due("truncate"):
            raise OSError(self.faults.error, os.strerror(self.faults.error))
        return super().truncate(size)

    def close(self) -> None:
        if not self.closed and self.faults.is_due("close"):
            super().close()
            raise OSError(self.faults.error, os.strerror(self.faults.error))
        super().close()


@contextmanager
def _installed(faults: _Faults) -> Iterator[None]:
    def opened(path: Path, mode: str) -> io.BufferedRandom:
        if faults.is_due("open"):
            raise OSError(faults.error, os.strerror(faults.error))
        raw = _File(path, mode.replace("b", ""))
        raw.faults = faults
        return io.BufferedRandom(raw)

    own: Any = files
    names = {name: getattr(os, name) for name in dir(os)}
    own.os = SimpleNamespace(**names | {name: faults.before(name, names[name]) for name in _CALLS})
    own.open = opened
    try:
        yield
    finally:
        own.os = os
        del own.open


def fail_every_call(save: Callable[[], object], path: Path, *, is_new: bool) -> Report:
    """Save to `path` again and again, each time with another call failing in another way.

    Args:
        save: Writes another content than `path` has.
        path: The file.
        is_new: Whether there is none before.
    """
    report = Report()
    old = None if is_new else path.read_bytes()
    path.unlink(missing_ok=True)
    save()
    new = path.read_bytes()
    assert new != old
    for kind in KINDS:
        at = 1
        while _fail(save, path, old, new, _Faults(kind, at), report):
            at += 1
    return report


def _fail(
    save: Callable[[], object], path: Path, old: bytes | None, new: bytes, faults: _Faults, report: Report
) -> bool:
    """Save once; return whether there was a call that failed."""
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(old)
    what = ""
    try:
        with _installed(faults):
            save()
    except OSError as error:
        if error.errno != faults.error or faults.kind == "short":
            what = f" {error!r}"
    except Exception as error:
        what = f" {error!r}"
    else:
        if faults.failed and faults.kind != "short":
            what = " no error"
    if not faults.failed:
        return False
    report.failed[faults.failed] += 1
    found = path.read_bytes() if path.exists() else None
    report.kept += found == old
    report.replaced += found == new
    if found not in (old, new) or (faults.kind == "short" and found != new):
        what += "; the file is neither the old nor the new one"
    what += "".join(f"; {left.name} was left" for left in path.parent.glob(".*.tmp"))
    if what:
        report.problems.append(f"{faults.kind} in {faults.failed}:{what}")
    return True
