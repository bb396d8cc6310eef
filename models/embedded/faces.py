"""Faces turned to the camera: found in the upper part of people.

The cascade of Viola and Jones (2001) in the tree form of Lienhart et al. (2003), which comes with OpenCV's wheel. Over
a whole picture it costs more than everything else together and takes leaves and rubble for faces; inside a person it
does neither. It misses faces that are turned away, in profile, or smaller than twenty pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from ingest.records import MICROSECONDS, Box, Moment, Pixels
from models.embedded.pictures import Grey, grey, shrink
from models.nano.tracker import Visit

if TYPE_CHECKING:
    import cv2

_CASCADE = "haarcascade_frontalface_alt2.xml"
_SMALLEST = 20
"""Pixels: the size of the cascade's own window."""
_MOST_PEOPLE = 6
_UPPER = 0.6
"""Share of a person's box, from above, in which the face is looked for; its middle lies in the upper `_HEAD`."""
_HEAD = 0.5
_AROUND = 0.1
_LOOKED_AT = 200
"""Longest side, in pixels, of the part that is searched: a face is a large part of it."""
_BELIEF = ((12, 0.98), (5, 0.95), (4, 0.9), (3, 0.6))
"""How many windows agree on a face, and how far it is then believed. In photographs all 89 with four votes or more were
faces, and 18 of 21 with three; footage has fewer faces to find, so less is believed."""
_HELD_US = MICROSECONDS
"""A face is missed for a moment, in a blink or a turn, and is still there while its person is."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face in the picture: how probable it is, where, and since when. `of` is the number of the person's visit."""

    of: int
    score: float
    box: Box
    first: Moment
    last: Moment


class FaceFollower:
    """The faces of one stream."""

    def __init__(self) -> None:
        self._faces: dict[int, Face] = {}

    def close(self) -> None:
        """Another scene begins."""
        self._faces.clear()

    def look(self, pixels: Pixels, people: Sequence[Visit], moment: Moment) -> tuple[Face, ...]:
        """The faces in a picture in which `people` are seen."""
        seen = {number: (score, box) for number, score, box in find(pixels, people)}
        for number, (score, box) in seen.items():
            before = self._faces.get(number)
            known = before if before is not None else Face(number, score, box, moment, moment)
            self._faces[number] = replace(known, score=max(known.score, score), box=box, last=moment)
        self._faces = {number: face for number, face in self._faces.items() if moment - face.last <= _HELD_US}
        return self.present()

    def present(self) -> tuple[Face, ...]:
        return tuple(self._faces.values())


def find(pixels: Pixels, people: Sequence[Visit]) -> Iterator[tuple[int, float, Box]]:
    """The number of the visit, the probability and the place of every face in an RGB picture uint8 [H, W, 3]."""
    picture = grey(pixels)
    taken: list[Box] = []
    for visit in sorted(people, key=lambda one: -_area(one.last))[:_MOST_PEOPLE]:
        best = max(_in_person(picture, visit.last), key=lambda one: one[0], default=None)
        if best is not None and not any(_holds(best[1], other) for other in taken):
            taken.append(best[1])
            yield visit.number, *best


def _in_person(picture: Grey, box: Box) -> Iterator[tuple[float, Box]]:
    height, width = picture.shape
    wide, high = box.right - box.left, box.bottom - box.top
    left, right = int((box.left - _AROUND * wide) * width), int((box.right + _AROUND * wide) * width)
    top, bottom = int((box.top - _AROUND * high) * height), int((box.top + _UPPER * high) * height)
    part = (max(0, left), max(0, top), min(width, right), min(height, bottom))
    if min(part[2] - part[0], part[3] - part[1]) < _SMALLEST:
        return
    for votes, face in _search(picture, part):
        middle = ((face.top + face.bottom) / 2 - box.top) / max(high, 1e-6)
        if _belief(votes) and middle < _HEAD:
            yield _belief(votes), face


def _search(picture: Grey, part: tuple[int, int, int, int]) -> Iterator[tuple[int, Box]]:
    """Votes and place of what looks like a face in a part: left, top, right, bottom in pixels."""
    left, top, right, bottom = part
    crop = picture[top:bottom, left:right]
    scale = min(1.0, _LOOKED_AT / max(crop.shape))
    if scale < 1.0:
        crop = shrink(crop, max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    found, votes = _cascade().detectMultiScale2(crop, scaleFactor=1.1, minNeighbors=3, minSize=(_SMALLEST, _SMALLEST))
    height, width = picture.shape
    for (x, y, wide, high), agreed in zip(np.asarray(found).tolist(), votes, strict=True):
        yield int(agreed), Box(
            (left + x / scale) / width, (top + y / scale) / height,
            min(1.0, (left + (x + wide) / scale) / width), min(1.0, (top + (y + high) / scale) / height),
        )  # fmt: skip


@lru_cache(maxsize=1)
def _cascade() -> cv2.CascadeClassifier:
    import cv2

    return cv2.CascadeClassifier(str(resources.files("cv2") / "data" / _CASCADE))


def _belief(votes: int) -> float:
    return next((belief for least, belief in _BELIEF if votes >= least), 0.0)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def _holds(one: Box, other: Box) -> bool:
    """Whether the middle of one lies in the other: the same face, found in two people who overlap."""
    x, y = (one.left + one.right) / 2, (one.top + one.bottom) / 2
    return other.left <= x <= other.right and other.top <= y <= other.bottom
