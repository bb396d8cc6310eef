"""Rows of sealed chapters, hours and days."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from ingest.questions import Scope
from ingest.records import Moment, Span, StreamId
from memory.store import schema
from memory.store.database import Database
from memory.store.rows import ChapterRow, Level
from memory.store.timeline import EVERYWHERE, within
from memory.tables import SlotTable

_table = schema.chapters
_AT_ONCE = 64
"""Rows whose slots are read together: a full day's are a megabyte."""
_BRIEF = [_table.c[name] for name in schema.BRIEF_CHAPTER]


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
        most: int | None = None,
    ) -> list[ChapterRow]:
        """Chapters that overlap the scope, by stream and time, without their vectors; at most so many."""
        wanted = select(*_BRIEF).where(*within(_table, scope)).order_by(_table.c.stream, _table.c.start)
        if levels:
            wanted = wanted.where(_table.c.level.in_(levels))
        with self._database.read() as connection:
            return [ChapterRow.of(row) for row in connection.execute(wanted.limit(most))]

    def around(self, ids: Collection[str]) -> list[ChapterRow]:
        """These chapters and, of each, the one before and the one after it in its stream, by stream and time."""
        other = _table.alias()
        mine = select(other.c.id).where(other.c.stream == _table.c.stream)
        before = mine.where(other.c.start < _table.c.start).order_by(other.c.start.desc()).limit(1)
        after = mine.where(other.c.start > _table.c.start).order_by(other.c.start).limit(1)
        wanted = select(_table.c.id, before.scalar_subquery(), after.scalar_subquery()).where(_table.c.id.in_(ids))
        with self._database.read() as connection:
            near = {one for row in connection.execute(wanted) for one in row if one is not None}
            rows = connection.execute(select(*_BRIEF).where(_table.c.id.in_(near)))
            return sorted(map(ChapterRow.of, rows), key=lambda row: (row.stream, row.span.start))

    def get(self, chapter: str) -> ChapterRow | None:
        with self._database.read() as connection:
            row = connection.execute(select(*_BRIEF).where(_table.c.id == chapter)).one_or_none()
        return None if row is None else ChapterRow.of(row)

    def pictured(self, stream: StreamId, moment: Moment) -> list[ChapterRow]:
        """The three closest to `moment` that have pictures."""
        mine = select(*_BRIEF).where(_table.c.stream == stream, _table.c.thumbnail_bytes > 0).limit(3)
        begun = mine.where(_table.c.start <= moment).order_by(_table.c.start.desc())
        later = mine.where(_table.c.start > moment).order_by(_table.c.start)
        with self._database.read() as connection:
            rows = [ChapterRow.of(row) for wanted in (begun, later) for row in connection.execute(wanted)]
        return sorted(rows, key=lambda row: max(row.span.start - moment, moment - row.span.end, 0))[:3]

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
        names = ("slots", "fine_bytes", "thumbnail_bytes")
        sums = (func.sum(_table.c[name]).label(name) for name in names)
        wanted = select(_table.c.level, *sums).where(_table.c.stream == stream).group_by(_table.c.level)
        spent = {"fine": 0, "thumbnails": 0}
        with self._database.read() as connection:
            for row in connection.execute(wanted):
                spent[f"{row.level} slots"] = int(row.slots) * (2 * self.width + 40)
                spent["fine"] += int(row.fine_bytes)
                spent["thumbnails"] += int(row.thumbnail_bytes)
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
