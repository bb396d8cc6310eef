"""The open chapter of every stream: feature rows that no chapter file holds yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, delete, func, literal, select, update

from ingest.questions import Picture
from ingest.records import Feature, Heard, Mark, Moment, Span, StreamId
from memory.store import schema
from memory.store.database import Database
from memory.store.streams import Origin, read_mark
from memory.tables import FineLog


@dataclass(frozen=True, slots=True)
class Open:
    """The open chapter in brief: its first frame's epoch and moment (of its first sound when it has no frame yet),
    and how many frames it holds."""

    epoch: int
    start: Moment
    frames: int


class Features:
    """Features of open chapters, and the mark up to which each stream is remembered."""

    def __init__(self, database: Database, dim: int) -> None:
        self._database = database
        self._dim = dim

    def insert(self, connection: Connection, stream: StreamId, origin: Origin, features: Sequence[Feature]) -> int:
        """Write one stream's features of one origin in order and move its mark. How many were new."""
        mark = read_mark(connection, stream, origin)
        rows = []
        for feature in features:
            if mark is None or (feature.epoch, feature.pts) > (mark.epoch, mark.pts):
                mark = Mark(feature.epoch, feature.pts, feature.moment)
                rows.append(_flat(feature))
        if not rows or mark is None:
            return 0
        connection.execute(schema.features.insert(), rows)
        self.move_mark(connection, stream, origin, mark)
        if origin == "frame":
            frames = schema.streams.c.frames + len(rows)
            connection.execute(update(schema.streams).where(schema.streams.c.id == stream).values(frames=frames))
        return len(rows)

    def move_mark(self, connection: Connection, stream: StreamId, origin: Origin, mark: Mark) -> None:
        row = {"stream": stream, "origin": origin, "epoch": mark.epoch, "pts": mark.pts, "moment": mark.moment}
        self._database.upsert(connection, schema.marks, [row], update=("epoch", "pts", "moment"))

    def hear(self, connection: Connection, heard: Heard) -> None:
        """The stream was listened to so far: what is still to come lies behind."""
        before = read_mark(connection, heard.stream, "sound")
        if before is None or (heard.epoch, heard.pts) > (before.epoch, before.pts):
            self.move_mark(connection, heard.stream, "sound", Mark(heard.epoch, heard.pts, heard.moment))

    def opened(self, stream: StreamId) -> Open | None:
        table = schema.features
        with self._database.read() as connection:
            for origin in ("frame", "sound"):
                mine = (table.c.stream == stream) & (table.c.origin == origin)
                first = select(table.c.epoch, table.c.start).where(mine).order_by(table.c.id).limit(1)
                row = connection.execute(first).one_or_none()
                if row is not None:
                    count = connection.scalar(select(func.count()).where(mine)) or 0
                    return Open(row.epoch, Moment(row.start), int(count) if origin == "frame" else 0)
        return None

    def log(self, stream: StreamId, *, thumbnails: bool = True) -> FineLog:
        """The open chapter's features in time order."""
        table = schema.features
        jpeg = table.c.thumbnail if thumbnails else literal(b"").label("thumbnail")
        columns = (table.c.vector, table.c.start, table.c.end, table.c.epoch, table.c.pts, table.c.origin)
        wanted = select(*columns, jpeg).where(table.c.stream == stream).order_by(table.c.start, table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        if not rows:
            return FineLog.empty(self._dim)
        return FineLog(
            vectors=np.frombuffer(b"".join(row.vector for row in rows), "<f4").reshape(len(rows), -1),
            starts=np.array([row.start for row in rows], np.int64),
            ends=np.array([row.end for row in rows], np.int64),
            epochs=np.array([row.epoch for row in rows], np.int64),
            pts=np.array([row.pts for row in rows], np.int64),
            sounds=np.array([row.origin == "sound" for row in rows]),
            thumbnails=tuple(row.thumbnail for row in rows),
        )

    def nearest(self, stream: StreamId, moment: Moment) -> Picture | None:
        """The open chapter's thumbnail closest to `moment`."""
        table = schema.features
        wanted = (
            select(table.c.start, table.c.thumbnail)
            .where(table.c.stream == stream, func.length(table.c.thumbnail) > 0)
            .order_by(func.abs(table.c.start - moment))
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).one_or_none()
        return Picture(Moment(row.start), row.thumbnail) if row else None

    def clear(self, connection: Connection, stream: StreamId, span: Span | None = None) -> int:
        """Remove the rows that touch `span` (None: all of the stream). How many frames went."""
        table = schema.features
        mine = [table.c.stream == stream]
        if span is not None:
            mine += [table.c.start < span.end, (table.c.end > span.start) | (table.c.start >= span.start)]
        frames = connection.scalar(select(func.count()).where(*mine, table.c.origin == "frame")) or 0
        connection.execute(delete(table).where(*mine))
        return int(frames)


def _flat(feature: Feature) -> dict[str, object]:
    return {
        "stream": feature.stream,
        "origin": feature.origin,
        "epoch": feature.epoch,
        "pts": feature.pts,
        "start": feature.span.start,
        "end": feature.span.end,
        "vector": np.ascontiguousarray(feature.vector, dtype="<f4").tobytes(),
        "thumbnail": feature.thumbnail,
    }
