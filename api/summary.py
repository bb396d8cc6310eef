"""Summary: what happened on some streams over some time, with its highlights."""

from __future__ import annotations

from collections import Counter

from api.absence import no_footage, where
from api.ask import Memories
from api.find import blind, watched
from api.highlights import highlights
from api.schemas import HitOut, SummaryOut, Where
from api.scope import Place
from api.telling import telling
from ingest.records import ObservationKind
from models.language.telling import a

TOLD_PER_STRETCH = 3
TOLD_COMINGS = 6
COUNTED = 5000


class Summariser:
    """A few lines about a stretch of time, composed from what was seen, read and heard."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories

    def summarise(self, request: Where, *, limit: int = 8) -> SummaryOut:
        views, store = self._memories.views, self._memories.memory.store
        place = self._memories.scopes.resolve(request)
        searched = views.searched(place.rows, place.scope.span)
        unseen = views.blind(blind(store, place))
        hits = [views.hit(hit, telling(store, hit)) for hit in highlights(store, place.scope, limit=limit)]
        if not watched(store, place):
            text = no_footage(searched, unseen)
        else:
            text = _told(hits, self._counts(place)) or f"Nothing of note in the footage of {where(searched)}."
        return SummaryOut(
            text=text,
            span=searched.span,
            streams=searched.streams,
            highlights=hits,
            gaps=unseen.gaps,
            more_gaps=unseen.more,
        )

    def _counts(self, place: Place) -> Counter[tuple[str, str]]:
        """How often what entered and left, as the thing and what it did."""
        kinds: tuple[ObservationKind, ...] = ("event",)
        seen = self._memories.memory.store.timeline.observations(place.scope, kinds=kinds, limit=COUNTED)
        return Counter((observation.text or "something", observation.label) for observation in seen)


def _told(hits: list[HitOut], counts: Counter[tuple[str, str]]) -> str:
    """A sentence of counts, then a line per stretch."""
    if not hits:
        return ""
    phrases = {"enters": "entered", "leaves": "left"}
    counted = [
        f"{who if who == 'something' else a(who)} {phrases[what]} {_times(count)}"
        for (who, what), count in sorted(counts.items(), key=lambda item: (item[0][0] == "something", -item[1]))
        if what in phrases
    ][:TOLD_COMINGS]
    lines = [f"{', '.join(counted)}.".capitalize()] if counted else []
    several = len({hit.stream for hit in hits}) > 1
    for hit in hits:
        what = list(dict.fromkeys(seen.description for seen in hit.observations))[:TOLD_PER_STRETCH]
        place = f"{hit.stream_name}, {hit.span.label}" if several else hit.span.label
        lines.append(f"{place}: {'; '.join(what)}.")
    return "\n".join(lines)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
