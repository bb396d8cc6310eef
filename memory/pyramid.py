"""Chapters fold into hours and hours into days, with the same merge.

An hour is folded once the stream has left it, from the slots of its chapters; a day from its hours. Folding adds a
summary and removes nothing: what lies below goes when the budget wants its room, and the summary then takes its
place. Every frame is counted by exactly one leaf, before and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np

from ingest.records import Moment, Span, StreamId, seconds
from memory.bank import JointBank
from memory.chapter_files import ChapterFiles
from memory.chapters import SOUND_SLOTS, table_of
from memory.detail import Detail
from memory.store.rows import ChapterRow, Level
from memory.store.store import Store
from memory.tables import FineLog, SlotTable

HOUR: Final = seconds(3600)
DAY: Final = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Step:
    """A level of the pyramid: what it is made of, how long it is, how much it holds."""

    level: Level
    below: Level
    length: int
    slots: int
    pictures: int


class Pyramid:
    """Folds what a stream has left behind."""

    def __init__(self, store: Store, files: ChapterFiles, detail: Detail, hour_slots: int, day_slots: int) -> None:
        self._store = store
        self._files = files
        self._detail = detail
        self._steps = (Step("hour", "chapter", HOUR, hour_slots, 12), Step("day", "hour", DAY, day_slots, 24))

    def fold(self, stream: StreamId) -> bool:
        """Fold every hour and day that the stream has left. True when a leaf changed: late chapters joined one."""
        mark = self._store.streams.mark(stream)
        if mark is None:
            return False
        changed = False
        for step in self._steps:
            loose = self._store.chapters.unfolded(stream, step.below)
            for number, rows in groupby(loose, key=lambda row: row.span.start // step.length):
                if number < mark.moment // step.length:
                    changed |= self._gather(stream, step, int(number), list(rows))
        return changed

    def refold(self, row: ChapterRow) -> tuple[ChapterRow, SlotTable] | None:
        """An hour or day made anew from what lies below it; None when nothing does."""
        step = next(step for step in self._steps if step.level == row.level)
        children = self._store.chapters.children(row.id)
        return self._made(replace(row, revision=row.revision + 1), step, children) if children else None

    def thinned(self, row: ChapterRow, length: int) -> tuple[ChapterRow, SlotTable]:
        """A summary with fewer slots and no pictures."""
        ((_, slots),) = self._store.chapters.slots([row.id])
        bare = replace(row, revision=row.revision + 1, path="", sha256="", fine_bytes=0, thumbnail_bytes=0)
        slots = folded([slots], length)
        return bare.with_slots(slots), slots

    def _gather(self, stream: StreamId, step: Step, number: int, rows: list[ChapterRow]) -> bool:
        identity = f"{stream}/{step.level}/{number}"
        known = self._store.chapters.get(identity)
        database = self._store.database
        database.probe("before fold")
        if known is not None and known.leaf:
            self._add_late(known, step, rows)
            return True
        base = known or ChapterRow(identity, stream, step.level, rows[0].span, 0, 0, leaf=False)
        family = [*self._store.chapters.children(identity), *rows]
        row, slots = self._made(replace(base, revision=base.revision + (known is not None)), step, family)
        with database.write() as connection:
            self._store.chapters.save(connection, row, slots)
            self._store.chapters.fold(connection, [child.id for child in rows], identity)
            database.probe("during fold")
        if known is not None and known.path:
            self._files.delete(known.path, known.sha256)
        return False

    def _add_late(self, known: ChapterRow, step: Step, rows: list[ChapterRow]) -> None:
        """What arrived after its hour was reduced to a summary joins that summary."""
        row, slots = self._made(replace(known, revision=known.revision + 1), step, [known, *rows])
        going = [*rows, *(child for late in rows for child in self._store.chapters.children(late.id))]
        with self._store.database.write() as connection:
            self._store.chapters.save(connection, row, slots)
            self._store.chapters.remove(connection, [late.id for late in going])
        for gone in (known, *going):
            if gone.path:
                self._files.delete(gone.path, gone.sha256)

    def _made(self, row: ChapterRow, step: Step, below: Sequence[ChapterRow]) -> tuple[ChapterRow, SlotTable]:
        slots = folded([slots for _, slots in self._store.chapters.slots([child.id for child in below])], step.slots)
        span = Span(min(child.span.start for child in below), max(child.span.end for child in below))
        row = replace(row.with_slots(slots), span=span, path="", sha256="", fine_bytes=0, thumbnail_bytes=0)
        pictures = _spread([log for child in below if (log := self._detail.sealed(child)) is not None], step.pictures)
        if pictures is None:
            return row, slots
        path = self._files.name(row.stream, row.id, row.revision)
        sha256, fine, thumbnails = self._files.write(path, pictures)
        return replace(row, path=path, sha256=sha256, fine_bytes=fine, thumbnail_bytes=thumbnails), slots


def folded(tables: list[SlotTable], length: int) -> SlotTable:
    """The slots of several tables as at most `length` slots of frames, and proportionally few of speech."""
    together = SlotTable.joined(tables)
    parts = []
    for sound, most in ((False, length), (True, min(length, SOUND_SLOTS * 2))):
        bank = JointBank(most)
        mine = together.where(together.sounds == sound)
        for vector, (start, end, count, peak, _) in zip(mine.vectors, mine.times.tolist(), strict=True):
            bank.append(vector, Span(Moment(start), Moment(end)), count=count, peak=peak)
        if len(bank):
            parts.append(table_of(bank, sound=sound))
    return SlotTable.joined(parts)


def _spread(logs: Iterable[FineLog], most: int) -> FineLog | None:
    """At most so many key frames, evenly over time, without vectors."""
    shown = [log.where(np.array([bool(jpeg) for jpeg in log.thumbnails])) for log in logs]
    shown = [log for log in shown if len(log)]
    if not shown:
        return None
    bare = [replace(log, vectors=np.empty((len(log), 0), np.float32)) for log in shown]
    everything = FineLog.joined(bare)
    chosen = np.zeros(len(everything), np.bool_)
    chosen[np.unique(np.linspace(0, len(everything) - 1, min(most, len(everything))).astype(np.int64))] = True
    return everything.where(chosen)
