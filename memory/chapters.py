"""Sealing: the open chapter's rows become slots, a chapter file and one row, at once or not at all.

The file is written first, under a name that follows from the chapter's first feature; then one transaction writes
the chapter's row and removes the open rows. Killed in between, the next start removes the file that no row speaks of,
finds the rows, and seals again to the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest.records import Gap, Moment, Span, StreamId, seconds
from memory.bank import JointBank
from memory.chapter_files import ChapterFiles
from memory.spans import continuous
from memory.store.rows import ChapterRow
from memory.store.store import Store
from memory.tables import FineLog, SlotTable

Ints = NDArray[np.int64]

SOUND_SLOTS = 16
"""At most so many slots of a chapter are speech."""
KEY_FRAME_EVERY = seconds(10)
"""A thumbnail is kept at least this often."""


class Sealer:
    """Turns open chapters into sealed ones: file first, then one transaction."""

    def __init__(self, store: Store, files: ChapterFiles, bank_length: int) -> None:
        self._store = store
        self._files = files
        self._length = bank_length

    def seal(self, stream: StreamId) -> ChapterRow | None:
        """Close the stream's open chapter. None when it is empty."""
        database = self._store.database
        log = self._store.features.log(stream)
        if len(log) == 0:
            return None
        log = shown(log, self._store.timeline.gaps(stream, log.span), self._store.streams.end(stream))
        first = 0 if log.sounds.all() else int(np.argmin(log.sounds))
        identity = f"{stream}/{log.epochs[first]}/{log.pts[first]}/{'sound' if log.sounds[first] else 'frame'}"
        row = ChapterRow(identity, stream, "chapter", log.span, 0, 0)
        row, slots = self.written(row, log)
        database.probe("before seal")
        with database.write() as connection:
            self._store.chapters.save(connection, row, slots)
            self._store.features.clear(connection, stream)
            database.probe("during seal")
        return row

    def written(self, row: ChapterRow, log: FineLog) -> tuple[ChapterRow, SlotTable]:
        """Write a chapter's file. Returns its row, which the caller commits, and its slots."""
        slots = slots_of(log, self._length, self._pieces(row.stream, log))
        path = self._files.name(row.stream, row.id, row.revision)
        sha256, fine, thumbnails = self._files.write(path, with_key_frames(log, slots))
        return ChapterRow(
            id=row.id, stream=row.stream, level=row.level, span=log.span, frames=slots.frames, slots=len(slots),
            revision=row.revision, path=path, sha256=sha256, fine_bytes=fine, thumbnail_bytes=thumbnails,
        ), slots  # fmt: skip

    def _pieces(self, stream: StreamId, log: FineLog) -> Ints:
        """Between which erased spans every feature lies."""
        with self._store.database.read() as connection:
            erased = sorted(self._store.erasures.spans(connection, stream))
        return np.searchsorted([span.start for span in erased], log.starts, side="right")


def shown(log: FineLog, gaps: tuple[Gap, ...], until: Moment | None) -> FineLog:
    """The log with every frame lasting until the next, as far as sampling explains it."""
    frames = ~log.sounds
    ends = log.ends.copy()
    ends[frames] = continuous(log.starts[frames], log.ends[frames], log.epochs[frames], gaps, until).ends
    return FineLog(log.vectors, log.starts, ends, log.epochs, log.pts, log.sounds, log.thumbnails)


def slots_of(log: FineLog, length: int, pieces: Ints) -> SlotTable:
    """The slots of a log: at most `length` of frames and `SOUND_SLOTS` of speech, or one for every piece. None holds
    features of two `pieces`: int64 [F]."""
    tables = []
    for sound, most in ((False, length), (True, SOUND_SLOTS)):
        kind = log.sounds == sound
        for piece in np.unique(pieces[kind]):
            chosen = kind & (pieces == piece)
            bank = JointBank(max(1, int(most * chosen.sum() // kind.sum())))
            for vector, start, end in zip(log.vectors[chosen], log.starts[chosen], log.ends[chosen], strict=True):
                bank.append(vector, Span(Moment(int(start)), Moment(int(end))))
            tables.append(table_of(bank, sound=sound))
    return SlotTable.joined(tables)


def table_of(bank: JointBank, *, sound: bool = False) -> SlotTable:
    rows = [
        (span.start, span.end, count, peak, int(sound))
        for span, count, peak in zip(bank.spans, bank.counts, bank.peaks, strict=True)
    ]
    return SlotTable(np.asarray(bank.features(), np.float32), np.array(rows, np.int64))


def with_key_frames(log: FineLog, slots: SlotTable) -> FineLog:
    """The log with the thumbnails of key frames: of every slot's peak, and one every few seconds."""
    has = np.array([bool(jpeg) for jpeg in log.thumbnails])
    keep = np.zeros(len(log), np.bool_)
    shown = np.flatnonzero(has)
    keep[shown[np.unique(log.starts[shown] // KEY_FRAME_EVERY, return_index=True)[1]]] = True
    for start, end, _, peak, sound in slots.times:
        mine = np.flatnonzero(has & (log.starts >= start) & (log.starts < max(end, start + 1)) & ~log.sounds)
        if not sound and len(mine):
            keep[mine[int(np.argmin(np.abs(log.starts[mine] - peak)))]] = True
    thumbnails = tuple(jpeg if kept else b"" for jpeg, kept in zip(log.thumbnails, keep, strict=True))
    return FineLog(log.vectors, log.starts, log.ends, log.epochs, log.pts, log.sounds, thumbnails)
