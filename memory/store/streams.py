"""Streams, their state, and how far each has been remembered."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, func, select, tuple_, update

from ingest.errors import Conflict, NotFound
from ingest.records import Mark, Moment, Span, StateChange, StreamId
from memory.store import schema
from memory.store.database import Database
from memory.store.rows import StreamRow, StreamSettings

Origin = Literal["frame", "sound"]
LAST_GAPS: Final = 16
"""So many that began last are asked for the one that ends last: few lie within another."""


class Streams:
    """Streams, their states and how far they are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: StreamRow) -> None:
        """Raises `Conflict` when the name or the id is taken."""
        values: dict[str, Any] = {
            **{name: getattr(row, name) for name in StreamRow.__slots__},
            "settings": json.dumps(row.settings.given),
            "state_at": row.added,
            "frames": 0,
        }
        table = schema.streams
        with self._database.write() as connection:
            taken = select(table.c.id).where((table.c.name == row.name) | (table.c.id == row.id))
            if connection.execute(taken).first() is not None:
                raise Conflict(f"There is already a stream called {row.name!r}.", advice="Choose another name.")
            connection.execute(table.insert().values(values))

    def all(self) -> list[StreamRow]:
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(select(schema.streams).order_by(schema.streams.c.added))]

    def get(self, id_or_name: str) -> StreamRow:
        """Raises `NotFound`. An id wins over a name."""
        table = schema.streams
        wanted = select(table).where((table.c.id == id_or_name) | (table.c.name == id_or_name))
        with self._database.read() as connection:
            rows = [_row(row) for row in connection.execute(wanted)]
        if not rows:
            raise NotFound(f"There is no stream {id_or_name!r}.", advice="`hindsight streams` lists them.")
        return next((row for row in rows if row.id == id_or_name), rows[0])

    def exists(self, connection: Connection, stream: StreamId) -> bool:
        return connection.scalar(select(schema.streams.c.id).where(schema.streams.c.id == stream)) is not None

    def set_state(self, change: StateChange) -> None:
        """Enter a state that holds now."""
        with self._database.write() as connection:
            record_state(connection, change, change.at)

    def set_paused(self, stream: StreamId, paused: bool) -> None:
        with self._database.write() as connection:
            changed = connection.execute(_where(stream).values(paused=paused)).rowcount
        if not changed:
            raise NotFound(f"There is no stream {stream!r}.", advice="`hindsight streams` lists them.")

    def change(self, row: StreamRow) -> None:
        """Another name, source, login or settings for the stream of this id. Raises `Conflict` for a name taken."""
        table = schema.streams
        with self._database.write() as connection:
            taken = select(table.c.id).where(table.c.name == row.name, table.c.id != row.id)
            if connection.execute(taken).first() is not None:
                raise Conflict(f"There is already a stream called {row.name!r}.", advice="Choose another name.")
            changes = {name: getattr(row, name) for name in ("name", "source", "masked", "login")}
            changes["settings"] = json.dumps(row.settings.given)
            if not connection.execute(_where(row.id).values(changes)).rowcount:
                raise NotFound(f"There is no stream {row.id!r}.", advice="`hindsight streams` lists them.")

    def counters(self) -> dict[StreamId, str]:
        """What was last noted of each stream's account."""
        with self._database.read() as connection:
            rows = connection.execute(select(schema.streams.c.id, schema.streams.c.counters))
            return {StreamId(row.id): row.counters for row in rows}

    def note_counters(self, connection: Connection, stream: StreamId, text: str) -> None:
        connection.execute(_where(stream).values(counters=text))

    def settings(self, stream: StreamId) -> StreamSettings:
        """What it has of its own; nothing where there is no such stream any more."""
        wanted = select(schema.streams.c.settings).where(schema.streams.c.id == stream)
        with self._database.read() as connection:
            return read_settings(connection.scalar(wanted) or "")

    def mark(self, stream: StreamId, origin: Origin = "frame") -> Mark | None:
        """How far the stream's frames (or sounds) are remembered: everything up to here is acknowledged."""
        with self._database.read() as connection:
            return read_mark(connection, stream, origin)

    def extent(self, stream: StreamId) -> Span | None:
        """From the first remembered moment to the last."""
        with self._database.read() as connection:
            ranges = [
                connection.execute(
                    select(func.min(table.c.start), func.max(table.c.end)).where(table.c.stream == stream)
                ).one()
                for table in (schema.chapters, schema.features)
            ]
        known = [Span(start, end) for start, end in ranges if start is not None]
        return Span(min(s.start for s in known), max(s.end for s in known)) if known else None

    def told(self, stream: StreamId) -> Span | None:
        """As `extent`, of a camera up to the end of its newest gap: nothing was seen then, and it is known why.

        Of one that never gave a picture it is all gaps.
        """
        extent, gaps = self.extent(stream), schema.gaps
        live = select(schema.streams.c.id).where(schema.streams.c.id == stream, schema.streams.c.kind == "live")
        of_it = select(gaps.c.start, gaps.c.end).where(gaps.c.stream == stream, live.exists())
        with self._database.read() as connection:
            newest = connection.execute(of_it.order_by(gaps.c.start.desc()).limit(LAST_GAPS)).all()
            oldest = connection.execute(of_it.order_by(gaps.c.start).limit(1)).first()
        if oldest is None:
            return extent
        known = extent or Span(Moment(oldest.start), Moment(oldest.end))
        return Span(known.start, max([known.end, *(Moment(row.end) for row in newest)]))

    def end(self, stream: StreamId) -> Moment | None:
        """Where a file ends, as far as it said so; None for what goes on."""
        with self._database.read() as connection:
            return read_end(connection, stream)

    def frames(self, stream: StreamId) -> int:
        """How many frames are remembered, merged or not."""
        with self._database.read() as connection:
            found = connection.scalar(select(schema.streams.c.frames).where(schema.streams.c.id == stream))
        return int(found or 0)


def read_end(connection: Connection, stream: StreamId) -> Moment | None:
    table = schema.streams
    wanted = select(table.c.origin + table.c.duration_us).where(table.c.id == stream)
    end = connection.scalar(wanted)
    return None if end is None else Moment(int(end))


def record_state(connection: Connection, change: StateChange, now: Moment) -> None:
    """Enter a state. One that is older than the present state was late on its way, and is ignored; not so where the
    present one lies after `now`, for then the clock was put back."""
    at = schema.streams.c.state_at
    connection.execute(
        _where(change.stream, (at <= change.at) | (at > now)).values(
            state=change.state, state_at=change.at, detail=change.detail
        )
    )


def read_mark(connection: Connection, stream: StreamId, origin: Origin) -> Mark | None:
    table = schema.marks
    row = connection.execute(
        select(table.c.epoch, table.c.pts, table.c.moment).where(
            tuple_(table.c.stream, table.c.origin) == tuple_(stream, origin)
        )
    ).one_or_none()
    return Mark(row.epoch, row.pts, Moment(row.moment)) if row else None


def _where(stream: StreamId, *conditions: ColumnElement[bool]) -> Any:
    return update(schema.streams).where(schema.streams.c.id == stream, *conditions)


def _row(row: Any) -> StreamRow:
    values = {name: getattr(row, name) for name in StreamRow.__slots__}
    return StreamRow(**values | {"settings": read_settings(row.settings)})


def read_settings(text: str) -> StreamSettings:
    """What a later version may have kept beside them is passed over."""
    kept = json.loads(text) if text else {}
    return StreamSettings(**{name: value for name, value in kept.items() if name in StreamSettings.__slots__})
