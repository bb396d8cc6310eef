"""The stage that remembers: rows first, then the mark, in one transaction; then, when a chapter is full, its seal."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.bus import FEATURES, JOURNAL
from ingest.ledger import Counts
from ingest.records import (
    Coverage,
    Ended,
    Feature,
    Frame,
    Gap,
    Heard,
    Moment,
    Observation,
    Record,
    Segment,
    Span,
    StateChange,
    StreamId,
    seconds,
)
from memory import durable
from memory.store.features import Open
from memory.store.store import Store
from memory.store.streams import read_end, record_state

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingest.clock import Clock
    from ingest.ledger import Ledger
    from memory.store.streams import Origin

_HOUR = seconds(3600)


@dataclass(frozen=True, slots=True)
class Cut:
    """When a chapter is full: after so many microseconds or frames; always at an hour's end and at a new epoch."""

    length_us: int
    frames: int

    def between(self, opened: Open, frame: Feature | Frame) -> bool:
        """Whether a picture, or what was made of it, begins another chapter than the one that is open."""
        return opened.frames > 0 and (
            frame.epoch != opened.epoch
            or frame.moment // _HOUR != opened.start // _HOUR
            or frame.moment - opened.start >= self.length_us
            or opened.frames >= self.frames
        )


class RememberStage:
    """Writes features and the journal. Handling the same batch twice has the effect of once."""

    name = "remember"
    consumes = (JOURNAL, FEATURES)
    """The journal first: what capture told before a picture is known before what was made of the picture."""
    produces = None

    def __init__(
        self,
        store: Store,
        seal: Callable[[StreamId], None],
        ledger: Ledger,
        cut: Cut,
        lock: threading.RLock,
        clock: Clock,
    ) -> None:
        """`seal` closes a stream's open chapter."""
        self._store = store
        self._close = seal
        self._ledger = ledger
        self._cut = cut
        self._lock = lock
        self._clock = clock
        self._open: dict[StreamId, Open | None] = {}
        self._ended: dict[StreamId, set[Origin]] = defaultdict(set)
        """Which tracks of a stream have come to their end."""

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        with self._lock:
            try:
                self._handle(batch)
            except BaseException:
                self._open.clear()  # what we knew of open chapters may not have been written
                raise
        return []

    def forget(self, stream: StreamId) -> None:
        """The stream's open chapter was changed by someone else."""
        with self._lock:
            self._open.pop(stream, None)
            self._ended.pop(stream, None)

    def _handle(self, batch: Sequence[Record]) -> None:
        pending: list[Record] = []
        for record in batch:
            if isinstance(record, Feature):
                opened = self._opened(record.stream)
                full = opened is not None and record.origin == "frame" and self._cut.between(opened, record)
                if full and self._is_new(record, pending):
                    self._write(pending)
                    pending = []
                    self._seal(record.stream)
                self._extend(record)
            pending.append(record)
            if isinstance(record, Ended):
                self._write(pending)
                pending = []
                self._end(record)
        self._write(pending)

    def _opened(self, stream: StreamId) -> Open | None:
        if stream not in self._open:
            self._open[stream] = self._store.features.opened(stream)
        return self._open[stream]

    def _is_new(self, feature: Feature, pending: Sequence[Record]) -> bool:
        """Whether a feature lies behind everything remembered: what comes again must not cut a chapter."""
        mark = self._store.streams.mark(feature.stream)
        frames = (r for r in pending if isinstance(r, Feature) and r.origin == "frame" and r.stream == feature.stream)
        waiting = [(frame.epoch, frame.pts) for frame in frames]
        known = max([*waiting, *([(mark.epoch, mark.pts)] if mark else [])], default=(-1, -1))
        return (feature.epoch, feature.pts) > known

    def _extend(self, feature: Feature) -> None:
        if feature.origin == "frame":
            opened = self._open[feature.stream]
            if opened is None or opened.frames == 0:
                self._open[feature.stream] = Open(feature.epoch, feature.moment, 1)
            else:
                self._open[feature.stream] = Open(opened.epoch, opened.start, opened.frames + 1)

    def _seal(self, stream: StreamId) -> None:
        self._close(stream)
        self._open[stream] = None

    def _end(self, ended: Ended) -> None:
        """Finished is what is remembered to its end: its pictures, and its sound and subtitles."""
        tracks = self._ended[ended.stream]
        tracks.add(ended.origin)
        if len(tracks) < 2:
            return
        self._seal(ended.stream)
        self._store.streams.set_state(StateChange(ended.stream, "finished", self._clock.now(), ended.detail))
        del self._ended[ended.stream]

    def _write(self, records: Sequence[Record]) -> None:
        """One transaction for everything; the ledger learns of it only once it is committed."""
        if not records:
            return
        stored: dict[tuple[StreamId, int], int] = defaultdict(int)
        dropped: dict[tuple[StreamId, int, str], int] = defaultdict(int)
        unwanted: list[Segment] = []
        self._store.database.probe("before rows")
        with self._store.database.write() as connection:
            known: dict[StreamId, list[Span] | None] = {}
            ends: dict[StreamId, Moment | None] = {}
            features: dict[tuple[StreamId, Origin, int], list[Feature]] = defaultdict(list)
            for record in records:
                if record.stream not in known:
                    known[record.stream] = self._forgotten(connection, record.stream)
                    ends[record.stream] = read_end(connection, record.stream)
                erased = known[record.stream]
                reason = _unwanted(record, erased)
                if reason and isinstance(record, Segment):
                    saved = erased is not None and self._store.holds.saves(connection, record.stream, record.span)
                    reason = "" if saved else reason
                    unwanted += [record] if reason and record.owned else []
                if not reason and isinstance(record, Feature):
                    features[record.stream, record.origin, record.epoch].append(_within(record, ends[record.stream]))
                elif not reason:
                    self._journal(connection, record)
                elif isinstance(record, Feature) and record.origin == "frame":
                    dropped[record.stream, record.epoch, reason] += 1
            for (stream, origin, epoch), some in features.items():
                new = self._store.features.insert(connection, stream, origin, some)
                self._store.timeline.observe(connection, _observations(some, known[stream] or []))
                if origin == "frame":
                    stored[stream, epoch] += new
                    dropped[stream, epoch, "already remembered"] += len(some) - new
            for record in records:
                if isinstance(record, Heard) and known[record.stream] is not None:
                    self._store.features.hear(connection, record)
            self._note(connection, stored, dropped)
        _discard(unwanted, known)
        self._count(stored, dropped)

    def _forgotten(self, connection: Connection, stream: StreamId) -> list[Span] | None:
        """Erased spans of a stream; None when there is no such stream."""
        if not self._store.streams.exists(connection, stream):
            return None
        return self._store.erasures.spans(connection, stream)

    def _journal(self, connection: Connection, record: Record) -> None:
        match record:
            case Segment() | Coverage() | Gap():
                self._store.timeline.record(connection, record)
            case StateChange():
                record_state(connection, record, self._clock.now())
            case Observation():
                self._store.timeline.observe(connection, [record])
            case _:
                pass  # `Ended` is told by the seal that follows, `Heard` once the features are written

    def _note(
        self,
        connection: Connection,
        stored: dict[tuple[StreamId, int], int],
        dropped: dict[tuple[StreamId, int, str], int],
    ) -> None:
        """The accounts as they are once this is committed: a kill leaves no frame that is there and not counted."""
        entries: dict[StreamId, Counts] = defaultdict(Counts)
        for (stream, _), count in stored.items():
            entries[stream] = entries[stream].plus(Counts(stored=count))
        for (stream, _, reason), count in dropped.items():
            entries[stream] = entries[stream].plus(Counts(dropped={reason: count} if count else {}))
        for stream, entry in entries.items():
            self._store.streams.note_counters(connection, stream, self._ledger.counts(stream).plus(entry).text())

    def _count(self, stored: dict[tuple[StreamId, int], int], dropped: dict[tuple[StreamId, int, str], int]) -> None:
        for (stream, epoch), count in stored.items():
            if count:
                self._ledger.stored(stream, count, epoch=epoch)
        for (stream, epoch, reason), count in dropped.items():
            if count:
                self._ledger.dropped(stream, reason, count, epoch=epoch)


def _within(feature: Feature, end: Moment | None) -> Feature:
    """A file's last picture is not shown beyond the file's end."""
    if end is None or not feature.span.start < end < feature.span.end:
        return feature

    def cut(span: Span) -> Span:
        return Span(span.start, end) if span.start < end < span.end else span

    observations = tuple(replace(seen, span=cut(seen.span)) for seen in feature.observations)
    return replace(feature, span=cut(feature.span), observations=observations)


def _discard(late: Sequence[Segment], known: Mapping[StreamId, list[Span] | None]) -> None:
    """What came after it was erased, and the folders of streams that are gone."""
    for segment in late:
        path = Path(segment.path)
        durable.delete(path)
        if known[segment.stream] is None:
            durable.delete_folder(path.parent)


def _unwanted(record: Record, erased: list[Span] | None) -> str:
    """Why a record is not to be remembered; empty when it is."""
    if erased is None:
        return "stream removed"
    if isinstance(record, Segment) and not record.owned:
        return ""
    if isinstance(record, Feature | Observation | Segment) and any(_touches(record.span, span) for span in erased):
        return "erased"
    return ""


def _touches(span: Span, erased: Span) -> bool:
    return span.overlaps(erased) or span.start in erased


def _observations(features: Sequence[Feature], erased: list[Span]) -> list[Observation]:
    seen = (observation for feature in features for observation in feature.observations)
    return [o for o in seen if not any(_touches(o.span, span) for span in erased)]
