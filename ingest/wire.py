"""Records as bytes, for pipes between processes and for the bus. Never pickle.

A message is: total length (u32), header length (u32), a JSON header, then the raw buffers of arrays and byte strings
in the order the header names them. Only the dataclasses of `records` and `questions` and plain values can travel;
anything else, and any message over `MAX_MESSAGE`, is refused on both sides.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingest import questions, records
from ingest.errors import Poison

MAX_MESSAGE = 256 * 1024 * 1024
_TYPES: dict[str, Any] = {
    name: kind
    for module in (records, questions)
    for name, kind in vars(module).items()
    if dataclasses.is_dataclass(kind)
}
_FIELDS = {name: [field.name for field in dataclasses.fields(kind)] for name, kind in _TYPES.items()}
_DTYPES = {"uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"}
_WRITES, _READS = json.JSONEncoder(separators=(",", ":")), json.JSONDecoder()
_LENGTHS = struct.Struct(">II")
_AT_ONCE = 1024
"""Pieces that the kernel takes in one call (IOV_MAX)."""
_LARGE = 1 << 16
"""Bytes from which on a message's memory is kept."""
KEPT = 128_000_000
"""Bytes that are kept at most: room for the pictures that wait and for those that are being read and encoded."""
_SHARE = 8
"""A message that needs more than one part in so many is an exception, and nothing of it is kept."""
_Buffer = bytes | memoryview


class Readable(Protocol):
    """What messages are read from."""

    def readinto(self, memory: memoryview, /) -> int | None:
        """Some bytes, at least one; how many. 0 when the other side has closed."""


class WireError(Poison, ValueError):
    """Bytes that are not a message of ours."""

    code = "bad-message"


def pack(value: object) -> bytes:
    """`value` (a record, or plain values, lists, tuples, dicts with string keys, arrays, bytes) as one message."""
    return b"".join(_pieces(value))


def unpack(message: bytes) -> Any:
    """The value that `pack` was given. Raises `WireError` on anything malformed."""
    if len(message) < _LENGTHS.size:
        raise WireError("Not a message of ours: it ends within its lengths.")
    total, header_size = _LENGTHS.unpack_from(message)
    if total > MAX_MESSAGE or len(message) != _LENGTHS.size + total:
        raise WireError("The message's lengths do not agree.")
    return _value(memoryview(message)[_LENGTHS.size :], header_size)


def write(pipe: int, value: object) -> None:
    """Write one message, all of it. Arrays go as they lie, for copying a picture twice costs more than the pipe, and
    in one call, for a reader who is woken by the first bytes gets in the way of the others."""
    rest = [memoryview(piece) for piece in _pieces(value)]
    while rest:
        count = os.writev(pipe, rest[:_AT_ONCE])
        while rest and count >= len(rest[0]):
            count -= len(rest.pop(0))
        if count:
            rest[0] = rest[0][count:]


def _references(pieces: Iterable[NDArray[np.uint8]]) -> list[int]:
    """How many there are to each, who keeps it and who asks among them."""
    return [sys.getrefcount(piece) for piece in pieces]


_FREE = _references(deque([np.empty(0, np.uint8)]))[0]
"""Those to memory of which nobody holds anything: not all versions of Python count alike."""


class Memory:
    """Where messages are read to, by as many threads as like. Pictures are large and alike: that of one is taken for
    another once nobody holds anything of it, since memory that comes new from the kernel costs as much as what is read
    into it. So it grows with the most pictures that were ever held at once, and no more."""

    def __init__(self, most: int = KEPT) -> None:
        self._pieces: deque[NDArray[np.uint8]] = deque()
        self._most = most
        self._lock = threading.Lock()

    def take(self, size: int) -> memoryview:
        """So many bytes, of any content."""
        if size < _LARGE:
            return np.empty(size, np.uint8).data
        with self._lock:
            piece = self._free(size)
            return (self._new(size) if piece is None else piece)[:size].data

    def _free(self, size: int) -> NDArray[np.uint8] | None:
        for piece, held in zip(self._pieces, _references(self._pieces), strict=True):
            if held == _FREE and size <= piece.size <= 2 * size:
                return piece
        return None

    def _new(self, size: int) -> NDArray[np.uint8]:
        piece = np.empty(size + _LARGE, np.uint8)  # what is said of the next picture may be a little longer
        if piece.size > self._most // _SHARE:
            return piece
        if self._kept + piece.size > self._most:
            held = _references(self._pieces)  # what is free fits nothing that comes
            self._pieces = deque(kept for kept, count in zip(self._pieces, held, strict=True) if count != _FREE)
        if self._kept + piece.size <= self._most:
            self._pieces.append(piece)
        return piece

    @property
    def _kept(self) -> int:
        return sum(piece.size for piece in self._pieces)


def read(stream: Readable, memory: Memory | None = None) -> Any:
    """Read one message. Raises EOFError when the other side closed between messages or within one."""
    memory = memory or Memory()
    total, header_size = _LENGTHS.unpack(_filled(stream, memory.take(_LENGTHS.size)))
    if total > MAX_MESSAGE:
        raise WireError(f"The other side announced {total} bytes; the limit is {MAX_MESSAGE}.")
    return _value(_filled(stream, memory.take(total)).toreadonly(), header_size)


def _pieces(value: object) -> list[_Buffer]:
    """The lengths and the header, then every buffer."""
    buffers: list[_Buffer] = []
    header = _WRITES.encode(_flatten(value, buffers)).encode()
    total = len(header) + sum(len(buffer) for buffer in buffers)
    if total > MAX_MESSAGE:
        raise WireError(f"A message of {total} bytes is over the limit of {MAX_MESSAGE}.")
    return [_LENGTHS.pack(total, len(header)) + header, *buffers]


def _value(body: memoryview, header_size: int) -> Any:
    """What a header and its buffers say."""
    if header_size > len(body):
        raise WireError("The message's lengths do not agree.")
    try:
        header = _READS.decode(str(body[:header_size], "utf-8"))
        reader = _Buffers(body[header_size:])
        value = _rebuild(header, reader)
        reader.finish()
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise WireError(f"Not a message of ours: {error}.") from error
    return value


def _filled(stream: Readable, whole: memoryview) -> memoryview:
    """One piece of memory: a picture comes in many parts, and joining them would copy it once more."""
    rest = whole
    while rest:
        count = stream.readinto(rest)
        if not count:
            raise EOFError("the other side closed the pipe")
        rest = rest[count:]
    return whole


class _Buffers:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> memoryview:
        if size < 0 or self._at + size > len(self._data):
            raise WireError("A buffer ends before its announced size.")
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def finish(self) -> None:
        if self._at != len(self._data):
            raise WireError("Bytes are left over behind the last buffer.")


def _flatten(value: object, buffers: list[_Buffer]) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES:
            raise WireError(f"Arrays of {value.dtype} do not travel.")
        buffers.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return {"a": [value.dtype.name, list(value.shape)]}
    if isinstance(value, bytes):
        buffers.append(value)
        return {"b": len(value)}
    if isinstance(value, list):
        return {"l": [_flatten(item, buffers) for item in value]}
    if isinstance(value, tuple):
        return {"t": [_flatten(item, buffers) for item in value]}
    if isinstance(value, Mapping):
        return {"m": {str(name): _flatten(item, buffers) for name, item in value.items()}}
    name = type(value).__name__
    if _TYPES.get(name) is type(value):
        return {"r": [name, *(_flatten(getattr(value, field), buffers) for field in _FIELDS[name])]}
    raise WireError(f"A {name} does not travel.")


def _rebuild(node: Any, buffers: _Buffers) -> Any:
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    match tag:
        case "a":
            name, shape = content
            if name not in _DTYPES or any(side < 0 for side in shape):
                raise WireError(f"Not an array that travels: {name} {shape}.")
            dtype = np.dtype(name)
            count = math.prod(shape)
            return np.frombuffer(buffers.take(count * dtype.itemsize), dtype=dtype).reshape(shape)
        case "b":
            return bytes(buffers.take(content))
        case "l":
            return [_rebuild(item, buffers) for item in content]
        case "t":
            return tuple(_rebuild(item, buffers) for item in content)
        case "m":
            return {name: _rebuild(item, buffers) for name, item in content.items()}
        case "r":
            kind = _TYPES[content[0]]
            return kind(*(_rebuild(item, buffers) for item in content[1:]))
        case _:
            raise WireError(f"Unknown tag {tag!r}.")
