"""From scored instants to spans: how long a frame is shown, where a match starts and ends, which matches to keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.questions import Hit
from ingest.reasons import MISDATED, PARTLY, UNHEARD
from ingest.records import Gap, Moment, Span, StreamId, seconds

Times = NDArray[np.int64]

_LEAVE = 0.7
"""A match goes on until the probability falls below this part of the threshold it entered at."""
_REACH = 3
"""A frame is taken to last until the next one, if that comes within this many sampling intervals."""
_LEAST_REACH, _MOST_REACH = seconds(4), seconds(60)
_LONE = seconds(1)
"""How long a frame without neighbours is taken to last."""
_BRIDGE = 2
"""Two matches with a dip of at most this many sampling intervals between them are one."""
_NEVER = np.iinfo(np.int64).max
_FLAPPING = seconds(5)
"""Gaps with less than this between them are one when they are told."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Shown intervals in time order: int64 [N] starts and ends; `broken[i]` where i and i + 1 are not continuous;
    `step` is the typical sampling interval in microseconds."""

    starts: Times
    ends: Times
    broken: NDArray[np.bool_]
    step: int


def continuous(starts: Times, ends: Times, epochs: Times, gaps: Sequence[Gap], until: Moment | None = None) -> Track:
    """Let every frame last until the next, as far as sampling explains it; never over a gap, into another epoch, or
    beyond `until`, where the stream ends. In a gap of which part was looked at, only that part is continuous."""
    if len(starts) == 0:
        return Track(starts, ends, np.empty(0, np.bool_), 0)
    after, same = starts[1:], epochs[1:] == epochs[:-1]
    apart = after - starts[:-1]
    steps = apart[same & (apart > 0)]
    step = int(np.median(steps)) if len(steps) else _LONE
    reach = min(max(_REACH * step, _LEAST_REACH), _MOST_REACH)
    joined = same & (apart <= reach)
    last = np.maximum(ends, starts + step)
    gaps = [gap for gap in gaps if gap.reason not in UNHEARD | MISDATED]
    partly, blind = ([gap.span for gap in gaps if (gap.reason in PARTLY) == part] for part in (True, False))
    joined &= ~_between(starts[:-1], after, blind)
    joined &= ~_between(starts[:-1], after, partly) | (apart <= _LEAST_REACH)
    begins = np.array([*sorted(gap.span.start for gap in gaps), _NEVER], np.int64)
    last = np.minimum(last, begins[np.searchsorted(begins, starts, side="right")])
    if until is not None:
        last[(starts < until) & (last > until)] = until
    until_next = np.where(after >= starts[:-1], after, _NEVER)  # an epoch may begin before the last one ended
    last[:-1] = np.where(joined, after, np.minimum(last[:-1], until_next))
    return Track(starts, np.maximum(last, starts), np.append(~joined, True), step)


def _between(starts: Times, after: Times, gaps: Sequence[Span]) -> NDArray[np.bool_]:
    """Whether any of `gaps` touches what lies between, for each pair of starts and what comes after."""
    if not gaps:
        return np.zeros(len(starts), np.bool_)
    begins, ends = np.array(sorted((gap.start, gap.end) for gap in gaps), np.int64).T
    begun = np.searchsorted(begins, after)
    return (begun > 0) & (np.maximum.accumulate(ends)[begun - 1] > starts)


def flapping(gaps: Iterable[Gap]) -> list[Gap]:
    """Gaps of one stream in order of time, as they are told: those of one reason with little between are one."""
    told: list[Gap] = []
    for gap in gaps:
        before = told[-1] if told else gap
        if before.reason == gap.reason and gap.span.start - before.span.end < _FLAPPING:
            told[-1:] = [replace(before, span=before.span.hull(gap.span))]
        else:
            told.append(gap)
    return told


def matches(track: Track, probability: NDArray[np.float32], threshold: float) -> list[tuple[Span, float, Moment]]:
    """Spans where the probability reaches `threshold`, until it falls below a part of it: span, score, peak."""
    stay = np.flatnonzero(probability >= min(threshold, threshold * _LEAVE))
    if len(stay) == 0:
        return []
    piece = np.concatenate([[0], np.cumsum(track.broken[:-1])])
    dips = track.starts[stay[1:]] - track.ends[stay[:-1]]
    cut = (piece[stay[1:]] != piece[stay[:-1]]) | (dips > _BRIDGE * track.step)
    found = []
    for run in np.split(stay, np.flatnonzero(cut) + 1):
        entered = run[probability[run] >= threshold]
        if len(entered):
            run = run[run >= entered[0]]  # noqa: PLW2901 the ramp before entering is not part of the match
            best = run[int(np.argmax(probability[run]))]
            span = Span(Moment(int(track.starts[run[0]])), Moment(int(track.ends[run].max())))
            found.append((span, float(probability[best]), Moment(int(track.starts[best]))))
    return found


def clipped(hit: Hit, span: Span | None) -> Hit | None:
    """The part of a hit within `span`."""
    if span is None:
        return hit
    shared = hit.span.intersection(span)
    if shared is None:
        return hit if hit.span.duration == 0 and hit.span.start in span else None
    peak = Moment(min(max(hit.peak, shared.start), max(shared.start, shared.end - 1)))
    return Hit(hit.stream, shared, hit.score, peak, hit.level)


def united(hits: Iterable[Hit]) -> list[Hit]:
    """Hits of one stream in order of time; those that overlap are one, as good as the best of them."""
    united: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: hit.span):
        if united and united[-1].span.overlaps(hit.span):
            before = united.pop()
            hit = replace(max(before, hit, key=lambda one: one.score), span=before.span.hull(hit.span))  # noqa: PLW2901
        united.append(hit)
    return united


def best_apart(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The best hits, best first, none overlapping a better one of its stream (non-maximum suppression)."""
    kept: dict[StreamId, list[Span]] = {}
    chosen: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (-h.score, h.span.start)):
        mine = kept.setdefault(hit.stream, [])
        if not any(span.overlaps(hit.span) for span in mine):
            mine.append(hit.span)
            chosen.append(hit)
            if len(chosen) == limit:
                break
    return chosen
