"""Checkpoints: written completely or not at all, and read without running code from them."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins import CheckpointIO

from acro.storage.files import replacing

# The version of what acro adds to a Lightning checkpoint. Older files stay readable; newer ones are refused.
FORMAT_VERSION = 1
FORMAT_KEY = "acro_format_version"

# The zip archive's comment, followed by eight hexadecimal digits: a checksum of every byte before them. The archive's
# own checksums leave its directory out, and torch does not look at them.
_SEAL = b"acro crc32 "
_SEAL_DIGITS = 8
_CHUNK_BYTES = 1 << 20
# The most levels of nested dicts and lists; acro's checkpoints need 10.
_MAX_DEPTH = 50


class DurableCheckpointIO(CheckpointIO):
    """Saves through a temporary file, fsync and a rename; always loads with `weights_only=True`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, which keeps its old content until the new one is on disk.

        Raises:
            OSError: The folder is not writable or the disk is full; `path` is unchanged.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r}: this CheckpointIO writes local files and takes none")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            _save(checkpoint, file)
            _seal(file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of acro; see `read_checkpoint`."""
        if weights_only is False:
            raise ValueError("weights_only=False would run code from the file; acro's checkpoints never need it")
        # As Lightning does it, so that a checkpoint from a GPU can be read without one.
        return read_checkpoint(path, map_location="cpu" if map_location is None else map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete `path` if it exists."""
        Path(path).unlink(missing_ok=True)


def _save(checkpoint: dict[str, Any], file: IO[bytes]) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # After a failed write torch still closes its archive, and raises for that instead of the full disk.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def read_checkpoint(path: str | os.PathLike[str], *, map_location: Any | None = "cpu") -> dict[str, Any]:
    """Read a checkpoint of acro: tensors and plain values, no code.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, is not acro's, has more than plain values, or has a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        _check_seal(path)
        _check_sizes(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
        _check_content(checkpoint, path.stat().st_size)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a checkpoint, or a damaged one: {error}") from error
    except pickle.UnpicklingError as error:
        reason = _first_line(error)
        raise ValueError(f"{path} holds more than tensors and plain values, and is refused: {reason}") from error
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or no checkpoint: {_first_line(error)}") from error
    if not isinstance(checkpoint, dict) or FORMAT_KEY not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint of acro: it has no {FORMAT_KEY!r}")
    version = checkpoint[FORMAT_KEY]
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version!r}; this acro reads up to {FORMAT_VERSION}: update acro")
    return checkpoint


# What zipfile and torch raise for damaged archives.
_DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def _seal(file: IO[bytes]) -> None:
    """Add a comment to the zip archive in `file` with the checksum of everything before it."""
    # An archive without a comment ends with the comment's length, two zero bytes.
    file.seek(-2, os.SEEK_END)
    file.write(struct.pack("<H", len(_SEAL) + _SEAL_DIGITS) + _SEAL)
    size = file.tell()
    file.write(b"%08x" % _checksum(file, size))


def _check_seal(path: Path) -> None:
    """Raise BadZipFile unless the checksum matches; files that Lightning itself wrote have none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _SEAL_DIGITS
        if size < len(_SEAL):
            raise zipfile.BadZipFile("it is too short")
        file.seek(size - len(_SEAL))
        if file.read(len(_SEAL)) == _SEAL:
            digits = file.read()
            if digits != b"%08x" % _checksum(file, size):
                raise zipfile.BadZipFile("its checksum does not match; use another checkpoint")
            return
        # An archive that announces the comment but does not have all of it was cut short.
        file.seek(-2, os.SEEK_END)
        if file.read() != b"\0\0":
            raise zipfile.BadZipFile("it has been cut short, or is not an archive")
    _check_sizes(path)
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} does not match its checksum; use another checkpoint")


def _check_sizes(path: Path) -> None:
    """Raise BadZipFile if members are compressed or overlap, so that reading needs no more memory than the file."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(
        member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size for member in members
    ):
        raise zipfile.BadZipFile("it is compressed, which acro's checkpoints never are")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise zipfile.BadZipFile("its members are larger than the file")


def _check_content(checkpoint: Any, size: int) -> None:
    """Raise a ValueError if the values expand to more than the file's `size`: by shared lists or repeated numbers."""
    left = [(checkpoint, 0)]
    count = 0
    while left:
        value, depth = left.pop()
        count += 1
        # Every value takes at least one byte of the file.
        if depth > _MAX_DEPTH or count > size:
            raise ValueError("its values are nested without end")
        if isinstance(value, dict):
            left.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, (list, tuple)):
            left.extend((item, depth + 1) for item in value)
        elif (
            isinstance(value, torch.Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes()
        ):
            raise ValueError(f"a tensor of shape {tuple(value.shape)} has fewer numbers in the file")


def _checksum(file: IO[bytes], size: int) -> int:
    """Return the CRC-32 of the first `size` bytes, and leave the file's position after them."""
    file.seek(0)
    checksum, left = 0, size
    while chunk := file.read(min(left, _CHUNK_BYTES)):
        checksum = zlib.crc32(chunk, checksum)
        left -= len(chunk)
    return checksum


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
