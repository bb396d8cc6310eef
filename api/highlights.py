"""The stretches of footage in which most happened, and the moments of what was seen in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from api.telling import MOST, WEIGHT, relevance, stems, telling
from ingest.questions import Hit, Scope
from ingest.records import Observation, ObservationKind, Span, seconds
from memory.store import Store

JOIN = seconds(4)
"""Observations closer than this belong to one stretch."""
LONGEST = seconds(30)
SHOWN = seconds(5)
"""Words that stay in the picture are news only for so long."""
LASTS = seconds(15)
"""Words that stay for longer are no part of what happens beside them."""
NEWS: tuple[ObservationKind, ...] = ("event", "heard", "read", "thing")
"""What is worth telling by itself: not that it is dark, or that nothing moves."""
TURNS: tuple[ObservationKind, ...] = ("thing", "heard", "event", "read")


def highlights(store: Store, scope: Scope, *, limit: int = 8) -> list[Hit]:
    """At most `limit` stretches, in the order of time."""
    seen = store.timeline.observations(scope, kinds=NEWS, limit=MOST)
    passing = [one for one in seen if not _lasts(one)]
    groups = list(_grouped(sorted(passing, key=lambda o: (o.stream, o.span.start))))
    groups += [[one] for one in seen if _lasts(one)]
    groups.sort(key=_worth, reverse=True)
    worth_telling = (hit for group in groups if _is_news(store, hit := _hit(group)))
    return sorted(islice(worth_telling, limit), key=lambda hit: hit.span)


def moments(store: Store, scope: Scope, *, asked: str, limit: int = 8) -> list[Hit]:
    """At most `limit` observations as hits, each with its own span: what speaks of `asked` first, then of every kind
    in turn."""
    wanted = stems(asked)
    seen = store.timeline.observations(scope, kinds=NEWS, limit=MOST)
    ranks: dict[ObservationKind, int] = dict.fromkeys(TURNS, 0)
    order: list[tuple[int, int, int, Observation]] = []
    for one in sorted(seen, key=lambda one: (-one.score, one.span.start)):
        order.append((-relevance(one, wanted), ranks[one.kind], TURNS.index(one.kind), one))
        ranks[one.kind] += 1
    chosen: list[Observation] = []
    for *_, one in sorted(order, key=lambda entry: entry[:3]):
        if len(chosen) < limit and not any(_told_by(one, other) for other in chosen):
            chosen.append(one)
    return [_hit([one], whole=True) for one in chosen]


def _is_news(store: Store, hit: Hit) -> bool:
    """Whether there is more to tell of a stretch than what was there anyway."""
    return any(one.kind in NEWS for one in telling(store, hit))


def _told_by(one: Observation, other: Observation) -> bool:
    """Whether the moment of `one` is shown by the moment of `other`: of its arrival, or of the same words again."""
    if one.stream != other.stream:
        return False
    arrival = one.kind == "event" and other.kind == "thing" and one.span.overlaps(other.span)
    return arrival or (one.kind == other.kind == "read" and one.text == other.text)


def _lasts(one: Observation) -> bool:
    return one.kind == "read" and one.span.duration > LASTS


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
        best[what] = max(best.get(what, 0.0), WEIGHT[seen.kind] * seen.score)
    return sum(best.values())


def _hit(group: Sequence[Observation], *, whole: bool = False) -> Hit:
    """`whole`: the observation's own span, however long."""
    best = max(group, key=lambda seen: WEIGHT[seen.kind] * seen.score)
    start = group[0].span.start
    end = best.span.end if whole else min(max(_until(seen) for seen in group), start + LONGEST)
    span = Span(start, type(start)(max(end, start + 1)))
    return Hit(best.stream, span, best.score, best.span.start)
