"""A closer look at a part of the picture: small things are found in it that the look at the whole misses.

The picture is cut into overlapping parts, and one of them is looked at beside the whole (the idea of slicing: Akyon,
Altinuc and Temizel 2022; here one slice at a time). A part waits its turn only while it changes or has not been seen:
what was found in it stays found while the picture there stays as it is, so a still scene costs nothing further.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ingest.records import MICROSECONDS, Box, Moment, Pixels
from models.embedded.pictures import Grey
from models.nano.coco import NAMES, group
from models.nano.detector import Detection
from models.nano.tracker import SMALL, Visit

_PART, _SMALL_PART = 0.5, 0.375
"""A part's share of the picture's sides."""
PARTS: Final = tuple(
    Box(x * (1 - part), y * (1 - part), x * (1 - part) + part, y * (1 - part) + part)
    for part, places in ((_PART, (0.0, 1.0)), (_SMALL_PART, (0.0, 0.5, 1.0)))
    for y in places
    for x in places
)
"""The picture's quarters, and nine smaller parts that overlap a little, in which smaller people are found."""
_EVERY_US = 700_000
"""Two close looks are at least so far apart: they cost as much as looks at the whole."""
_CHANGED = 8.0
"""Grey levels by which a tile must differ for another look."""
_AGAIN_US = 1_400_000
"""A doubtful thing is looked at again after so long, if anything has changed there."""
_DOUBTFUL = 0.7
"""What is believed less is worth another look."""
_FITTED: Final = (0.25, 3.0)
"""The part around a doubtful thing: at least this share of the picture's sides, or so many times the thing's size."""
_SPOTS = 4
"""So many places of doubtful things are remembered."""
_SAME = 0.5
"""Share of the smaller of two boxes that lies in the other when they are of one thing."""
_PART_OF = 0.15
"""What is smaller beside it, and of another name, lies on it and is no part of it."""
_LONGEST_US = 10 * MICROSECONDS
"""Light creeps: a part is looked at again after so long though nothing has visibly changed."""


@dataclass(slots=True)
class _Part:
    where: Box
    looked: Moment | None = None
    tiles: Grey | None = None
    """What it looked like then."""
    found: tuple[Detection, ...] = ()


class CloserLook:
    """The parts of one stream's picture, and what was last found in each."""

    def __init__(self) -> None:
        self._parts = [_Part(where) for where in PARTS]
        self._spots: deque[_Part] = deque(maxlen=_SPOTS)
        """Parts around what was in doubt."""
        self._last: Moment | None = None
        self._in_turn = False

    def due(self, tiles: Grey, moment: Moment, doubts: Iterable[Box]) -> Box | None:
        """The part to look at now: in turn around a doubtful thing, and one that is unknown; None while all is known.

        Of those that were never seen or have changed, the one seen longest ago comes first.
        """
        if self._last is not None and moment - self._last < _EVERY_US:
            return None
        unknown = [part for part in self._parts if _is_due(part, tiles, moment)]
        places = [(part.looked, part.where) for part in unknown]
        around = [(self._seen(spot), spot) for spot in map(_around, doubts)]
        due = [
            (None if seen is None else seen.looked, spot) for seen, spot in around
            if seen is None or (_differs(seen, tiles, spot) and moment - (seen.looked or 0) >= _AGAIN_US)
        ]  # fmt: skip
        self._in_turn = not self._in_turn
        first, second = (places, due) if self._in_turn else (due, places)
        chosen = first or second
        return min(chosen, key=lambda one: -1 if one[0] is None else one[0])[1] if chosen else None

    def _seen(self, where: Box) -> _Part | None:
        """The last look at this place as a spot."""
        near = [spot for spot in self._spots if _close(spot.where, where)]
        return max(near, key=lambda spot: spot.looked or 0, default=None)

    def take(self, where: Box, found: Iterable[Detection], tiles: Grey, moment: Moment) -> None:
        """What was found in a part, boxes in fractions of the part."""
        part = next((each for each in self._parts if each.where == where), None)
        if part is None:
            for old in [spot for spot in self._spots if _close(spot.where, where)]:
                self._spots.remove(old)
            part = _Part(where)
            self._spots.append(part)
        part.looked = self._last = moment
        part.tiles = _cut(tiles, where)
        placed = (_placed(one, where) for one in found)
        part.found = tuple(one for one in placed if _size(one.box) <= SMALL)

    def found(self, tiles: Grey, moment: Moment) -> tuple[tuple[Detection, ...], tuple[Detection, ...]]:
        """What the close look of this moment found; and what earlier ones did, where nothing has changed since."""
        parts = [*self._spots, *self._parts]
        new = tuple(one for part in parts if part.looked == moment for one in part.found)
        known: list[Detection] = []
        for part in parts:
            if part.looked != moment:
                known += [one for one in part.found if not _differs(part, tiles, one.box)]
        return new, tuple(known)


def is_doubtful(visit: Visit) -> bool:
    """Small, and neither surely there nor surely not; or nothing but a close look has found it yet."""
    return _size(visit.last) <= SMALL and (visit.belief < _DOUBTFUL or visit.closely)


def _around(box: Box) -> Box:
    """A part of the picture with the thing in its middle, as far as the picture goes: the smaller, the closer."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    part = min(max(_FITTED[0], _FITTED[1] * _size(box)), _PART)
    left, top = (min(max(side - part / 2, 0.0), 1 - part) for side in (x, y))
    return Box(left, top, left + part, top + part)


def _close(a: Box, b: Box) -> bool:
    """Whether two parts show much the same, as closely."""
    apart = max(abs(a.left - b.left), abs(a.top - b.top), abs(a.right - b.right), abs(a.bottom - b.bottom))
    return apart < (a.right - a.left) / 4


def crop(pixels: Pixels, where: Box) -> Pixels:
    height, width = pixels.shape[:2]
    rows = slice(round(where.top * height), round(where.bottom * height))
    return np.ascontiguousarray(pixels[rows, round(where.left * width) : round(where.right * width)])


def together(whole: Sequence[Detection], near: Sequence[Detection]) -> tuple[Detection, ...]:
    """Both looks as one: what is seen in both counts once, with the surer look's opinion."""
    surer = {
        index: max((one for one in near if _same(one, seen) and _size(seen.box) <= SMALL), key=lambda one: one.score,
                   default=seen)
        for index, seen in enumerate(whole)
    }  # fmt: skip
    new = beyond(whole, near)
    both = [replace(seen, score=max(seen.score, surer[index].score)) for index, seen in enumerate(whole)]
    return tuple(sorted((*both, *new), key=lambda one: -one.score))


def beyond(whole: Sequence[Detection], near: Sequence[Detection]) -> tuple[Detection, ...]:
    """What a close look found that is nothing, and no part of anything, that the look at the whole did."""
    return tuple(one for one in near if not any(_same(one, seen) for seen in whole))


def _is_due(part: _Part, tiles: Grey, moment: Moment) -> bool:
    if part.looked is None or moment - part.looked >= _LONGEST_US:
        return True
    return _differs(part, tiles, part.where)


def _differs(part: _Part, tiles: Grey, box: Box) -> bool:
    """Whether the picture has changed in a box since the last close look at the part."""
    assert part.tiles is not None
    now, before = _cut(tiles, part.where).astype(np.float32), part.tiles.astype(np.float32)
    if now.shape != before.shape:
        return True
    rows, columns = now.shape
    wide, high = part.where.right - part.where.left, part.where.bottom - part.where.top
    left, right = ((x - part.where.left) / wide * columns for x in (box.left, box.right))
    top, bottom = ((y - part.where.top) / high * rows for y in (box.top, box.bottom))
    there = np.abs(now - before)[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1]
    return bool(there.size) and float(there.max()) > _CHANGED


def _cut(tiles: Grey, where: Box) -> Grey:
    rows, columns = tiles.shape
    part: Grey = tiles[round(where.top * rows) : round(where.bottom * rows),
                       round(where.left * columns) : round(where.right * columns)]  # fmt: skip
    return part


def _placed(one: Detection, where: Box) -> Detection:
    wide, high, box = where.right - where.left, where.bottom - where.top, one.box
    return replace(one, box=Box(
        where.left + box.left * wide, where.top + box.top * high,
        where.left + box.right * wide, where.top + box.bottom * high,
    ))  # fmt: skip


def _same(one: Detection, other: Detection) -> bool:
    """Of one thing: a part of it may look like something else of its group."""
    a, b = one.box, other.box
    width, height = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    if group(NAMES.index(one.label)) != group(NAMES.index(other.label)) or width <= 0 or height <= 0:
        return False
    small, large = sorted((x.right - x.left) * (x.bottom - x.top) for x in (a, b))
    return width * height > _SAME * small and (one.label == other.label or small > _PART_OF * large)


def _size(box: Box) -> float:
    return max(box.right - box.left, box.bottom - box.top)
