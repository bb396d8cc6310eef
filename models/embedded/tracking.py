"""Regions followed through time: which thing is which, where it goes, and how it comes and goes.

Greedy nearest assignment under a constant-velocity gate; enough at a few frames a second, where a filter's covariance
would be guesswork.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, Moment, Span
from models.embedded.blobs import Blob
from models.embedded.colours import dominant
from models.embedded.pictures import Mask
from models.embedded.rigid import is_rigid, kept

BORDER = 0.025
"""A box this close to the picture's edge touches it."""
PATIENCE_US = 1_200_000
"""A thing unseen for longer is gone."""
_LONGEST_MEMORY_US = 2_000_000
_LEAST_SIGHTINGS = 2
_SURE_AGE_US = 900_000
"""Things that turn up in mid-picture must last this long to have appeared."""
WENT_SOMEWHERE = 0.04
_TRAVELLED = 0.03
"""A thing that travelled this far, as a whole, is one that moves: light and noise grow, but they do not travel."""
_TRAVELLED_IN_OTHER_LIGHT = 0.12
_STIRRED_US = 1_000_000
"""So does one that stirred in its place for this long."""
_LEFT_OVER = 0.2
"""What begins this much where a thing was is part of one: it needs no proof of its own."""
_SHAPES = 16
"""So many comparisons of its shape are kept."""
_OTHER_COLOUR = 0.5
"""Difference of colours (0..1) from which what is left of a region and goes the other way is another thing."""
SLOWEST = 0.03
"""Fractions of the picture a second below which nothing has a direction."""


@dataclass(eq=False)
class Track:
    """One moving thing."""

    id: str
    first: Moment
    last: Moment
    box: tuple[float, float, float, float]
    colours: NDArray[np.float32]
    born_at_edge: bool
    birthplace: tuple[float, float, float, float]
    sightings: int = 1
    seen_area: float = 0.0
    reach: float = 0.0
    """How far its centre has been from where it was first seen, in fractions of the picture."""
    covered_birth: bool = False
    """It came out of another thing or from a place of rest, so it did not just appear."""
    told: bool = False
    """Its arrival has been told."""
    rests_since: Moment | None = None
    stirs: bool = True
    """It moves, or moves in its place."""
    travelled: float = 0.0
    """How far both of its sides have gone the same way, in fractions of the picture."""
    in_other_light: bool = False
    """The light changed before it was known to be a thing."""
    stirred_us: int = 0
    """For how long it has stirred while the light was steady."""
    path: deque[tuple[Moment, tuple[float, float, float, float]]] = field(default_factory=deque)
    outline: Mask | None = None
    """What it covered when it was seen last."""
    shapes: deque[float] = field(default_factory=lambda: deque(maxlen=_SHAPES))
    """The shares that outlines one after the other had in common."""
    fullness: deque[float] = field(default_factory=lambda: deque(maxlen=_SHAPES))
    """The shares of their boxes that the outlines filled."""

    @property
    def rigid(self) -> bool:
        """It has kept its shape on its way, as a vehicle does."""
        return is_rigid([*self.shapes], [*self.fullness], self.seen_area / self.sightings)

    @property
    def sure(self) -> bool:
        return self.sightings >= _LEAST_SIGHTINGS

    @property
    def proven(self) -> bool:
        """It is a thing that moves, and not light, noise or an edge that trembles."""
        enough = _TRAVELLED_IN_OTHER_LIGHT if self.in_other_light else _TRAVELLED
        return self.sure and (self.travelled >= enough or self.stirred_us >= _STIRRED_US)

    @property
    def colour(self) -> str:
        return dominant(self.colours)

    @property
    def age_us(self) -> int:
        return self.last - self.first

    def velocity(self) -> tuple[float, float]:
        """Fractions of the picture a second, right and down, over the last moments.

        An edge of the box that lies on the picture's edge does not move with the thing, so the other one tells.
        """
        (start, old), (end, new) = self.path[0], self.path[-1]
        elapsed = (end - start) / MICROSECONDS
        if elapsed <= 0:
            return 0.0, 0.0
        return _shift(old, new, 0) / elapsed, _shift(old, new, 1) / elapsed

    @property
    def speed(self) -> float:
        """Fractions of the picture a second."""
        return float(np.hypot(*self.velocity()))

    @property
    def pace(self) -> float:
        """The same, in its last step alone."""
        if len(self.path) < 2:
            return self.speed
        (start, old), (end, new) = self.path[-2], self.path[-1]
        return float(np.hypot(_shift(old, new, 0), _shift(old, new, 1))) * MICROSECONDS / max(end - start, 1)

    def growth(self) -> float:
        """How much larger per second, as a ratio; 1 for the same size. Judged only when clear of the edges."""
        (start, old), (end, new) = self.path[0], self.path[-1]
        elapsed = (end - start) / MICROSECONDS
        if elapsed < 0.4 or at_edge(old) or at_edge(new):
            return 1.0
        ratio = ((new[2] - new[0]) * (new[3] - new[1])) / max((old[2] - old[0]) * (old[3] - old[1]), 1e-6)
        return float(max(ratio, 1e-3) ** (0.5 / elapsed))

    def directions(self) -> dict[str, float]:
        """Strengths of "moves left" and its like, 0..1."""
        right, down = self.velocity()
        speed = float(np.hypot(right, down))
        named = {"moves right": right, "moves left": -right, "moves down": down, "moves up": -down}
        found = {}
        if speed >= SLOWEST:
            found = {name: min(1.0, 1.5 * (part / speed)) for name, part in named.items() if part > 0.4 * speed}
        growth = self.growth()
        if growth > 1.35:
            found["comes closer"] = min(1.0, growth - 0.5)
        elif growth < 0.74:
            found["moves away"] = min(1.0, 1.5 - growth)
        return found

    def predicted(self, moment: Moment) -> tuple[float, float, float, float]:
        right, down = self.velocity()
        elapsed = (moment - self.last) / MICROSECONDS
        left, top, far, bottom = self.box
        return left + right * elapsed, top + down * elapsed, far + right * elapsed, bottom + down * elapsed

    def see(self, blob: Blob, moment: Moment) -> None:
        self._compare(blob)
        # The more of it is in the picture, the more a sighting says about its colour.
        self.seen_area += blob.area
        self.colours = self.colours + (blob.colours - self.colours) * (blob.area / self.seen_area)
        self.box, self.last = blob.box, moment
        self.reach = max(self.reach, _distance(self.birthplace, blob.box))
        self.travelled = max(self.travelled, *(abs(_travel(self.birthplace, blob.box, axis)) for axis in (0, 1)))
        self.sightings += 1
        self.path.append((moment, blob.box))
        while len(self.path) > 2 and self.path[0][0] < moment - _LONGEST_MEMORY_US // 2:
            self.path.popleft()

    def _compare(self, blob: Blob) -> None:
        if self.outline is not None and self.outline.shape == blob.mask.shape:
            shift = _shift(self.box, blob.box, 0), _shift(self.box, blob.box, 1)
            share = kept(self.outline, blob.mask, shift)
            if (
                share is not None and max(map(abs, shift)) > 0
            ):  # what stands still keeps its shape, and that says nothing
                self.shapes.append(share)
        left, top, right, bottom = blob.box
        self.fullness.append(blob.area / max((right - left) * (bottom - top), 1e-9))
        self.outline = blob.mask


@dataclass(frozen=True, eq=False)
class Passage:
    """A thing came ("enters", "appears") or went ("leaves", "vanishes")."""

    what: str
    track: str
    colours: NDArray[np.float32]
    span: Span
    box: tuple[float, float, float, float]
    seen_leaving: bool = False
    """The frames that showed it last showed it on its way out."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """What following the blobs of one frame gave."""

    seen: tuple[Track, ...]
    passages: tuple[Passage, ...]


class Tracker:
    """The moving things of one stream."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._count = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        return tuple(self._tracks)

    def forget(self) -> None:
        """Everything in sight is gone without having left: a cut, a moving camera."""
        self._tracks.clear()

    def drop(self, track: Track) -> None:
        """`track` came to rest and is part of the scene now."""
        self._tracks.remove(track)

    def follow(self, blobs: Sequence[Blob], moment: Moment, birth: str, quiet: bool) -> Sighting:
        """Match `blobs` with the tracks. `birth` makes ids unique; `quiet` suppresses arrivals (a fresh scene)."""
        free = list(range(len(blobs)))
        for _, track_at, blob_at in sorted(self._candidates(blobs, moment)):
            track = self._tracks[track_at]
            if blob_at in free and track.last != moment:
                free.remove(blob_at)
                track.see(blobs[blob_at], moment)
        passages = [passage for track in self._tracks if (passage := self._arrival(track, moment, quiet))]
        before = [track for track in self._tracks if track.proven]
        passages += self._departures(blobs, moment)
        for blob_at in free:
            begun = self._begin(blobs[blob_at], moment, birth)
            if any(overlap(begun.box, track.box) > _LEFT_OVER for track in before):
                begun.stirred_us = _STIRRED_US
        seen = tuple(track for track in self._tracks if track.last == moment and track.sure)
        return Sighting(seen, tuple(passages))

    def _candidates(self, blobs: Sequence[Blob], moment: Moment) -> list[tuple[float, int, int]]:
        found = []
        for t, track in enumerate(self._tracks):
            elapsed = (moment - track.last) / MICROSECONDS
            guess = track.predicted(moment)
            for b, blob in enumerate(blobs):
                distance = _distance(guess, blob.box)
                reach = 0.08 + 0.2 * min(elapsed, 2.0) + 0.5 * _size(track.box)
                unlike = 0.5 * float(np.abs(track.colours - blob.colours).sum())
                grown = abs(float(np.log((_size(blob.box) + 0.02) / (_size(track.box) + 0.02))))
                shared = overlap(guess, blob.box)
                cost = distance / reach + 0.5 * unlike + 0.2 * grown - 0.5 * shared
                other = unlike > _OTHER_COLOUR and _size(blob.box) < _size(track.box) and _turns_back(track, blob)
                if distance < reach and cost < 1.4 and not other:
                    found.append((cost, t, b))
        return found

    def _begin(self, blob: Blob, moment: Moment, birth: str) -> Track:
        covered = any(overlap(blob.box, track.box) > 0.5 for track in self._tracks)
        self._count += 1
        track = Track(f"{birth}-{self._count}", moment, moment, blob.box, blob.colours, at_edge(blob.box), blob.box)
        track.covered_birth, track.outline = covered, blob.mask
        track.seen_area = blob.area
        track.path.append((moment, blob.box))
        self._tracks.append(track)
        return track

    def _arrival(self, track: Track, moment: Moment, quiet: bool) -> Passage | None:
        if quiet or track.told or track.last != moment or not track.proven:
            return None
        came_in = _came_in(track)
        if came_in and not track.covered_birth:
            what = "enters"
        elif not track.born_at_edge and not came_in and _turned_up(track, moment):
            what = "appears"
        else:
            return None
        track.told = True
        begin = track.first
        return Passage(what, track.id, track.colours, Span(begin, Moment(max(moment, begin + 1))), track.birthplace)

    def _departures(self, blobs: Sequence[Blob], moment: Moment) -> list[Passage]:
        """Who is gone, and how. A thing hidden behind another is waited for."""
        passages, kept = [], []
        for track in self._tracks:
            missing = moment - track.last
            guess = track.predicted(moment)
            hidden = any(overlap(guess, blob.box) > 0.5 for blob in blobs)
            gone_out = missing > 0 and _goes_out(track.box, track.velocity(), guess)
            if missing == 0 or (not gone_out and missing <= PATIENCE_US) or (hidden and missing <= 2 * PATIENCE_US):
                kept.append(track)
                continue
            if track.proven and gone_out:
                begin = Moment(max(track.first, track.last - MICROSECONDS // 2))
                passages.append(
                    Passage("leaves", track.id, track.colours, Span(begin, moment), track.box, leaving(track))
                )
            elif track.proven and not hidden and track.age_us >= _SURE_AGE_US and track.reach >= WENT_SOMEWHERE:
                end = Moment(track.last + MICROSECONDS // 2)
                passages.append(Passage("vanishes", track.id, track.colours, Span(track.last, end), track.box))
        self._tracks = kept
        return passages


def at_edge(box: tuple[float, float, float, float]) -> bool:
    return box[0] < BORDER or box[1] < BORDER or box[2] > 1 - BORDER or box[3] > 1 - BORDER


def leaving(track: Track) -> bool:
    """The thing touches the edge that it moves towards."""
    return _pushes_out(track.box, track.velocity())


def _pushes_out(box: tuple[float, float, float, float], velocity: tuple[float, float]) -> bool:
    right, down = velocity
    return (
        (box[0] < BORDER and right < -SLOWEST)
        or (box[1] < BORDER and down < -SLOWEST)
        or (box[2] > 1 - BORDER and right > SLOWEST)
        or (box[3] > 1 - BORDER and down > SLOWEST)
    )


def _goes_out(
    box: tuple[float, float, float, float], velocity: tuple[float, float], guess: tuple[float, float, float, float]
) -> bool:
    return _pushes_out(box, velocity) or (max(map(abs, velocity)) > SLOWEST and (at_edge(box) or at_edge(guess)))


def _came_in(track: Track) -> bool:
    """Born at an edge and not on the way out of it, or too fast to have been seen there."""
    right, down = track.velocity()
    if track.born_at_edge:
        return not _pushes_out(track.birthplace, (right, down))
    before = [side - v * 0.6 for side, v in zip(track.birthplace, (right, down, right, down), strict=True)]
    return np.hypot(right, down) > 0.15 and (before[0] < 0 or before[1] < 0 or before[2] > 1 or before[3] > 1)


def _turned_up(track: Track, moment: Moment) -> bool:
    """It came from nowhere, moves, and has lasted. What turns up and lies still is not the tracker's to judge."""
    if track.covered_birth or track.told or track.reach < WENT_SOMEWHERE:
        return False
    return track.sightings >= 3 and moment - track.first >= _SURE_AGE_US


def _shift(old: Sequence[float], new: Sequence[float], axis: int) -> float:
    low, high = new[axis] - old[axis], new[axis + 2] - old[axis + 2]
    low_fixed = old[axis] < BORDER and new[axis] < BORDER
    high_fixed = old[axis + 2] > 1 - BORDER and new[axis + 2] > 1 - BORDER
    if low_fixed and not high_fixed:
        return high
    if high_fixed and not low_fixed:
        return low
    return (low + high) / 2


def _travel(old: Sequence[float], new: Sequence[float], axis: int) -> float:
    """How far both sides of a box went the same way: nothing for one that only grows or shrinks."""
    low, high = new[axis] - old[axis], new[axis + 2] - old[axis + 2]
    if old[axis] < BORDER or old[axis + 2] > 1 - BORDER or new[axis] < BORDER or new[axis + 2] > 1 - BORDER:
        return _shift(old, new, axis)
    return 0.0 if low * high <= 0 else min(low, high, key=abs)


def _turns_back(track: Track, blob: Blob) -> bool:
    """To be `track`, `blob` would have to have gone against the way that the thing was going."""
    right, down = track.velocity()
    back = right * _shift(track.box, blob.box, 0) + down * _shift(track.box, blob.box, 1)
    return track.speed > SLOWEST and back < 0


def _size(box: Sequence[float]) -> float:
    return float(np.sqrt(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)))


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.hypot((a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2))


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Share of the smaller box that lies in the other."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return float(width * height / max(smaller, 1e-9))
