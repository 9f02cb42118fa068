"""A replay memory's state as one file: safetensors layout, no pickle. `docs/file-format.md` describes it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "acro.replay"
VERSION = 1

_CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
DTYPES = {np.dtype(name): code for name, code in _CODES.items()}
_DTYPES_BY_CODE = {code: dtype.newbyteorder("<") for dtype, code in DTYPES.items()}
_CHECKSUM = "checksum"
_CHUNK_BYTES = 1 << 22


def write(file: IO[bytes], state: Mapping[str, Any]) -> None:
    """Write a `ReplayMemory.state_dict` to a binary file, from where it stands."""
    # The widest first, as safetensors does: every array then starts at a multiple of its item's size.
    names = [name for name, value in state.items() if isinstance(value, np.ndarray)]
    names.sort(key=lambda name: -state[name].itemsize)
    arrays = {name: np.ascontiguousarray(state[name], state[name].dtype.newbyteorder("<")) for name in names}
    plain = {name: value for name, value in state.items() if name not in arrays}
    header: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "version": str(VERSION), "values": json.dumps(plain)},
    }
    end = 0
    for name, array in arrays.items():
        offsets = [end, end + array.nbytes]
        header[name] = {"dtype": DTYPES[state[name].dtype], "shape": list(array.shape), "data_offsets": offsets}
        end += array.nbytes
    header[_CHECKSUM] = {"dtype": "U32", "shape": [1], "data_offsets": [end, end + 4]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    checksum = 0
    for chunk in _chunks(len(text).to_bytes(8, "little") + text, *arrays.values()):
        checksum = zlib.crc32(chunk, checksum)
        file.write(chunk)
    file.write(checksum.to_bytes(4, "little"))


def _chunks(head: bytes, *arrays: NDArray[Any]) -> Iterator[bytes]:
    """The bytes in order, in pieces so small that they need little memory again."""
    yield head
    for array in arrays:
        data = array.reshape(-1).view(np.uint8)
        for start in range(0, len(data), _CHUNK_BYTES):
            yield data[start : start + _CHUNK_BYTES].tobytes()


def read(file: IO[bytes]) -> dict[str, Any]:
    """Return the state in a binary file that `write` made; arrays are views of its bytes.

    Raises:
        ValueError: the file is of another kind or of a later version, cut short, or damaged.
    """
    content = file.read()
    length = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + length]
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__")
        kind, version = metadata["format"], metadata["version"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("it is not a replay memory's file, or its head is damaged") from None
    if kind != FORMAT:
        raise ValueError(f"it holds {kind!r}, expected {FORMAT!r}")
    if version != str(VERSION):
        raise ValueError(f"it is of format version {version}, this acro reads version {VERSION}")
    if zlib.crc32(memoryview(content)[:-4]) != int.from_bytes(content[-4:], "little"):
        raise ValueError("its checksum is wrong: the file was cut short or damaged")
    try:
        plain = json.loads(metadata["values"])
        arrays = {name: _array(content, 8 + length, entry) for name, entry in header.items() if name != _CHECKSUM}
        return {**plain, **arrays}
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ValueError("its head does not describe what follows it") from None


def _array(content: bytes, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype = _DTYPES_BY_CODE[entry["dtype"]]
    begin, end = entry["data_offsets"]
    array: NDArray[Any] = np.frombuffer(content, dtype, (end - begin) // dtype.itemsize, start + begin)
    native: np.dtype[Any] = dtype.newbyteorder("=")
    shaped: NDArray[Any] = array.reshape(entry["shape"])
    return shaped.astype(native, copy=False)
