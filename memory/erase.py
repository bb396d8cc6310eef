"""The only way anything is forgotten on request: rows, vectors, thumbnails, recordings, index entries, merged shares.

The wish is written down first and crossed out last, so a killed erasure is finished at the next start. A chapter that
overlaps an erased span is rebuilt from the features that remain; where only its merged slots are left, those that
overlap are dropped whole, because what was averaged into them cannot be taken out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, select, update

from ingest.clock import Clock
from ingest.errors import StorageFull
from ingest.questions import Scope
from ingest.records import Moment, Segment, Span, StreamId
from memory import durable
from memory.chapter_files import ChapterFiles
from memory.chapters import Sealer
from memory.detail import Detail
from memory.recollections import Recollections
from memory.recordings import Recordings
from memory.store import schema
from memory.store.facts import Erasure
from memory.store.holds import ALWAYS
from memory.store.rows import ChapterRow
from memory.store.store import Store
from memory.store.timeline import within
from memory.tables import SlotTable

logger = logging.getLogger(__name__)

_TIMED = {"observations": schema.observations, "alerts": schema.alerts}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure removed, by kind, and the kinds that were looked through again and found empty."""

    removed: Mapping[str, int]
    verified_gone: tuple[str, ...]


class Rebuilding:
    """What is left of a chapter, hour or day when a span is taken out of it."""

    def __init__(self, store: Store, files: ChapterFiles, detail: Detail, sealer: Sealer) -> None:
        self._store = store
        self.files = files
        self._detail = detail
        self._sealer = sealer

    def without(self, row: ChapterRow, span: Span) -> tuple[ChapterRow, SlotTable] | None:
        """None when nothing is left."""
        log = self._detail.sealed(row)
        row = replace(row, revision=row.revision + 1)
        if log is not None:
            log = log.where(~_inside(log.starts, log.ends, span))
            if row.level == "chapter":
                return self._sealer.written(row, log) if len(log) else None
        ((_, slots),) = self._store.chapters.slots([row.id])
        slots = slots.where(~_inside(slots.starts, slots.ends, span))
        if not len(slots):
            return None
        bounds = Span(Moment(int(slots.starts.min())), Moment(int(slots.ends.max())))
        row = replace(row.with_slots(slots), span=bounds, path="", sha256="", fine_bytes=0, thumbnail_bytes=0)
        if log is None or not len(log):
            return row, slots
        path = self.files.name(row.stream, row.id, row.revision)
        sha256, fine, thumbnails = self.files.write(path, log)
        return replace(row, path=path, sha256=sha256, fine_bytes=fine, thumbnail_bytes=thumbnails), slots


class Eraser:
    """The only delete path: notes the wish, fulfils it, looks again, gives a receipt."""

    def __init__(
        self,
        rebuilding: Rebuilding,
        recordings: Recordings,
        recollections: Recollections,
        lock: RLock,
        changed: Callable[[StreamId], Mapping[str, int]],
        spare: Callable[[], None],
    ) -> None:
        """`changed` brings the index and the open chapters up to date and returns index entries per owner; `spare`
        frees what can be made anew, when there is no room even to erase."""
        self._store = recordings.store
        self._rebuilding = rebuilding
        self._all = recordings
        self._recollections = recollections
        self._files = rebuilding.files
        self._lock = lock
        self._changed = changed
        self._spare = spare

    def erase(self, stream: StreamId, span: Span | None, clock: Clock) -> Receipt:
        """Forget `span` of a stream, or the stream altogether (None). Files of the user's own stay."""
        with self._lock:
            if span is not None:
                self._store.streams.get(stream)
            try:
                wish = self._store.erasures.ask(stream, span, clock.now())
            except StorageFull:
                self._make_room(stream, span)
                wish = self._store.erasures.ask(stream, span, clock.now())
            return self._fulfil(wish)

    def resume(self) -> None:
        """Finish what a killed process was asked to forget."""
        with self._lock:
            for erasure in self._store.erasures.unfinished():
                self._fulfil(erasure)

    def catch_up(self, stream: StreamId) -> None:
        """What was to be erased, and stayed because it was held, goes when it is held no more; so do the bytes of which
        no recording can be made."""
        holds, timeline = self._store.holds, self._store.timeline
        for span in timeline.erased(stream, None):
            late = [segment for segment in timeline.segments(stream, span) if segment.owned]
            with self._store.database.read() as connection:
                going = [one for one in late if not holds.saves(connection, stream, one.span)]
            self._all.remove(going)
        for path, hour in self._all.unreadable(stream):
            if not holds.all(Scope((stream,), hour)):
                logger.warning("%s is of no use, and goes: nothing of it can be read.", path)
                durable.delete(path)

    def reach(self, stream: StreamId, span: Span) -> Span:
        """From the first to the last moment of which something would go with `span`: recordings go whole, also the one
        that is being written, however long it gets, and so does what was merged."""
        written = self._all.unfinished(stream)
        going = [one.span for one in self._store.timeline.segments(stream, span) if one.owned]
        if written is not None and span.end > written.span.start:
            going.append(Span(written.span.start, ALWAYS.end))
        going += [hour for _, hour in self._all.unreadable(stream, span)]
        rows = self._store.chapters.all(Scope((stream,), span))
        merged = [row.id for row in rows if row.level != "chapter" or not row.path]
        for _, slots in self._store.chapters.slots(merged):
            touched = slots.where(_inside(slots.starts, slots.ends, span))
            times = zip(touched.starts.tolist(), touched.ends.tolist(), strict=True)
            going += [Span(Moment(start), Moment(end)) for start, end in times]
        going += self._recollections.spans(stream, span)
        return reduce(Span.hull, going, span)

    def _fulfil(self, erasure: Erasure) -> Receipt:
        probe = self._store.database.probe
        probe("during erase")
        removed: Counter[str] = Counter()
        recorded = [one for one in self._store.timeline.segments(erasure.stream, erasure.span) if one.owned]
        try:
            self._remove(erasure, removed)
        except StorageFull:
            self._make_room(erasure.stream, erasure.span)
            self._remove(erasure, removed)
        probe("during erase")
        entries = self._changed(erasure.stream)
        self._files.sweep(set(self._store.chapters.paths()))
        if erasure.span is None:
            self._files.leave(erasure.stream)
            self._all.leave(erasure.stream)
        self._store.database.scrub()
        verified = self._verify(erasure, entries, recorded)
        self._store.erasures.finish(erasure)
        return Receipt(dict(removed), verified)

    def _remove(self, erasure: Erasure, removed: Counter[str]) -> None:
        self._recordings(erasure, removed)
        removed["recollections"] += self._recollections.forget(erasure.stream, erasure.span)
        self._chapters(erasure, removed)
        with self._store.database.write() as connection:
            self._rows(connection, erasure, removed)

    def _make_room(self, stream: StreamId, span: Span | None) -> None:
        """There is no room to write down what goes: first goes what can be made anew, and the files of what lies wholly
        within the span. Were we killed in between, rows without files are what `doctor` mends."""
        self._spare()
        for segment in self._store.timeline.segments(stream, span):
            if segment.owned:
                durable.delete(Path(segment.path))
        self._recollections.forget(stream, span)
        for row in self._store.chapters.all(Scope((stream,), span)):
            if row.path and _covers(span, row.span):
                self._files.delete(row.path, row.sha256)

    def _recordings(self, erasure: Erasure, removed: Counter[str]) -> None:
        """Those that overlap it go; of a stream that goes, users' files too are known no more."""
        removed["recordings"] += self._all.remove(self._store.timeline.segments(erasure.stream, erasure.span))
        for path, _ in self._all.unreadable(erasure.stream, erasure.span):
            removed["recordings"] += durable.delete(path)
        if erasure.span is None:
            while (written := self._all.unfinished(erasure.stream)) is not None:  # nobody writes it any more
                durable.delete(Path(written.path))
                removed["recordings"] += 1
            with self._store.database.write() as connection:
                connection.execute(delete(schema.segments).where(schema.segments.c.stream == erasure.stream))

    def _chapters(self, erasure: Erasure, removed: Counter[str]) -> None:
        """Those that go altogether go first: rebuilding the others takes room, and on a full disk that is theirs."""
        chapters = self._store.chapters
        rows = chapters.all(Scope((erasure.stream,), erasure.span))
        for row in sorted(rows, key=lambda row: not _covers(erasure.span, row.span)):
            span = erasure.span
            kept = None if span is None or _covers(span, row.span) else self._rebuilding.without(row, span)
            with self._store.database.write() as connection:
                if kept is None:
                    chapters.remove(connection, [row.id])
                else:
                    chapters.save(connection, *kept)
                lost = row.frames - (kept[1].frames if kept else 0)
                _count_frames(connection, row.stream, -lost)
            removed["chapters"] += kept is None
            removed["frames"] += lost
            removed["slots"] += row.slots - (len(kept[1]) if kept else 0)
            if row.path:
                self._files.delete(row.path, row.sha256)

    def _rows(self, connection: Connection, erasure: Erasure, removed: Counter[str]) -> None:
        stream, span = erasure.stream, erasure.span
        for name, table in _TIMED.items():
            removed[name] += connection.execute(delete(table).where(*within(table, Scope((stream,), span)))).rowcount
        frames = self._store.features.clear(connection, stream, span)
        removed["frames"] += frames
        _count_frames(connection, stream, -frames)
        if span is None:
            removed["streams"] += connection.execute(
                delete(schema.streams).where(schema.streams.c.id == stream)
            ).rowcount

    def _verify(self, erasure: Erasure, entries: Mapping[str, int], recorded: Sequence[Segment]) -> tuple[str, ...]:
        """Look again: the kinds of which nothing is found."""
        scope = Scope((erasure.stream,), erasure.span)
        left: dict[str, int] = {}
        with self._store.database.read() as connection:
            for name, table in {**_TIMED, "features": schema.features}.items():
                left[name] = (
                    connection.scalar(select(func.count()).select_from(table).where(*within(table, scope))) or 0
                )
        rows = self._store.chapters.all(scope)
        left["slots"] = sum(
            int(_inside(slots.starts, slots.ends, erasure.span).sum())
            for _, slots in self._store.chapters.slots([row.id for row in rows])
        )
        known = {row.entry for row in self._store.chapters.all(Scope((erasure.stream,)))}
        left["index entries"] = sum(
            count for owner, count in entries.items() if owner.startswith(erasure.stream + "/") and owner not in known
        )
        written = self._all.unfinished(erasure.stream)
        touched = written is not None and (erasure.span is None or erasure.span.end > written.span.start)
        unread = len(self._all.unreadable(erasure.stream, erasure.span))
        left["recordings"] = self._all.left(recorded) + unread + touched  # it goes when it is finished
        left["recollections"] = len(self._recollections.spans(erasure.stream, erasure.span))
        left["chapter files"] = len(self._files.names() - set(self._store.chapters.paths()))
        return tuple(sorted(name for name, count in left.items() if not count))


def _covers(span: Span | None, inner: Span) -> bool:
    """Whether nothing of `inner` lies outside of `span`, where its last moment counts as inside."""
    return span is None or (span.start <= inner.start and inner.end <= span.end)


def _inside(starts: NDArray[np.int64], ends: NDArray[np.int64], span: Span | None) -> NDArray[np.bool_]:
    if span is None:
        return np.ones(len(starts), np.bool_)
    return (starts < span.end) & ((ends > span.start) | (starts >= span.start))


def _count_frames(connection: Connection, stream: StreamId, change: int) -> None:
    table = schema.streams
    connection.execute(update(table).where(table.c.id == stream).values(frames=table.c.frames + change))
