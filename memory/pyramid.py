"""Chapters fold into hours and hours into days, when the budget wants their room.

Folding replaces: the summary and the removal of what it summarises are one transaction, so that every frame is counted
by exactly one row, before and after. An hour has a bounded number of slots; a day has those of its hours, and from
then on as many as its novelty is worth (see `memory.condense`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ingest.questions import Scope
from ingest.records import Span, StreamId, seconds
from memory.chapter_files import ChapterFiles
from memory.chapters import SOUND_SLOTS
from memory.condense import EXACT, Policy, condensed, policy_for
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


@dataclass(frozen=True, slots=True)
class Lengths:
    """The most slots of an hour and of a day; `exact` merges by cosine alone, as MA-LMM does."""

    hour: int
    day: int
    exact: bool = False


class Pyramid:
    """Folds what a stream has left behind."""

    def __init__(self, store: Store, files: ChapterFiles, detail: Detail, lengths: Lengths) -> None:
        self._store = store
        self._files = files
        self._detail = detail
        self._exact = lengths.exact
        self._steps: dict[Level, Step] = {
            "hour": Step("hour", "chapter", HOUR, lengths.hour, 12),
            "day": Step("day", "hour", DAY, lengths.day, 24),
        }

    def foldable(self, stream: StreamId, level: Level) -> Iterable[tuple[int, list[ChapterRow]]]:
        """The hours (or days) that the stream has left and that still lie in parts: their numbers, oldest first."""
        mark = self._store.streams.mark(stream)
        if mark is None:
            return
        step = self._steps[level]
        groups: dict[int, list[ChapterRow]] = {}
        for row in self._store.chapters.all(Scope((stream,)), levels=[step.below]):
            groups.setdefault(row.span.start // step.length, []).append(row)
        for number, rows in sorted(groups.items()):
            if number < mark.moment // step.length:
                yield number, rows

    def fold(self, level: Level, number: int, rows: Sequence[ChapterRow]) -> ChapterRow:
        """Let one hour or day take the place of these rows, and of what was folded of it before."""
        step, stream, database = self._steps[level], rows[0].stream, self._store.database
        identity = f"{stream}/{level}/{number}"
        known = self._store.chapters.get(identity)
        database.probe("before fold")
        family = list(rows) if known is None else [known, *rows]
        revision = 0 if known is None else known.revision + 1
        row, slots = self._made(ChapterRow(identity, stream, level, rows[0].span, 0, 0, revision), step, family)
        with database.write() as connection:
            self._store.chapters.save(connection, row, slots)
            self._store.chapters.remove(connection, [child.id for child in rows])
            database.probe("during fold")
        for gone in family:
            if gone.path:
                self._files.delete(gone.path, gone.sha256)
        return row

    def policy(self, tables: Iterable[SlotTable], slots: int) -> Policy:
        """How merges are judged when these slots are to become `slots`."""
        return EXACT if self._exact else policy_for(tables, slots)

    def _made(self, row: ChapterRow, step: Step, below: Sequence[ChapterRow]) -> tuple[ChapterRow, SlotTable]:
        tables = [slots for _, slots in self._store.chapters.slots([child.id for child in below])]
        slots = folded(tables, step.slots, self.policy(tables, step.slots))
        span = Span(min(child.span.start for child in below), max(child.span.end for child in below))
        row = replace(row.with_slots(slots), span=span)
        pictures = _spread([log for child in below if (log := self._detail.sealed(child)) is not None], step.pictures)
        if pictures is None:
            return row, slots
        path = self._files.name(row.stream, row.id, row.revision)
        sha256, fine, thumbnails = self._files.write(path, pictures)
        return replace(row, path=path, sha256=sha256, fine_bytes=fine, thumbnail_bytes=thumbnails), slots


def folded(tables: Sequence[SlotTable], length: int, policy: Policy) -> SlotTable:
    """The slots of several tables as at most `length` slots of frames, and proportionally few of speech."""
    together = SlotTable.joined(list(tables))
    parts = [
        condensed(together.where(together.sounds == sound), most, policy)
        for sound, most in ((False, length), (True, min(length, 2 * SOUND_SLOTS)))
    ]
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
