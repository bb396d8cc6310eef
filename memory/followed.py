"""What was followed was there for as long as it was followed, also in frames that did not know it yet.

A frame's vector is made when the frame comes and never again. What is in it may get its name seconds later; then the
observation of it is written again, with its name, from where it was first seen. The same holds for comings and goings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ingest.questions import Hit, Query, Scope
from ingest.reasons import MISDATED, UNHEARD
from ingest.records import Moment, Span, seconds
from memory.spans import united
from memory.store.timeline import Timeline

_SOON = seconds(8)
"""A coming or going may be given its name this long after it was seen."""
_PASSES = seconds(30)
"""What is followed for longer does not pass: it may have been parked, and left when it was seen to move."""
_Spans = NDArray[np.int64]
"""Starts and ends, int64 [N, 2]."""


def as_followed(hits: Sequence[Hit], query: Query, timeline: Timeline) -> list[Hit]:
    """Hits of one stream, each begun when those came that are there at its first moment, and ended when those went that
    are there at its last; never over a gap or what was erased. What falls together is one.

    A hit is never made shorter, and stays as it is where nothing was followed or the query asks for more than presence,
    or for what passes: that is there, too, and not for long.
    """
    if not query.kinds or query.doing not in ("", "passes") or not hits:
        return list(hits)
    stream = hits[0].stream
    reach = Span(min(hit.span.start for hit in hits), Moment(max(_last(hit) for hit in hits) + 1))
    followed = timeline.followed(Scope((stream,), reach), query.kinds, query.colour)
    if query.doing:
        followed = followed[followed[:, 1] - followed[:, 0] <= _PASSES]
    if not len(followed):
        return list(hits)
    reach = reach.hull(Span(Moment(int(followed[:, 0].min())), Moment(int(followed[:, 1].max()))))
    told = (gap for gap in timeline.gaps(stream, reach) if gap.reason not in UNHEARD | MISDATED)
    gaps = [(gap.span.start, gap.span.end) for gap in told]
    blind = np.array(gaps, np.int64).reshape(-1, 2)
    return united(replace(hit, span=_whole(hit, followed, blind, query.least)) for hit in hits)


def as_told(hits: Sequence[Hit], query: Query, timeline: Timeline, scope: Scope, threshold: float) -> list[Hit]:
    """Hits of one stream, and in place of those near a coming or going the ones that were told of what is asked for.

    When something comes its name is not known yet; its frames may show somebody else who does what is asked.
    """
    if query.doing in ("", "passes"):
        return list(hits)
    told = timeline.events(scope, query.doing)
    asked = [one for one in told if one.text in query.kinds and query.colour in ("", one.colour)]
    near = [Span(Moment(one.span.start - _SOON), Moment(one.span.end + _SOON)) for one in told]
    others = [hit for hit in hits if not any(hit.span.overlaps(span) for span in near)]
    known = [Hit(one.stream, one.span, one.score, one.span.start) for one in asked if one.score >= threshold]
    return [*others, *known]


def _whole(hit: Hit, followed: _Spans, blind: _Spans, least: int) -> Span:
    """From when on, and until when, there were always `least` of those that are there at the first and last moment."""
    first, last = hit.span.start, _last(hit)
    came = np.sort(_holding(followed, first)[:, 0])
    gone = np.sort(_holding(followed, last)[:, 1])
    seen_from = np.minimum(blind[blind[:, 0] <= first, 1], first).max(initial=0)
    seen_until = np.maximum(blind[blind[:, 1] > last, 0], last + 1).min(initial=np.iinfo(np.int64).max)
    start = max(int(came[least - 1]), int(seen_from)) if len(came) >= least else first
    end = min(int(gone[-least]), int(seen_until)) if len(gone) >= least else hit.span.end
    return Span(Moment(start), Moment(end))


def _holding(spans: _Spans, moment: int) -> _Spans:
    return spans[(spans[:, 0] <= moment) & (moment < spans[:, 1])]


def _last(hit: Hit) -> int:
    """The last moment of a hit; that of an instant is its first."""
    return max(hit.span.start, hit.span.end - 1)
