"""Reads and writes a replay memory's state as one safetensors file; see `docs/file-format.md`."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "acro.replay"
VERSION = 2

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
# About 1.2 kB are used; the header's length does not depend on anything that grows.
_HEADER_BYTES = 1 << 16
_VALUES = {"version", "capacity", "num_envs", "alpha", "priorities", "frame_stack", "padding"}
_FOREIGN = "it is not a replay memory's file, or its head is damaged"
_VERSIONS = [str(version) for version in range(1, VERSION + 1)]
_UNTRUE = "its head does not describe what follows it: it is damaged"


def write(file: IO[bytes], state: Mapping[str, Any]) -> None:
    """Write a `ReplayMemory.state_dict` to a binary file, at its current position."""
    # The widest dtype first, as safetensors does, so that every array is aligned.
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
    """Yield the bytes in pieces that are small enough to need little extra memory."""
    yield head
    for array in arrays:
        data = array.reshape(-1).view(np.uint8)
        for start in range(0, len(data), _CHUNK_BYTES):
            yield data[start : start + _CHUNK_BYTES].tobytes()


def read(file: IO[bytes]) -> dict[str, Any]:
    """Read a state that `write` wrote to a binary file; the arrays are views of its bytes.

    Needs no more memory than the file has bytes, whatever the header says.

    Raises:
        ValueError: The file has another format or a later version, was cut short, or is damaged.
    """
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > _HEADER_BYTES:
        raise ValueError(_FOREIGN)
    text = file.read(length)
    header = _parsed(text, _FOREIGN)
    metadata = header.pop("__metadata__", None)
    if not (isinstance(metadata, dict) and {"format", "version", "values"} <= metadata.keys()):
        raise ValueError(_FOREIGN)
    if metadata["format"] != FORMAT:
        raise ValueError(f"it holds {metadata['format']!r}, expected {FORMAT!r}")
    if metadata["version"] not in _VERSIONS:
        raise ValueError(f"it is of format version {metadata['version']}, this acro reads versions 1 to {VERSION}")
    # One byte more than allowed is enough to refuse an endless file.
    end = _end(header)
    data = _read_up_to(file, end + 1)
    checksum = zlib.crc32(memoryview(data)[: end - 4], zlib.crc32(head + text))
    if len(data) != end or checksum != int.from_bytes(data[end - 4 :], "little"):
        raise ValueError("its checksum is wrong: the file was cut short or damaged")
    values = metadata["values"]
    plain = _parsed(values, _UNTRUE) if isinstance(values, str) else {}
    if not plain.keys() <= _VALUES or plain.keys() & header.keys():
        raise ValueError(_UNTRUE)
    return {**plain, **{name: _array(data, entry) for name, entry in header.items() if name != _CHECKSUM}}


def _parsed(text: str | bytes, refusal: str) -> dict[str, Any]:
    """Return the JSON object in `text`; refuse a name that comes twice."""
    try:
        parsed = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise ValueError(refusal) from None
    if not isinstance(parsed, dict):
        raise ValueError(refusal)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name comes twice")
    return dict(pairs)


def _end(header: Mapping[str, Any]) -> int:
    """Return the arrays' end, from the header's end on; they must be contiguous, with the checksum last."""
    end, last = 0, None
    try:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            shape, (begin, after) = entry["shape"], entry["data_offsets"]
            if not all(type(number) is int and number >= 0 for number in (*shape, begin, after)):
                raise ValueError(_UNTRUE)
            items = _DTYPES_BY_CODE[entry["dtype"]].itemsize * math.prod(shape)
            if begin != end or after != begin + items or entry.keys() != {"dtype", "shape", "data_offsets"}:
                raise ValueError(_UNTRUE)
            end, last = after, name
        if last != _CHECKSUM or header[_CHECKSUM]["dtype"] != "U32" or header[_CHECKSUM]["shape"] != [1]:
            raise ValueError(_UNTRUE)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(_UNTRUE) from None
    return end


def _read_up_to(file: IO[bytes], length: int) -> bytes | bytearray:
    data = bytearray()
    while len(data) < length and (chunk := file.read(min(_CHUNK_BYTES, length - len(data)))):
        data += chunk
    return data


def _array(data: bytes | bytearray, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype = _DTYPES_BY_CODE[entry["dtype"]]
    try:
        array: NDArray[Any] = np.frombuffer(data, dtype, math.prod(entry["shape"]), entry["data_offsets"][0])
        shaped: NDArray[Any] = array.reshape(entry["shape"])
    except ValueError:  # More axes, or longer empty axes, than NumPy allows.
        raise ValueError(_UNTRUE) from None
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return shaped.astype(native, copy=False)
