"""From detections to visits: who came, when, from where, for how long, and where they went.

Detections are joined to tracks as in ByteTrack (Zhang et al. 2022): certain ones first, then uncertain ones for tracks
left without. Frames may be a second apart, so a track is looked for where its motion puts it, and near enough is
judged in the size of the thing: neighbouring boxes need not overlap. Boxes of one group in the same place are one thing
whose name is in doubt: a bus or a truck.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ingest.records import MICROSECONDS, Box, Moment, Span
from models.nano.coco import NAMES, group
from models.nano.detector import Detection

Direction = Literal["left", "right", "up", "down", "none"]
EDGE = 0.04
"""A box this close to a side of the picture, in fractions of it, touches that side."""
SMALL = 0.4
"""What is at most this long, in fractions of the picture, is easily missed by a look at the whole."""
_SAME_THING = 0.55
"""Boxes of one group that overlap this much (as intersection over union) are of one thing."""
_OTHER_SIZE = 1.1
"""Areas whose logarithms differ by more are not of one thing in two looks, unless it bears the same name."""
_SURE = 0.99
_REACH = 0.75
"""An arm reaches no further through the picture."""
_LIMB = 0.5
"""How far a person is believed of whom only what may be an arm has been seen."""
_LOOKS = 8
"""So many last looks say how steadily a thing is seen."""
_ONCE = 0.7
"""How far a thing that was seen only once is believed."""


@dataclass(frozen=True, slots=True)
class Following:
    """How tracks are kept.

    `start`: probability a new track needs; `keep`: what continues one; `confirm`: detections that make it a visit;
    `patience_us`: how long it may go unseen; `reach`: how far from its expected place a thing may be, in its
    longest sides.
    """

    start: float = 0.5
    keep: float = 0.2
    confirm: int = 2
    patience_us: int = 2 * MICROSECONDS
    reach: float = 1.5


@dataclass(frozen=True, slots=True)
class Near:
    """A close look at one part of the picture: `where`, and the boxes of what it found.

    `alone` says that the whole was not looked at beside it.
    """

    where: Box
    boxes: frozenset[Box] = frozenset()
    alone: bool = False

    def covers(self, box: Box) -> bool:
        x, y = _centre(box)
        return self.where.left <= x <= self.where.right and self.where.top <= y <= self.where.bottom


_NOT_NEAR = Near(Box(0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of one thing in the picture. `span` ends with the last moment it was seen."""

    number: int
    label: str
    span: Span
    first: Box
    last: Box
    score: float
    """The highest probability it was seen with."""
    sightings: int = 1
    belief: float = 0.0
    """The probability that it is there and of its group, as far as all looks at it tell."""
    limb: bool = False
    """A person of whom only what may be an arm has been seen."""
    closely: bool = False
    """No look at a whole picture has found it yet, so that one of them misses it says nothing."""
    shares: tuple[tuple[str, float], ...] = ()
    """The names it was given, and which share of the evidence each has."""

    @property
    def chances(self) -> dict[str, float]:
        """The probability of each name."""
        return {label: self.belief * share for label, share in self.shares}

    @property
    def dwell_us(self) -> int:
        return self.span.duration

    @property
    def direction(self) -> Direction:
        """Where it went, if it went further than half its own size."""
        (x0, y0), (x1, y1) = _centre(self.first), _centre(self.last)
        width = max(self.first.right - self.first.left, self.last.right - self.last.left)
        height = max(self.first.bottom - self.first.top, self.last.bottom - self.last.top)
        if max(abs(x1 - x0) / max(width, 1e-6), abs(y1 - y0) / max(height, 1e-6)) < 0.5:
            return "none"
        if abs(x1 - x0) >= abs(y1 - y0):
            return "right" if x1 > x0 else "left"
        return "down" if y1 > y0 else "up"

    @property
    def enters(self) -> bool:
        """It was first seen at a side of the picture."""
        return touches_edge(self.first)

    @property
    def leaves(self) -> bool:
        """It was last seen at a side of the picture."""
        return touches_edge(self.last)


@dataclass(slots=True)
class _Track:
    visit: Visit
    votes: dict[str, float] = field(default_factory=dict)
    looks: deque[float] = field(default_factory=lambda: deque(maxlen=_LOOKS))
    whole: bool = False
    """It was seen as more than what may be a limb."""
    best: float = 0.0
    """The highest mean of two looks one after the other."""
    bound: bool = False
    """The scene has changed since it was seen: it is the same only where it was."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Centre's motion in fractions of the picture per second."""

    def expected(self, moment: int) -> tuple[float, float]:
        x, y = _centre(self.visit.last)
        seconds = (moment - self.visit.span.end) / MICROSECONDS
        return x + self.velocity[0] * seconds, y + self.velocity[1] * seconds

    def see(self, moment: Moment, candidate: _Candidate, *, closely: bool) -> None:
        detection = candidate.detection
        (x0, y0), (x1, y1) = _centre(self.visit.last), _centre(detection.box)
        seconds = max((moment - self.visit.span.end) / MICROSECONDS, 1e-3)
        fresh = ((x1 - x0) / seconds, (y1 - y0) / seconds)
        share = 1.0 if self.visit.sightings == 1 else 0.5
        self.bound = False
        self.velocity = (
            self.velocity[0] + share * (fresh[0] - self.velocity[0]),
            self.velocity[1] + share * (fresh[1] - self.velocity[1]),
        )
        for label, chance in candidate.chances.items():
            self.votes[label] = self.votes.get(label, 0.0) + chance
        self.visit = replace(
            self.visit, span=Span(self.visit.span.start, moment), last=detection.box,
            score=max(self.visit.score, detection.score), sightings=self.visit.sightings + 1,
            closely=self.visit.closely and closely,
        )  # fmt: skip
        self.judge(detection.score)

    def judge(self, score: float) -> None:
        """Take in how sure a look was of it; 0 for one that missed it.

        What was seen well twice is believed half for that; the other half is how steadily it is seen.
        """
        if self.looks:
            self.best = max(self.best, (self.looks[-1] + score) / 2)
        self.looks.append(score)
        steady = sum(self.looks) / len(self.looks)
        belief = 0.5 * (max(self.best, steady) + steady) if len(self.looks) > 1 else _ONCE * score
        self.whole = self.whole or not _may_be_limb(self.visit.last)
        total = sum(self.votes.values())
        shares = tuple(sorted((label, vote / total) for label, vote in self.votes.items()))
        label = max(shares, key=lambda share: share[1])[0]
        limb = label == "person" and not self.whole
        belief *= _LIMB if limb else 1.0
        self.visit = replace(self.visit, belief=belief, shares=shares, label=label, limb=limb)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What may be one thing: its best detection, its score that of all names together, and the chance of each name."""

    detection: Detection
    chances: dict[str, float]


class Tracker:
    """Follows things through one stream. Moments must not go back."""

    def __init__(self, following: Following | None = None) -> None:
        self._how = following or Following()
        self._tracks: list[_Track] = []
        self._count = 0
        self._last = Moment(-1)

    def update(
        self, moment: Moment, detections: Sequence[Detection], near: Near | None = None, still: Sequence[Detection] = ()
    ) -> list[Visit]:
        """Take in what is in the picture at `moment`; the visits that are over now, in order of their start.

        `detections` are those of all looks of this moment; `near` is the close one among them.
        `still` was seen before where nothing has changed since: it is there, and no new evidence.
        """
        near = near or _NOT_NEAR
        how = self._how
        finished = self._expire(moment)
        free = list(self._tracks)
        things = _things(detections)
        for low, high in ((how.start, 1.1), (how.keep, how.start)):
            candidates = [one for one in things if low <= one.detection.score < high]
            pairs = _assign(free, candidates, moment, how.reach)
            for track, candidate in pairs:
                track.see(moment, candidate, closely=candidate.detection.box in near.boxes)
            taken = {id(track) for track, _ in pairs}
            used = {id(candidate) for _, candidate in pairs}
            free = [track for track in free if id(track) not in taken]
            if low == how.start:
                self._begin(moment, [one for one in candidates if id(one) not in used], near)
        for track in free:
            unlooked = near.alone or track.visit.closely
            if unlooked and any(_alike(track.visit, one) for one in still):
                track.visit = replace(track.visit, span=Span(track.visit.span.start, moment))
            elif not unlooked or near.covers(track.visit.last):
                track.judge(0.0)
        self._last = moment
        return finished

    def change_scene(self) -> None:
        """The next picture shows another scene, or the same in another light: what is there still, is where it was."""
        for track in self._tracks:
            track.bound = True

    def carry(self, moment: Moment) -> list[Visit]:
        """Nothing has changed until `moment`: what is in the picture stays. The visits that are over."""
        finished = self._expire(moment)
        for track in self._tracks:
            if track.visit.span.end == self._last:
                track.visit = replace(track.visit, span=Span(track.visit.span.start, moment))
                if len(track.looks) == 1:  # another look at the same picture would say the same
                    track.judge(track.looks[0])
        self._last = moment
        return finished

    def present(self) -> list[Visit]:
        """Confirmed visits that go on."""
        return [track.visit for track in self._tracks if track.visit.sightings >= self._how.confirm]

    def close(self) -> list[Visit]:
        """The stream is over: every confirmed visit still open."""
        visits = self.present()
        self._tracks = []
        return visits

    def _begin(self, moment: Moment, candidates: Iterable[_Candidate], near: Near) -> None:
        for detection, chances in ((one.detection, one.chances) for one in candidates):
            self._count += 1
            span = Span(moment, moment)
            closely = detection.box in near.boxes
            visit = Visit(
                self._count, detection.label, span, detection.box, detection.box, detection.score, closely=closely
            )
            track = _Track(visit, dict(chances))
            track.judge(detection.score)
            self._tracks.append(track)

    def _expire(self, moment: Moment) -> list[Visit]:
        over = [t for t in self._tracks if moment - t.visit.span.end > self._how.patience_us]
        self._tracks = [t for t in self._tracks if moment - t.visit.span.end <= self._how.patience_us]
        return [t.visit for t in over if t.visit.sightings >= self._how.confirm]


def _things(detections: Sequence[Detection]) -> list[_Candidate]:
    """Detections of one group in the same place as one candidate each, the most certain name first.

    Names exclude each other, so their probabilities add up; the same name again adds nothing.
    """
    found: list[_Candidate] = []
    for detection in sorted(detections, key=lambda one: -one.score):
        same = next((one for one in found if _same_thing(one.detection, detection)), None)
        if same is None:
            found.append(_Candidate(detection, {detection.label: detection.score}))
        elif detection.label not in same.chances:
            same.chances[detection.label] = detection.score
    return [
        replace(one, detection=replace(one.detection, score=min(_SURE, sum(one.chances.values())))) for one in found
    ]


def _alike(visit: Visit, seen: Detection) -> bool:
    return _same_thing(Detection(visit.label, visit.score, visit.last), seen)


def _same_thing(one: Detection, other: Detection) -> bool:
    return group(NAMES.index(one.label)) == group(NAMES.index(other.label)) and _same_place(one.box, other.box)


def _same_place(a: Box, b: Box) -> bool:
    width, height = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return False
    return width * height / (_area(a) + _area(b) - width * height) > _SAME_THING


def _assign(
    tracks: Sequence[_Track], candidates: Sequence[_Candidate], moment: Moment, reach: float
) -> list[tuple[_Track, _Candidate]]:
    """Closest pairs first, each track and candidate once, none further apart than `reach`."""
    if not tracks or not candidates:
        return []
    cost = np.array([[_distance(track, one.detection, moment) for one in candidates] for track in tracks])
    pairs = []
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in np.argsort(cost, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(candidates))
        if cost[row, column] > reach:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((tracks[row], candidates[column]))
    return pairs


def _distance(track: _Track, detection: Detection, moment: Moment) -> float:
    """How far a detection is from where the track should be, in sizes of the thing; more for another name or size.

    A thing of another group is another thing, and so is one of another name and quite another size.
    """
    if group(NAMES.index(track.visit.label)) != group(NAMES.index(detection.label)):
        return float("inf")
    last, box = track.visit.last, detection.box
    if track.bound and not _same_place(last, box):
        return float("inf")
    (x0, y0), (x1, y1) = track.expected(moment), _centre(box)
    size = max(*(side for b in (last, box) for side in (b.right - b.left, b.bottom - b.top)), 1e-6)
    away = max(abs(x1 - x0), abs(y1 - y0)) / size
    growth = abs(float(np.log(_area(box) / _area(last))))
    known = detection.label in track.votes
    if not known and growth > _OTHER_SIZE:
        return float("inf")
    return away + 0.2 * growth + (0.0 if known else 0.4)


def at_once(visits: Sequence[Visit], count: int) -> list[Span]:
    """When at least `count` of the visits go on at the same time, as disjoint spans in order."""
    changes = sorted([(v.span.start, 1) for v in visits] + [(v.span.end, -1) for v in visits])
    spans: list[Span] = []
    present, since = 0, Moment(0)
    for moment, change in changes:
        before, present = present, present + change
        if before < count <= present:
            since = moment
        elif present < count <= before and moment > since:
            if spans and spans[-1].end == since:
                since = spans.pop().start
            spans.append(Span(since, moment))
    return spans


def _may_be_limb(box: Box) -> bool:
    """Reaches into the picture from above, or flat from one side, and not through it, as arms do and bodies hardly."""
    if max(box.right - box.left, box.bottom - box.top) > _REACH:
        return False
    flat = box.right - box.left > box.bottom - box.top
    return box.top < EDGE or (flat and (box.left < EDGE) != (box.right > 1 - EDGE))


def touches_edge(box: Box) -> bool:
    return min(box.left, box.top, 1 - box.right, 1 - box.bottom) < EDGE


def _centre(box: Box) -> tuple[float, float]:
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def _area(box: Box) -> float:
    return max((box.right - box.left) * (box.bottom - box.top), 1e-9)
