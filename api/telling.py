"""Which observations are told beside a stretch of footage: those that speak of it, and of what was asked.

What was there before the stretch and after it, such as a sign, says nothing about it, and is left out unless text was
asked for. "Nothing moves" is never told beside what moved.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from api.describe import describe
from ingest.questions import Hit, Scope
from ingest.records import Moment, Observation, ObservationKind, Span, StreamId, seconds
from memory.store import Store

MOST = 5000
WEIGHT: dict[ObservationKind, float] = {"event": 1.0, "heard": 1.0, "read": 0.8, "thing": 0.5, "scene": 0.1}
NEIGHBOURHOOD = seconds(60)
"""Before and after a stretch, where text must be for it to be there anyway."""
NEARLY_ALL = 0.8
_LEAST = 0.1
"""Part of the shorter of an observation and the stretch that they must share."""
_TEXT = re.compile(r"\b(texts?|words?|written|writing|signs?|titles?|captions?|labels?|letters|says?|said|reads?)\b")
_EMPTY = re.compile(r"a|an|and|any|are|at|did|do|does|in|is|it|of|on|or|some|something|the|there|to|was|were|what")

_ENDING = re.compile(r"(?<=\w{3})(ing|ed|es|e|s)$")


def telling(store: Store, hit: Hit, *, asked: str = "", limit: int = 12) -> list[Observation]:
    """What there is to tell of a hit of a search for `asked`, best first."""
    near = around(store, hit.stream, hit.span)
    seen = store.timeline.observations(Scope((hit.stream,), hit.span), limit=MOST)
    texts = store.timeline.observations(Scope((hit.stream,), near), kinds=("read",), limit=MOST)
    return told([*(one for one in seen if one.kind != "read"), *texts], hit.span, near, asked=asked)[:limit]


def around(store: Store, stream: StreamId, span: Span) -> Span:
    """A stretch and its neighbourhood, as far as there is footage."""
    near = Span(Moment(span.start - NEIGHBOURHOOD), Moment(span.end + NEIGHBOURHOOD))
    extent = store.streams.extent(stream)
    return (near.intersection(extent) if extent is not None else None) or span


def told(seen: Sequence[Observation], span: Span, near: Span, *, asked: str = "") -> list[Observation]:
    """The observations among `seen` that speak of `span`; `near` is where else the footage was looked at."""
    there_anyway = set() if _TEXT.search(asked.lower()) else lasting(seen, span, near)
    wanted = stems(asked)
    speaking = [one for one in seen if _touches(one.span, span)]
    fitting = [one for one in speaking if _text(one) not in there_anyway or relevance(one, wanted)]
    fitting.sort(key=lambda one: (-relevance(one, wanted), -_about(one, span), -WEIGHT[one.kind], one.span.start))
    return list(_agreeing(fitting))


def lasting(seen: Sequence[Observation], span: Span, near: Span) -> set[str]:
    """Texts that are in the picture nearly all the time around `span`."""
    outside = near.duration - span.duration
    shown: dict[str, list[Span]] = defaultdict(list)
    for one in seen:
        if one.kind == "read":
            shown[_text(one)] += _parts_outside(one.span, span, near)
    return {text for text, spans in shown.items() if outside and _covered(spans) >= NEARLY_ALL * outside}


def relevance(one: Observation, wanted: frozenset[str]) -> int:
    """How many of the wanted word stems an observation speaks of."""
    return len(wanted & stems(describe(one))) if wanted else 0


def stems(text: str) -> frozenset[str]:
    """The words of `text` that mean something, without their endings."""
    words = re.findall(r"[^\W_]+", text.lower())
    return frozenset(_ENDING.sub("", word) for word in words if not _EMPTY.fullmatch(word))


def _agreeing(ranked: Sequence[Observation]) -> Iterator[Observation]:
    """Either what moved or that nothing did, whichever comes first."""
    moved: bool | None = None
    for one in ranked:
        moves = one.kind == "event" or (one.kind == "thing" and one.actions != ("stays",))
        if moves or (one.kind, one.label) == ("scene", "still"):
            moved = moves if moved is None else moved
            if moved != moves:
                continue
        yield one


def _text(one: Observation) -> str:
    return one.text.casefold() if one.kind == "read" else ""


def _about(one: Observation, span: Span) -> float:
    """How much of an observation lies within the stretch, in tenths."""
    shared = one.span.intersection(span)
    return round(shared.duration / one.span.duration, 1) if shared is not None else 1.0


def _touches(one: Span, span: Span) -> bool:
    """Whether two spans share enough to speak of each other; an instant only has to lie within."""
    shared = one.intersection(span)
    if shared is None:
        return one.start in span or span.start in one
    return shared.duration >= _LEAST * min(one.duration, span.duration)


def _parts_outside(one: Span, span: Span, near: Span) -> Iterator[Span]:
    sides = (Span(min(near.start, span.start), span.start), Span(span.end, max(near.end, span.end)))
    return (part for side in sides if (part := one.intersection(side)) is not None)


def _covered(spans: Sequence[Span]) -> int:
    """Microseconds in at least one of the spans."""
    total, reached = 0, None
    for span in sorted(spans):
        start = span.start if reached is None else max(span.start, reached)
        total += max(0, span.end - start)
        reached = span.end if reached is None else max(reached, span.end)
    return total
