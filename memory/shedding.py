"""What a stream's memory gives up when it outgrows its budget: oldest detail first, then what is least new.

What a video-language system remembers beside it goes before all else. Fine features and thumbnails go by age, hour by
hour, when chapters fold; then hours fold into days, and the pictures of the oldest summaries go. What is left are
slots, and of those none is worth more for being young: over all of the stream's time those merge that lose least by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import delete, exists

from ingest.questions import Scope
from ingest.records import StreamId
from memory.chapter_files import ChapterFiles
from memory.condense import by_kind, condensed, shares
from memory.pyramid import Pyramid
from memory.recollections import Recollections
from memory.store import schema
from memory.store.rows import ChapterRow, Level
from memory.store.store import Store
from memory.tables import SlotTable

LEAST: Final[Mapping[Level, int]] = {"chapter": 1, "hour": 2, "day": 8}
"""None is summarised by fewer slots."""
PASS: Final = 32
"""No pass over a memory merges more than one slot in so many: then all are weighed anew."""
TEXT_ROW: Final = 100
"""Bytes of an observation beside its words."""


class Shedding:
    """Makes room in one stream's memory."""

    def __init__(self, store: Store, files: ChapterFiles, pyramid: Pyramid, recollections: Recollections) -> None:
        self._store = store
        self._recollections = recollections
        self._files = files
        self._pyramid = pyramid

    def shed(self, stream: StreamId, excess: int) -> None:
        """Free so many bytes, as far as there are any to free."""
        for step in (
            self._recollections.shed,
            self._fold_hours,
            self._drop_detail,
            self._fold_days,
            self._drop_pictures,
            self._thin,
        ):
            if excess > 0:
                excess -= step(stream, excess)

    def _fold_hours(self, stream: StreamId, excess: int) -> int:
        return self._fold("hour", stream, excess)

    def _fold_days(self, stream: StreamId, excess: int) -> int:
        return self._fold("day", stream, excess)

    def _fold(self, level: Level, stream: StreamId, excess: int) -> int:
        """The oldest hours (or days, with their text) take the place of what they are made of. Bytes freed."""
        freed = 0
        for number, rows in self._pyramid.foldable(stream, level):
            if freed >= excess:
                break
            if len(self._store.holds.released(stream, rows)) < len(rows):
                continue
            known = self._store.chapters.get(f"{stream}/{level}/{number}")
            before = sum(map(self._weight, rows)) + (0 if known is None else self._weight(known))
            summary = self._pyramid.fold(level, number, rows)
            freed += before - self._weight(summary)
            if level == "day":
                freed += self._forget_text(summary)
        return freed

    def _drop_detail(self, stream: StreamId, excess: int) -> int:
        """The files of chapters whose hour is not over yet."""
        return self._drop_files(stream, self._store.chapters.oldest(stream, ["chapter"]), excess)

    def _drop_pictures(self, stream: StreamId, excess: int) -> int:
        return self._drop_files(stream, self._store.chapters.oldest(stream, ["hour", "day"]), excess)

    def _drop_files(self, stream: StreamId, rows: Iterable[ChapterRow], excess: int) -> int:
        freed, going = 0, []
        for row in self._store.holds.released(stream, rows):
            if freed >= excess:
                break
            freed += row.fine_bytes + row.thumbnail_bytes
            going.append(row)
        with self._store.database.write() as connection:
            self._store.chapters.drop_detail(connection, [row.id for row in going])
        self._delete_files(going)
        return freed

    def _thin(self, stream: StreamId, excess: int) -> int:
        """Slots of all rows without detail merge with their neighbours where that loses least, down to a few."""
        rows = self._store.holds.released(stream, self._store.chapters.all(Scope((stream,))))
        rows = [row for row in rows if row.level != "chapter" or not row.path]
        freed, each = 0, self._store.chapters.bytes_of_slot
        while freed < excess:
            total = sum(row.slots for row in rows)
            fewer = min(-((freed - excess) // each), max(1, total // PASS))
            changed = self._thinned(rows, fewer)
            gone = total - sum(row.slots for row in changed)
            if not gone:
                break
            freed += gone * each
            rows = changed
        return freed

    def _thinned(self, rows: list[ChapterRow], fewer: int) -> list[ChapterRow]:
        """The rows after `fewer` of their slots were merged into others."""
        chapters = self._store.chapters
        spare = [row for row in rows if row.slots > LEAST[row.level]]
        ids = [row.id for row in spare]
        policy = self._pyramid.policy(map(_table, chapters.slots(ids)), sum(row.slots for row in spare) - fewer)
        losses = {row.id: policy.losses(by_kind(slots)) for row, slots in chapters.slots(ids)}
        gives = shares([losses[row.id] for row in spare], fewer)
        after = {row.id: row for row in rows}
        for row, give in zip(spare, gives, strict=True):
            if give:
                ((_, slots),) = chapters.slots([row.id])
                slots = condensed(slots, max(LEAST[row.level], row.slots - give), policy)
                after[row.id] = replace(row, revision=row.revision + 1).with_slots(slots)
                with self._store.database.write() as connection:
                    chapters.save(connection, after[row.id], slots)
        return list(after.values())

    def _weight(self, row: ChapterRow) -> int:
        return row.slots * self._store.chapters.bytes_of_slot + row.fine_bytes + row.thumbnail_bytes

    def _forget_text(self, day: ChapterRow) -> int:
        table, holds = schema.observations, schema.holds.c
        held = exists().where(holds.stream == day.stream, holds.start <= table.c.end, holds.end >= table.c.start)
        old = (table.c.stream == day.stream, table.c.end <= day.span.end, ~held)
        with self._store.database.write() as connection:
            return connection.execute(delete(table).where(*old)).rowcount * TEXT_ROW

    def _delete_files(self, rows: Iterable[ChapterRow]) -> None:
        for row in rows:
            if row.path:
                self._files.delete(row.path, row.sha256)


def _table(found: tuple[ChapterRow, SlotTable]) -> SlotTable:
    return found[1]
