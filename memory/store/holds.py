"""Stretches that are held as evidence: nothing of them goes until a person releases them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from sqlalchemy import Connection, delete, func, select

from ingest.errors import NotFound
from ingest.questions import Scope
from ingest.records import Moment, Span, StreamId
from memory.store import schema
from memory.store.database import Database
from memory.store.rows import ChapterRow, Hold
from memory.store.timeline import EVERYWHERE, within

ALWAYS = Span(Moment(0), Moment(2**62))
"""A whole stream, with what is still to come."""

_LAST: Final = "last_hold"


class Holds:
    """What is held, and why."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def place(self, stream: StreamId, span: Span, reason: str, now: Moment) -> Hold:
        """Hold `span` of a stream from now on. Its number is never used again: who released it may ask once more."""
        values = {"stream": stream, "start": span.start, "end": span.end, "reason": reason, "placed": now}
        with self._database.write() as connection:
            last = connection.scalar(select(schema.facts.c.value).where(schema.facts.c.name == _LAST))
            number = 1 + max(int(last or 0), connection.scalar(select(func.max(schema.holds.c.id))) or 0)
            connection.execute(schema.holds.insert().values(id=number, **values))
            fact = {"name": _LAST, "value": str(number)}
            self._database.upsert(connection, schema.facts, [fact], update=("value",))
        return Hold(number, stream, span, reason, now)

    def all(self, scope: Scope = EVERYWHERE) -> list[Hold]:
        """Holds that overlap the scope, oldest first."""
        table = schema.holds
        with self._database.read() as connection:
            rows = connection.execute(select(table).where(*within(table, scope)).order_by(table.c.id))
            return [Hold(r.id, StreamId(r.stream), Span(r.start, r.end), r.reason, Moment(r.placed)) for r in rows]

    def released(self, stream: StreamId, rows: Iterable[ChapterRow]) -> list[ChapterRow]:
        """Those of `rows` of which nothing is held."""
        held = [hold.span for hold in self.all(Scope((stream,)))]
        return [row for row in rows if not any(span.overlaps(row.span) for span in held)]

    def saves(self, connection: Connection, stream: StreamId, span: Span) -> bool:
        """Whether what is to be erased of `span` stays: it is held since after that was asked for, so nobody who asked
        knew of it."""
        over = Scope((stream,), span)
        held, asked = (
            connection.scalar(select(func.max(since)).where(*within(since.table, over)))
            for since in (schema.holds.c.placed, schema.erasures.c.asked)
        )
        return held is not None and (asked is None or held >= asked)

    def release(self, identity: int) -> None:
        """Raises `NotFound`."""
        with self._database.write() as connection:
            gone = connection.execute(delete(schema.holds).where(schema.holds.c.id == identity)).rowcount
        if not gone:
            raise NotFound(f"There is no hold {identity}.", advice="`hindsight holds` lists them.")


def overlapped(spans: Iterable[Span], by: Sequence[Span], margin: int = 0) -> list[bool]:
    """Of each of `spans`, whether one of `by`, widened by `margin` microseconds, overlaps it; `by` is in order."""
    starts, ends = [one.start for one in by], list(accumulate((one.end for one in by), max))
    begun = ((span, bisect_left(starts, span.end + margin)) for span in spans)
    return [at > 0 and ends[at - 1] + margin > span.start for span, at in begun]
