"""Single facts about this memory, and what it was asked to forget."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from ingest.records import Moment, Span, StreamId
from memory.store import schema
from memory.store.database import Database


class Facts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> str | None:
        with self._database.read() as connection:
            return connection.scalar(select(schema.facts.c.value).where(schema.facts.c.name == name))

    def set(self, **facts: str) -> None:
        rows = [{"name": name, "value": value} for name, value in facts.items()]
        with self._database.write() as connection:
            self._database.upsert(connection, schema.facts, rows, update=("value",))


@dataclass(frozen=True, slots=True)
class Erasure:
    """A wish to forget `span` of a stream, or all of it."""

    id: int
    stream: StreamId
    span: Span | None


class Erasures:
    """Wishes to forget, so that an interrupted one is finished."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, stream: StreamId, span: Span | None, now: Moment) -> Erasure:
        """Note the wish before anything is removed: an interrupted erasure is finished at the next start."""
        bounds = {"start": span.start if span else None, "end": span.end if span else None}
        values = {"stream": stream, "asked": now, "done": False, **bounds}
        with self._database.write() as connection:
            identity = connection.execute(schema.erasures.insert().values(values)).inserted_primary_key
        assert identity is not None
        return Erasure(int(identity[0]), stream, span)

    def unfinished(self) -> list[Erasure]:
        wanted = select(schema.erasures).where(schema.erasures.c.done.is_(False)).order_by(schema.erasures.c.id)
        with self._database.read() as connection:
            return [
                Erasure(row.id, StreamId(row.stream), None if row.start is None else Span(row.start, row.end))
                for row in connection.execute(wanted)
            ]

    def finish(self, erasure: Erasure) -> None:
        """The wish is fulfilled. Of a span, its note stays, so that nothing late brings it back."""
        table = schema.erasures
        with self._database.write() as connection:
            if erasure.span is None:
                connection.execute(delete(table).where(table.c.stream == erasure.stream))
            else:
                connection.execute(update(table).where(table.c.id == erasure.id).values(done=True))

    def spans(self, connection: Connection, stream: StreamId) -> list[Span]:
        """What must not be remembered of a stream."""
        table = schema.erasures
        wanted = select(table.c.start, table.c.end).where(table.c.stream == stream, table.c.start.is_not(None))
        return [Span(row.start, row.end) for row in connection.execute(wanted)]
