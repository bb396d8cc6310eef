"""Rows of sealed chapters, hours and days."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from ingest.records import Scope, Span, StreamId
from memory.store import schema
from memory.store.database import Database
from memory.store.rows import ChapterRow, Level
from memory.store.timeline import EVERYWHERE, within
from memory.tables import SlotTable

_table = schema.chapters
_AT_ONCE = 64
"""Rows whose slots are read together: a full day's are a megabyte."""
_BRIEF = [column for column in _table.columns if column.name not in {"vectors", "times"}]


class Chapters:
    """Sealed chapters, hours and days, with their slots."""

    def __init__(self, database: Database, width: int) -> None:
        """`width`: dimensions of a vector."""
        self._database = database
        self.width = width

    def save(self, connection: Connection, row: ChapterRow, slots: SlotTable) -> None:
        """Write a chapter, replacing an earlier revision of it."""
        vectors, times = slots.blobs()
        values: dict[str, Any] = {
            name: getattr(row, name) for name in ChapterRow.__slots__ if name not in {"span", "frames", "slots"}
        }
        values |= {"start": row.span.start, "end": row.span.end, "frames": slots.frames, "slots": len(slots)}
        values |= {"vectors": vectors, "times": times}
        self._database.upsert(connection, _table, [values], update=[name for name in values if name != "id"])

    def drop_detail(self, connection: Connection, ids: Collection[str]) -> None:
        """Forget the files of these chapters: their slots remain."""
        gone = {"path": "", "sha256": "", "fine_bytes": 0, "thumbnail_bytes": 0}
        connection.execute(update(_table).where(_table.c.id.in_(ids)).values(gone))

    def remove(self, connection: Connection, ids: Collection[str]) -> None:
        connection.execute(delete(_table).where(_table.c.id.in_(ids)))

    def all(
        self,
        scope: Scope = EVERYWHERE,
        *,
        levels: Collection[Level] = (),
    ) -> list[ChapterRow]:
        """Chapters that overlap the scope, by stream and time, without their vectors."""
        wanted = select(*_BRIEF).where(*within(_table, scope)).order_by(_table.c.stream, _table.c.start)
        if levels:
            wanted = wanted.where(_table.c.level.in_(levels))
        with self._database.read() as connection:
            return [ChapterRow.of(row) for row in connection.execute(wanted)]

    def get(self, chapter: str) -> ChapterRow | None:
        with self._database.read() as connection:
            row = connection.execute(select(*_BRIEF).where(_table.c.id == chapter)).one_or_none()
        return None if row is None else ChapterRow.of(row)

    def oldest(self, stream: StreamId, levels: Collection[Level]) -> list[ChapterRow]:
        """Those of some levels whose files are still there, oldest first."""
        mine = (_table.c.stream == stream, _table.c.level.in_(levels), _table.c.path != "")
        with self._database.read() as connection:
            rows = connection.execute(select(*_BRIEF).where(*mine).order_by(_table.c.start))
            return [ChapterRow.of(row) for row in rows]

    def slots(self, ids: Collection[str]) -> Iterator[tuple[ChapterRow, SlotTable]]:
        """Chapters with their slots, by stream and time; those no longer there are left out."""
        wanted = sorted(ids)
        for at in range(0, len(wanted), _AT_ONCE):
            some = (
                select(_table)
                .where(_table.c.id.in_(wanted[at : at + _AT_ONCE]))
                .order_by(_table.c.stream, _table.c.start)
            )
            with self._database.read() as connection:
                rows = connection.execute(some).all()
            for row in rows:
                yield ChapterRow.of(row), SlotTable.of(row.vectors, row.times)

    @property
    def bytes_of_slot(self) -> int:
        """What one slot takes: its row's half-precision vector and five times, and the same with two in the index."""
        return (2 * self.width + 40) + (2 * self.width + 32)

    def indexed(self, stream: StreamId) -> int:
        """Bytes of the index."""
        with self._database.read() as connection:
            slots = connection.scalar(select(func.sum(_table.c.slots)).where(_table.c.stream == stream)) or 0
        return int(slots) * (2 * self.width + 32)

    def remembered(self, stream: StreamId) -> int:
        """Frames that all slots stand for: with the open chapter's, all that are remembered."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.sum(_table.c.frames)).where(_table.c.stream == stream)) or 0)

    def paths(self) -> dict[str, str]:
        """Of every chapter file there should be: its path and checksum."""
        wanted = select(_table.c.path, _table.c.sha256).where(_table.c.path != "")
        with self._database.read() as connection:
            return {row.path: row.sha256 for row in connection.execute(wanted)}

    def bytes(self, stream: StreamId) -> dict[str, int]:
        """Bytes by what they are spent on."""
        length = func.length(_table.c.vectors) + func.length(_table.c.times)
        wanted = (
            select(
                _table.c.level,
                func.sum(length).label("slots"),
                func.sum(_table.c.fine_bytes).label("fine"),
                func.sum(_table.c.thumbnail_bytes).label("thumbnails"),
            )
            .where(_table.c.stream == stream)
            .group_by(_table.c.level)
        )
        spent = {"fine": 0, "thumbnails": 0}
        with self._database.read() as connection:
            for row in connection.execute(wanted):
                spent[f"{row.level} slots"] = int(row.slots)
                spent["fine"] += int(row.fine)
                spent["thumbnails"] += int(row.thumbnails)
        return spent

    def reach(self, stream: StreamId) -> dict[str, Span]:
        """How far back each level of detail goes."""
        mine = _table.c.stream == stream
        spans = func.min(_table.c.start), func.max(_table.c.end)
        found: dict[str, Span] = {}
        with self._database.read() as connection:
            fine = connection.execute(
                select(*spans).where(mine, _table.c.path != "", _table.c.level == "chapter")
            ).one()
            if fine[0] is not None:
                found["fine"] = Span(*fine)
            for row in connection.execute(select(_table.c.level, *spans).where(mine).group_by(_table.c.level)):
                found[row[0]] = Span(row[1], row[2])
        return found
