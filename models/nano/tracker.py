"""From detections to visits: who came, when, from where, for how long, and where they went.

Detections are joined to tracks as in ByteTrack (Zhang et al. 2022): certain ones first, then uncertain ones for tracks
left without. Frames may be a second apart, so a track is looked for where its motion puts it, and near enough is
judged in the size of the thing: neighbouring boxes need not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ingest.records import MICROSECONDS, Box, Moment, Span
from models.nano.detector import Detection

Direction = Literal["left", "right", "up", "down", "none"]
EDGE = 0.04
"""A box this close to a side of the picture, in fractions of it, touches that side."""


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
    velocity: tuple[float, float] = (0.0, 0.0)
    """Centre's motion in fractions of the picture per second."""

    def expected(self, moment: int) -> tuple[float, float]:
        x, y = _centre(self.visit.last)
        seconds = (moment - self.visit.span.end) / MICROSECONDS
        return x + self.velocity[0] * seconds, y + self.velocity[1] * seconds

    def see(self, moment: Moment, detection: Detection) -> None:
        (x0, y0), (x1, y1) = _centre(self.visit.last), _centre(detection.box)
        seconds = max((moment - self.visit.span.end) / MICROSECONDS, 1e-3)
        fresh = ((x1 - x0) / seconds, (y1 - y0) / seconds)
        share = 1.0 if self.visit.sightings == 1 else 0.5
        self.velocity = (
            self.velocity[0] + share * (fresh[0] - self.velocity[0]),
            self.velocity[1] + share * (fresh[1] - self.velocity[1]),
        )
        self.votes[detection.label] = self.votes.get(detection.label, 0.0) + detection.score
        self.visit = replace(
            self.visit, span=Span(self.visit.span.start, moment), last=detection.box,
            score=max(self.visit.score, detection.score), sightings=self.visit.sightings + 1,
            label=max(sorted(self.votes), key=lambda label: self.votes[label]),
        )  # fmt: skip


class Tracker:
    """Follows things through one stream. Moments must not go back."""

    def __init__(self, following: Following | None = None) -> None:
        self._how = following or Following()
        self._tracks: list[_Track] = []
        self._count = 0

    def update(self, moment: Moment, detections: Sequence[Detection]) -> list[Visit]:
        """Take in what is in the picture at `moment`; the visits that are over now, in order of their start."""
        how = self._how
        finished = self._expire(moment)
        free = list(self._tracks)
        for low, high in ((how.start, 1.1), (how.keep, how.start)):
            candidates = [d for d in detections if low <= d.score < high]
            pairs = _assign(free, candidates, moment, how.reach)
            for track, detection in pairs:
                track.see(moment, detection)
            taken = {id(track) for track, _ in pairs}
            used = {id(detection) for _, detection in pairs}
            free = [track for track in free if id(track) not in taken]
            if low == how.start:
                self._begin(moment, [d for d in candidates if id(d) not in used])
        return finished

    def present(self) -> list[Visit]:
        """Confirmed visits that go on."""
        return [track.visit for track in self._tracks if track.visit.sightings >= self._how.confirm]

    def close(self) -> list[Visit]:
        """The stream is over: every confirmed visit still open."""
        visits = self.present()
        self._tracks = []
        return visits

    def _begin(self, moment: Moment, detections: Iterable[Detection]) -> None:
        for detection in detections:
            self._count += 1
            span = Span(moment, moment)
            visit = Visit(self._count, detection.label, span, detection.box, detection.box, detection.score)
            self._tracks.append(_Track(visit, {detection.label: detection.score}))

    def _expire(self, moment: Moment) -> list[Visit]:
        over = [t for t in self._tracks if moment - t.visit.span.end > self._how.patience_us]
        self._tracks = [t for t in self._tracks if moment - t.visit.span.end <= self._how.patience_us]
        return [t.visit for t in over if t.visit.sightings >= self._how.confirm]


def _assign(
    tracks: Sequence[_Track], detections: Sequence[Detection], moment: Moment, reach: float
) -> list[tuple[_Track, Detection]]:
    """Closest pairs first, each track and detection once, none further apart than `reach`."""
    if not tracks or not detections:
        return []
    cost = np.array([[_distance(track, d, moment) for d in detections] for track in tracks])
    pairs = []
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in np.argsort(cost, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(detections))
        if cost[row, column] > reach:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((tracks[row], detections[column]))
    return pairs


def _distance(track: _Track, detection: Detection, moment: Moment) -> float:
    """How far a detection is from where the track should be, in sizes of the thing; more for another name or size."""
    last, box = track.visit.last, detection.box
    (x0, y0), (x1, y1) = track.expected(moment), _centre(box)
    size = max(*(side for b in (last, box) for side in (b.right - b.left, b.bottom - b.top)), 1e-6)
    away = max(abs(x1 - x0), abs(y1 - y0)) / size
    growth = abs(float(np.log(_area(box) / _area(last))))
    return away + 0.2 * growth + (0.0 if detection.label in track.votes else 0.4)


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


def touches_edge(box: Box) -> bool:
    return min(box.left, box.top, 1 - box.right, 1 - box.bottom) < EDGE


def _centre(box: Box) -> tuple[float, float]:
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def _area(box: Box) -> float:
    return max((box.right - box.left) * (box.bottom - box.top), 1e-9)
