"""Writes files that are whole at every instant."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def check_writable(path: Path) -> None:
    """Check that a file can be written to `path`.

    Raises:
        ValueError: It cannot; the message begins with `path`.
    """
    if path.is_dir():
        raise ValueError(f"{path}: this is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    try:
        # os.access would miss a read-only disk, and allows root everything.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(f"{path}: cannot write to the folder {path.parent} ({error.strerror})") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` when the block ends.

    The bytes go to a temporary file in the same folder, which is flushed to disk and renamed. The permissions of an
    existing `path` are kept, and if it is a link, its target is replaced. If the block or the disk fails,
    the temporary file is removed and `path` is unchanged; a killed process leaves `path` whole. A pipe or a device
    gets the bytes when the block ends.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full.
    """
    try:
        mode: int | None = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        with tempfile.TemporaryFile() as content, open(path, "wb") as target:
            yield content
            content.seek(0)
            shutil.copyfileobj(content, target)
        return
    # A link stays a link: its target is replaced.
    path = Path(os.path.realpath(path))
    file, temporary = _create_beside(path)
    try:
        with file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _create_beside(path: Path) -> tuple[IO[bytes], Path]:
    """Open a new file beside `path` with the usual permissions; mkstemp would allow its owner only."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            return open(temporary, "x+b"), temporary
        except FileExistsError:
            continue


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, on systems where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
