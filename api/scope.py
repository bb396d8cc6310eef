"""Where to look: names and human times, from a request or from the question's own words, as a `Scope`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from api import times
from api.schemas import Where
from api.settings import Settings
from api.times import Calendar
from ingest.clock import Clock
from ingest.errors import Invalid
from ingest.questions import Scope
from ingest.records import Moment, Span, seconds
from memory.store import Store, StreamRow

AROUND = seconds(150)
"""A question about an instant ("at 14:00") is about the five minutes around it; on a file, about ten seconds."""
AROUND_IN_FILE = seconds(5)

_OFFSET = re.compile(r"\d{1,3}(:\d\d){1,2}(\.\d+)?|(\d+h)?(\d+m)?(\d+(\.\d+)?s)?")


@dataclass(frozen=True, slots=True)
class Place:
    """A resolved scope with the streams it names, all of them when none was named."""

    scope: Scope
    rows: tuple[StreamRow, ...]


class Scopes:
    """Reads where and when, in the time zone that was set."""

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._zone = settings.zone

    def calendar(self, rows: Sequence[StreamRow] = ()) -> Calendar:
        """Times are offsets only when one stream is spoken about and that is a file."""
        file = extent(self._store, rows[0]) if len(rows) == 1 and rows[0].kind == "file" else None
        return Calendar(self._clock.now(), self._zone, file)

    def resolve(self, where: Where) -> Place:
        rows = self._named(where.streams)
        span = times.between(self._checked(where.start, rows), self._checked(where.end, rows), self.calendar(rows))
        return Place(Scope(tuple(row.id for row in rows), span), rows)

    def understand(self, question: str, where: Where) -> tuple[str, Place]:
        """The question without the names and times it contains, and the place those denote."""
        rows = self._named(where.streams)
        if not where.streams:
            question, named = _streams_in(question, rows)
            rows = named or rows
        place = self.resolve(where.model_copy(update={"streams": [row.id for row in rows]}))
        if place.scope.span is not None:
            return question, place
        calendar = self.calendar(rows)
        found = times.find(question, calendar)
        if found is None:
            if unclear := times.vague(question):
                raise Invalid(f'I cannot tell when "{unclear}" is.', advice=f"Write it like {times.EXAMPLES}.")
            return question, place
        span, rest = found
        return rest, replace(place, scope=replace(place.scope, span=widened(span, calendar)))

    def moment(self, text: str, row: StreamRow) -> Moment:
        return times.read(text, self.calendar((row,))).start

    def span(self, start: str | None, end: str | None, row: StreamRow) -> Span | None:
        return times.between(start, end, self.calendar((row,)))

    def _named(self, names: Sequence[str]) -> tuple[StreamRow, ...]:
        return tuple(self._store.streams.get(name) for name in names) or tuple(self._store.streams.all())

    def _checked(self, text: str | None, rows: Sequence[StreamRow]) -> str | None:
        files = len(rows) > 1 and all(row.kind == "file" for row in rows)
        if text and files and _OFFSET.fullmatch(text.strip()):
            raise Invalid(
                f'"{text}" counts from the start of a file, and there are {len(rows)} of them.',
                advice="Name the stream that is meant.",
            )
        return text


def extent(store: Store, row: StreamRow) -> Span | None:
    """From the first to the last moment: of the whole file, or of what is remembered of a live stream."""
    if row.origin is not None and row.duration_us is not None:
        return Span(row.origin, Moment(row.origin + row.duration_us))
    return store.streams.extent(row.id)


def widened(span: Span, calendar: Calendar) -> Span:
    if span.duration:
        return span
    around = AROUND if calendar.file is None else AROUND_IN_FILE
    return Span(Moment(span.start - around), Moment(span.end + around))


def _streams_in(question: str, rows: Sequence[StreamRow]) -> tuple[str, tuple[StreamRow, ...]]:
    """Streams named with a preposition ("on door-cam", "in the kitchen camera"), and the question without them."""
    named = []
    for row in rows:
        name = re.sub(r"(\\ |\\-|_)", r"[\\s_-]", re.escape(row.name))
        pattern = (
            rf"\s*\b(?:on|in|at|from|by|of|for|did|has)\s+(?:the\s+)?{name}(?:\s+(?:camera|cam|stream|video))?(?!\w)"
        )
        found = re.search(pattern, question, re.IGNORECASE)
        if found is None:
            continue
        named.append(row)
        if not found.group().strip().lower().startswith(("did", "has")):
            question = question[: found.start()] + question[found.end() :]
    return question.strip(), tuple(named)
