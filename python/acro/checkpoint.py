"""Checkpoints: written whole or not at all, read without running any code from them."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from acro.files import replacing

# Of what acro adds to a Lightning checkpoint. Files of an older version stay readable; newer ones are refused.
FORMAT_VERSION = 1
FORMAT_KEY = "acro_format_version"


class DurableCheckpointIO(CheckpointIO):
    """Saves through a temporary file, fsync and a rename; loads with `weights_only=True`, whatever is asked."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, which keeps its old content until the new one is on the disk.

        Raises:
            OSError: The folder cannot be written or the disk is full; `path` is as it was.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r}: this CheckpointIO writes local files and takes none")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            torch.save({FORMAT_KEY: FORMAT_VERSION, **checkpoint}, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of acro; see `read_checkpoint`."""
        if weights_only is False:
            raise ValueError("weights_only=False would run code from the file; acro's checkpoints never need it")
        return read_checkpoint(path, map_location=map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete `path` if it is there."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | os.PathLike[str], *, map_location: Any | None = "cpu") -> dict[str, Any]:
    """Read a checkpoint of acro: tensors and plain values, no code.

    Every byte is checked against the file's own checksums first, since torch does not do that.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, foreign, hostile, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{path} is damaged: {damaged} does not match its checksum; use another checkpoint")
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no checkpoint, or a damaged one: {error}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values, and is refused: {_first_line(error)}"
        ) from error
    except (RuntimeError, EOFError, KeyError, OverflowError, UnicodeDecodeError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint: {_first_line(error)}") from error
    if not isinstance(checkpoint, dict) or FORMAT_KEY not in checkpoint:
        raise ValueError(f"{path} is no checkpoint of acro: it has no {FORMAT_KEY!r}")
    version = checkpoint[FORMAT_KEY]
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version!r}; this acro reads up to {FORMAT_VERSION}: update acro")
    return checkpoint


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
