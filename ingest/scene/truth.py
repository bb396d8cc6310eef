"""What is true in a film and when: derived from its script, never from its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ingest.records import Box, Moment, ObservationKind, Span, seconds
from ingest.scene.demonstration import DEMONSTRATION
from ingest.scene.script import Film, Kind, Shot
from ingest.scene.view import VIEWS, box

ENOUGH = 0.2
"""Part of an actor's box that must be in the picture for it to count as seen."""

OPAQUE: frozenset[Kind] = frozenset({"car", "van", "bus"})
"""What hides those behind it; the others are too thin to."""


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """A description and every span it is true in. Moments count from the film's first picture."""

    text: str
    spans: tuple[Span, ...]
    kind: ObservationKind
    colour: str = ""

    def since(self, origin: Moment) -> TrueEvent:
        """The same on a timeline whose film starts at `origin`."""
        moved = tuple(Span(Moment(span.start + origin), Moment(span.end + origin)) for span in self.spans)
        return replace(self, spans=moved)


@dataclass(frozen=True, slots=True)
class Truth:
    """`events` and `still` stretches in which nothing moves, descriptions that are `absent`, questions with answers."""

    events: tuple[TrueEvent, ...]
    still: tuple[Span, ...]
    absent: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]
    duration: int
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An actor in one picture."""

    name: str
    kind: Kind
    colour: str
    box: Box
    moving: bool


def boxes(t: float, film: Film = DEMONSTRATION) -> tuple[Seen, ...]:
    """Every actor that is in the picture shown `t` seconds into `film` and not hidden behind another, nearest first."""
    return tuple(seen for seen, part in _seen(film.shot(t), t) if part >= ENOUGH)


def _seen(shot: Shot, t: float) -> list[tuple[Seen, float]]:
    """Actors with any part in the picture, nearest first, and the part of each that is inside it and not hidden."""
    posed = [(actor, pose) for actor in shot.actors if (pose := actor.at(t)) is not None]
    nearer: list[Box] = []
    found: list[tuple[Seen, float]] = []
    for actor, pose in sorted(posed, key=lambda pair: pair[1].y):
        place = box(shot.place, actor, pose)
        if place is None:
            continue
        hidden = 0.0 if VIEWS[shot.place].flat else max((_covered(place[0], other) for other in nearer), default=0.0)
        found.append((Seen(actor.name, actor.kind, actor.colour, place[0], pose.moving), place[1] * (1.0 - hidden)))
        if actor.kind in OPAQUE:
            nearer.append(place[0])
    return found


def _covered(one: Box, other: Box) -> float:
    """The part of `one` that `other` covers, 0..1."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0.0, wide) * max(0.0, high) / ((one.right - one.left) * (one.bottom - one.top))


def truth(film: Film = DEMONSTRATION, *, spoken: bool = True) -> Truth:
    """What is true in `film`; `spoken` is False when it was rendered without a voice."""
    told: dict[str, TrueEvent] = {}
    seen, moving = _watch(film)
    for actor in (actor for shot in film.shots for actor in shot.actors):
        for text in actor.tells:
            known = told.get(text, TrueEvent(text, (), "thing", actor.colour))
            spans = tuple(union((*known.spans, *seen.get(actor.name, ()))))
            told[text] = replace(known, spans=spans, colour=known.colour if known.colour == actor.colour else "")
    events = [*told.values(), *(TrueEvent(t.text, _exact(t.spans), t.kind, t.colour) for t in film.told)]
    if spoken:
        lines = ((line.text, [(line.start, line.start + _length(line.text))]) for line in film.lines)
        events += [TrueEvent(text, _exact(times), "heard") for text, times in lines]
    whole = Span(Moment(0), Moment(seconds(film.duration)))
    still = _complement(union(moving), whole)
    return Truth(tuple(events), still, film.absent, film.questions, whole.duration)


def _watch(film: Film) -> tuple[dict[str, list[Span]], list[Span]]:
    """When each actor is seen, and when the smallest part of the picture changes, picture by picture."""
    seen: dict[str, list[Span]] = {}
    moving: list[Span] = []
    for number in range(round(film.duration * film.fps)):
        t, following = number / film.fps, (number + 1) / film.fps
        shot = film.shot(t)
        span = Span(Moment(seconds(t)), Moment(seconds(following)))
        found = _seen(shot, t)
        for actor, part in found:
            if part >= ENOUGH:
                seen.setdefault(actor.name, []).append(span)
        other_light = shot.light(t) != shot.light(following) or film.shot(following) is not shot
        if other_light or any(actor.moving for actor, _ in found):
            moving.append(span)
    return seen, moving


def union(spans: Iterable[Span]) -> list[Span]:
    """Sorted spans in which overlapping and touching ones are one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = joined[-1].hull(span)
        else:
            joined.append(span)
    return joined


def _complement(spans: Sequence[Span], whole: Span) -> tuple[Span, ...]:
    edges = [whole.start, *(edge for span in spans for edge in (span.start, span.end)), whole.end]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple(Span(start, end) for start, end in pairs if end - start > seconds(0.5))


def _exact(spans: Iterable[tuple[float, float]]) -> tuple[Span, ...]:
    return tuple(Span(Moment(seconds(start)), Moment(seconds(end))) for start, end in spans)


def _length(text: str) -> float:
    """About how long a calm voice takes."""
    return 0.75 + 0.058 * len(text)
