"""Where the fragments of an MP4 lie: what a player may be given piece by piece, by ranges of bytes.

The boxes are those of ISO/IEC 14496-12. Only files that we wrote ourselves are read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from ingest.records import MICROSECONDS

_DEPENDS: Final = 0x10000
"""Of a sample's flags, the one that says that it is made from others."""
_HEADER: Final = {b"ftyp", b"moov"}
_LARGEST_INDEX: Final = 8_000_000
"""Bytes of a box of type `moov` or `moof` that are read."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """Bytes `offset` to `offset + size`, decodable from its first picture on, which is decoded at `start` and the last
    until `end`: microseconds in the file."""

    offset: int
    size: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What every fragment needs before it, and the fragments in order; none in a plain MP4."""

    header: bytes
    fragments: tuple[Fragment, ...]


def layout(path: Path) -> Layout:
    """What is whole in the file: a fragment whose end is missing is left out."""
    beginning, timescale, found = b"", 0, list[Fragment]()
    opened: tuple[int, bytes] | None = None
    with path.open("rb") as file:
        for kind, at, size in _outermost(file):
            if kind == b"moov":
                timescale = next(iter(_timescales(_read(file, at, size)).values()), 0)
                beginning = _read(file, 0, at + size)
            elif kind == b"moof":
                opened = at, _read(file, at, size)
            elif kind == b"mdat" and opened is not None and timescale:
                begin, moof = opened
                opened, ticks = None, _decoded_at(moof)
                if ticks is not None and (_begins_anew(moof) or not found):
                    start, end = (at_then * MICROSECONDS // timescale for at_then in (ticks, ticks + _lasts(moof)))
                    found.append(Fragment(begin, at + size - begin, start, end))
                elif found:  # it goes with the pictures before it, and so does sound alone
                    last = found.pop()
                    end = last.end if ticks is None else (ticks + _lasts(moof)) * MICROSECONDS // timescale
                    found.append(replace(last, size=at + size - last.offset, end=end))
    return Layout(beginning, tuple(found))


def header(path: Path) -> bytes:
    """What every fragment needs before it, read alone; empty where it is not whole."""
    with path.open("rb") as file:
        return next((_read(file, 0, at + size) for kind, at, size in _outermost(file) if kind == b"moov"), b"")


def is_empty(path: Path) -> bool:
    """Whether nothing but a header was written, if that."""
    with path.open("rb") as file:
        boxes = list(_outermost(file))
        return file.seek(0, 2) == sum(size for _, _, size in boxes) and {kind for kind, _, _ in boxes} <= _HEADER


def shifted(path: Path, by: int) -> bytes:
    """All whole fragments of the file, its zero moved to `by` microseconds: only the times of decoding differ."""
    scales: dict[int, int] = {}
    out, opened = bytearray(), bytearray()
    with path.open("rb") as file:
        for kind, at, size in _outermost(file):
            if kind == b"moov":
                scales = _timescales(_read(file, at, size))
            elif kind in (b"moof", b"mdat"):
                file.seek(at)
                box = bytearray(file.read(size))
                if kind == b"moof":
                    _shift(box, scales, by)
                    opened = box
                elif opened:
                    out += opened + box
                    opened = bytearray()
    return bytes(out)


def _outermost(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Type, offset and size of the whole boxes of a file."""
    end, at = file.seek(0, 2), 0
    while at + 8 <= end:
        head = _read(file, at, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8 or at + size > end:
            return
        yield head[4:8], at, size
        at += size


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(min(size, _LARGEST_INDEX))


def _inside(box: bytes | bytearray, begin: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Where the boxes of one type lie between two places: begin and end, heads included."""
    at = begin
    while at + 8 <= end:
        size = int.from_bytes(box[at : at + 4], "big")
        if size < 8:
            return
        if box[at + 4 : at + 8] == wanted:
            yield at, min(at + size, end)
        at += size


def _number(box: bytes | bytearray, at: int, size: int) -> int:
    return int.from_bytes(box[at : at + size], "big")


def _timescales(moov: bytes) -> dict[int, int]:
    """Track -> its ticks per second."""
    found: dict[int, int] = {}
    for begin, end in _inside(moov, 8, len(moov), b"trak"):
        track = ticks = 0
        for head, _ in _inside(moov, begin + 8, end, b"tkhd"):
            track = _number(moov, head + (28 if moov[head + 8] == 1 else 20), 4)
        for media, media_end in _inside(moov, begin + 8, end, b"mdia"):
            for head, _ in _inside(moov, media + 8, media_end, b"mdhd"):
                ticks = _number(moov, head + (28 if moov[head + 8] == 1 else 20), 4)
        found[track] = ticks
    return found


def _times(moof: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Track, and place and size of the time of its first sample, for each track of a fragment."""
    for begin, end in _inside(moof, 8, len(moof), b"traf"):
        heads = [_number(moof, at + 12, 4) for at, _ in _inside(moof, begin + 8, end, b"tfhd")]
        for at, _ in _inside(moof, begin + 8, end, b"tfdt"):
            yield heads[0] if heads else 0, at + 12, 8 if moof[at + 8] == 1 else 4


def _decoded_at(moof: bytes) -> int | None:
    """The time, in ticks, of the first sample of the first track; None where the fragment has none of it."""
    return next((_number(moof, at, size) for track, at, size in _times(moof) if track == 1), None)


def _lasts(moof: bytes) -> int:
    """How long the samples of the first track last together, in ticks."""
    total = 0
    for begin, end in _inside(moof, 8, len(moof), b"traf"):
        (head, _), *_rest = [*_inside(moof, begin + 8, end, b"tfhd"), (0, 0)]
        if not head or _number(moof, head + 12, 4) != 1:
            continue
        said = _number(moof, head + 9, 3)
        usual = _number(moof, head + 16 + 8 * bool(said & 1) + 4 * bool(said & 2), 4) if said & 8 else 0
        for run, _ in _inside(moof, begin + 8, end, b"trun"):
            said, count = _number(moof, run + 9, 3), _number(moof, run + 12, 4)
            first = run + 16 + 4 * bool(said & 1) + 4 * bool(said & 4)
            width = 4 * sum(bool(said & one) for one in (0x100, 0x200, 0x400, 0x800))
            each = (_number(moof, first + at * width, 4) for at in range(count))
            total += sum(each) if said & 0x100 else usual * count
    return total


def _begins_anew(moof: bytes) -> bool:
    """Whether the first sample of the first track needs none before it."""
    for begin, end in _inside(moof, 8, len(moof), b"traf"):
        (head, _), *_rest = [*_inside(moof, begin + 8, end, b"tfhd"), (0, 0)]
        if not head or _number(moof, head + 12, 4) != 1:
            continue
        said = _number(moof, head + 9, 3)
        before = sum(size for flag, size in ((1, 8), (2, 4), (8, 4), (0x10, 4)) if said & flag)
        flags = _number(moof, head + 16 + before, 4) if said & 0x20 else 0
        for run, _ in _inside(moof, begin + 8, end, b"trun"):
            said, first = _number(moof, run + 9, 3), run + 16 + 4 * bool(_number(moof, run + 9, 3) & 1)
            if said & 4:
                flags = _number(moof, first, 4)
            elif said & 0x400:
                flags = _number(moof, first + 4 * bool(said & 0x100) + 4 * bool(said & 0x200), 4)
            return not flags & _DEPENDS
    return True


def _shift(moof: bytearray, scales: dict[int, int], by: int) -> None:
    for track, at, size in _times(moof):
        ticks = _number(moof, at, size) + by * scales.get(track, 0) // MICROSECONDS
        moof[at : at + size] = ticks.to_bytes(size, "big")
