"""The stretches of footage in which most happened, from what encoders put a name to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingest.records import Hit, Observation, ObservationKind, Scope, Span, seconds
from memory.store import Store

JOIN = seconds(4)
"""Observations closer than this belong to one stretch."""
LONGEST = seconds(30)
SHOWN = seconds(5)
"""Words that stay in the picture are news only for so long."""
MOST = 5000
TELLING: tuple[ObservationKind, ...] = ("event", "heard", "read", "thing")
"""What is worth telling: not that it is dark, or that nothing moves."""
_WEIGHT: dict[ObservationKind, float] = {"event": 1.0, "heard": 1.0, "read": 0.8, "thing": 0.5, "scene": 0.1}


def highlights(store: Store, scope: Scope, *, limit: int = 8) -> list[Hit]:
    """At most `limit` stretches, in the order of time."""
    seen = store.timeline.observations(scope, kinds=TELLING, limit=MOST)
    groups = list(_grouped(sorted(seen, key=lambda o: (o.stream, o.span.start))))
    groups.sort(key=_worth, reverse=True)
    hits = [_hit(group) for group in groups[:limit]]
    return sorted(hits, key=lambda hit: hit.span)


def telling(store: Store, hit: Hit, *, limit: int = 12) -> list[Observation]:
    """What there is to tell of a stretch: what began in it before what lasts anyway, what happened before what was."""
    seen = store.timeline.observations(Scope((hit.stream,), hit.span), kinds=TELLING, limit=MOST)
    fresh = hit.span.start - JOIN
    ranked = sorted(seen, key=lambda o: (o.span.start < fresh, -_WEIGHT[o.kind], o.span.start))
    return ranked[:limit]


def _grouped(observations: Iterable[Observation]) -> Iterable[list[Observation]]:
    group: list[Observation] = []
    for seen in observations:
        if group and not _together(group, seen):
            yield group
            group = []
        group.append(seen)
    if group:
        yield group


def _together(group: Sequence[Observation], seen: Observation) -> bool:
    first = group[0]
    near = seen.span.start - max(_until(other) for other in group) <= JOIN
    return seen.stream == first.stream and near and seen.span.start - first.span.start < LONGEST


def _until(seen: Observation) -> int:
    return min(seen.span.end, seen.span.start + SHOWN) if seen.kind == "read" else seen.span.end


def _worth(group: Sequence[Observation]) -> float:
    """Many different things weigh more than the same thing again."""
    best: dict[tuple[str, str, str], float] = {}
    for seen in group:
        what = (seen.kind, seen.label, seen.text or seen.colour)
        best[what] = max(best.get(what, 0.0), _WEIGHT[seen.kind] * seen.score)
    return sum(best.values())


def _hit(group: Sequence[Observation]) -> Hit:
    best = max(group, key=lambda seen: _WEIGHT[seen.kind] * seen.score)
    start = group[0].span.start
    end = min(max(_until(seen) for seen in group), start + LONGEST)
    span = Span(start, type(start)(max(end, start + 1)))
    return Hit(best.stream, span, best.score, best.span.start)
