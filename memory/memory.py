"""A memory on disk: opened whole, bounded, examined, closed."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import IO, TYPE_CHECKING

from ingest.clock import Clock
from ingest.errors import Busy, Conflict, Fatal, StorageFull, StoreCorrupt
from ingest.questions import Scope
from ingest.records import Span, StreamId, seconds
from memory import durable, migrations
from memory.blobs import Blobs, BlobsUnavailable
from memory.chapter_files import ChapterFiles
from memory.chapters import Sealer
from memory.detail import Detail
from memory.doctor import Doctor, Finding
from memory.erase import Eraser, Rebuilding, Receipt
from memory.indexing import Indexing
from memory.pyramid import Lengths, Pyramid
from memory.recall import Recall
from memory.recollections import Recollections
from memory.recordings import Recordings
from memory.remember import Cut, RememberStage
from memory.retention import Bounds, BudgetReport, Retention
from memory.shedding import Shedding
from memory.store import Database, Store, no_probe
from memory.store.chapters import Chapters
from memory.store.database import Probe
from memory.store.features import Features
from memory.store.rows import Hold

if TYPE_CHECKING:
    from ingest.ledger import Ledger

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How much is remembered, how finely, and for how long."""

    bank_length: int = 64
    """Slots of a chapter."""
    hour_slots: int = 128
    day_slots: int = 2048
    """The most slots of an hour and of a day, once they are folded."""
    exact_merge: bool = False
    """Hours and days merge by cosine alone, as MA-LMM does, instead of where the least is lost."""
    chapter_s: float = 180.0
    chapter_max_frames: int = 2048
    budget_bytes: int | None = None
    """Per stream, of everything but recordings; None is without bound."""
    recordings_bytes: int | None = None
    """Per stream, of recordings; None is without bound."""
    keep_recordings_s: float | None = None
    """Recordings older than this go; None keeps them until the budget needs their room."""
    keep_events_s: float = 0.0
    """Recordings of something that came or went stay at least so long."""
    keep_alerts_s: float = 0.0
    """Recordings around an alert stay at least so long."""
    recollections_bytes: int = 1 << 30
    """Per stream, of what a video-language system itself remembers; within the budget, where there is one."""
    reserve_bytes: int = 16 << 20
    """Kept free for erasing on a disk that is full."""
    blobs: Blobs | None = None
    """Where finished recordings go; None keeps them in the folder."""
    fetched_bytes: int = 1 << 31
    """Of recordings that are there, so much is kept here too: what was sent or watched last."""
    listens: bool = True
    """Whether a stream is listened to that has nothing of its own about it."""
    snapshot_entries: int = 20_000
    """The index is written after so many new entries, and when the memory closes."""
    probe: Probe = no_probe
    """Told the name of every point where being killed must lose nothing."""

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.hour_slots, self.day_slots, self.exact_merge)

    @property
    def bounds(self) -> Bounds:
        keep = None if self.keep_recordings_s is None else seconds(self.keep_recordings_s)
        ages = seconds(self.keep_events_s), seconds(self.keep_alerts_s)
        return Bounds(keep, self.budget_bytes, self.recordings_bytes, *ages)


@dataclass(frozen=True, slots=True)
class _Plan:
    encoder: str
    dim: int
    options: MemoryOptions


class Memory:
    """Everything that is remembered, under one folder, by one process at a time. Made by `Memory.open`."""

    def __init__(
        self, folder: Path, guard: IO[str], database: Database, ledger: Ledger, clock: Clock, plan: _Plan
    ) -> None:
        self.folder = folder
        self._guard = guard
        self._clock = clock
        self._lock = RLock()
        options, probe = plan.options, plan.options.probe
        files = ChapterFiles(folder / "chapters", probe)
        features, chapters = Features(database, plan.dim), Chapters(database, plan.dim)
        detail = Detail(database, files, chapters, features)
        self.store = store = Store(database, detail, features, chapters, folder, listens=options.listens)
        _check_encoder(store, plan.encoder, plan.dim)
        files.sweep(set(chapters.paths()))
        self._indexing = Indexing(store, folder / "index", plan.dim, options.snapshot_entries)
        self.index = self._indexing.index
        self.recall = Recall(store, self.index, detail)
        self._sealer = sealer = Sealer(store, files, options.bank_length)
        self.cut = cut = Cut(seconds(options.chapter_s), options.chapter_max_frames)
        self.remember = RememberStage(store, self._seal, ledger, cut, self._lock, clock)
        recollections = Recollections(folder / "recollections", store, self._lock, options.recollections_bytes)
        self.recollections = recollections
        self.recordings = recordings = Recordings(store, folder, options.blobs, options.fetched_bytes, clock)
        shedding = Shedding(store, files, Pyramid(store, files, detail, options.lengths), recollections)
        self._retention = Retention(shedding, recordings, recollections, clock, options.bounds)
        rebuilding = Rebuilding(store, files, detail, sealer)
        self._eraser = Eraser(rebuilding, recordings, recollections, self._lock, self._changed, self._spare)
        self._doctor = Doctor(recordings, files, detail, self._indexing)
        self._reserve = folder / "reserve", options.reserve_bytes
        self._eraser.resume()
        self._indexing.refresh()
        durable.reserve(*self._reserve)

    @classmethod
    def open(  # noqa: PLR0913 the agreed door: everything by name
        cls,
        folder: Path,
        *,
        encoder: str,
        dim: int,
        ledger: Ledger,
        clock: Clock,
        options: MemoryOptions = MemoryOptions(),
        database: str = "",
    ) -> Memory:
        """Open or create the memory in `folder`: migrate, sweep leftovers, finish erasures, load or rebuild the index.

        `encoder` and `dim` say whose vectors it holds; `database` is an SQLAlchemy URL, by default SQLite in the
        folder. Raises `Conflict` when the memory was made with another encoder, `Busy` when another process has it,
        `StoreCorrupt` when the database is damaged.
        """
        guard = _claim(folder)
        with ExitStack() as undo:
            undo.callback(guard.close)
            base = Database(database or f"sqlite:///{folder / 'hindsight.db'}", options.probe)
            undo.callback(base.close)
            if wrong := base.check():
                raise StoreCorrupt(f"The database is damaged: {wrong[0]}.", advice="Restore a backup of it.")
            migrations.upgrade(base)
            memory = cls(folder, guard, base, ledger, clock, _Plan(encoder, dim, options))
            undo.pop_all()
        return memory

    def erase(self, stream: StreamId, span: Span | None = None, *, force: bool = False) -> Receipt:
        """Forget a span of a stream, or the stream altogether. Files of the user's own are never deleted.

        Raises `Conflict` where something of it is held as evidence, unless it is forced. A store of recordings that is
        down is told later: the receipt does not say then that they are gone from it.
        """
        with self._lock:
            if not force:
                self.refuse_held(stream, span)
            receipt = self._eraser.erase(stream, span, self._clock)
        return receipt if not self.recordings.elsewhere else self._with_store(receipt, stream)

    def _with_store(self, receipt: Receipt, stream: StreamId) -> Receipt:
        try:
            purged = self.recordings.purge(stream)
        except BlobsUnavailable as error:
            logger.warning("What was erased of %s is still to be removed: %s", stream, error)
            return receipt
        removed = {**receipt.removed, "stored recordings": purged}
        return replace(receipt, removed=removed, verified_gone=(*receipt.verified_gone, "stored recordings"))

    def refuse_held(self, stream: StreamId, span: Span | None) -> None:
        """Raises `Conflict` where something of a span, or of all of a stream, is held as evidence, or of what would go
        with it."""
        reach = None if span is None else self._eraser.reach(stream, span)
        for hold in self.store.holds.all(Scope((stream,), reach)):
            release = f"Release it first (`hindsight release {hold.id}`), or force it."
            if span is None or hold.span.overlaps(span):
                raise Conflict(f"It is held as evidence ({hold.reason}).", advice=release)
            raise Conflict(
                f"Recordings go whole, and with one of these would go what is held as evidence ({hold.reason}).",
                advice=f"Leave more time beside it. {release}",
            )

    def hold(self, stream: StreamId, span: Span, reason: str) -> Hold:
        """Nothing of `span` goes from now on but by force. What is gone already is not brought back."""
        with self._lock:  # not between what retention or an erasure looked up and what it removes
            return self.store.holds.place(stream, span, reason, self._clock.now())

    def enforce(self) -> bool:
        """Keep every stream within its age and its budget; called periodically. Whether the wall clock can be trusted
        with removing things for their age alone."""
        with self._lock:
            trusted = self._retention.trusted()
            for stream in self.store.streams.all():
                self._eraser.catch_up(stream.id)
                if trusted:
                    self._retention.expire(stream.id)
                if self._retention.fit(stream.id):
                    self._indexing.refresh()
            self._indexing.save_if_due()
            durable.reserve(*self._reserve)
            return trusted

    def budget(self, stream: StreamId) -> BudgetReport:
        """Where a stream's bytes are, and how far back each level of detail reaches."""
        return self._retention.report(stream)

    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Compare database, chapters, recordings and index; with `repair`, mend what can be mended."""
        with self._lock:
            return self._doctor.examine(repair=repair)

    def close(self) -> None:
        """Write the index, give the folder back."""
        with self._lock:
            self._indexing.save()
            self.store.database.close()
            self._guard.close()

    def _seal(self, stream: StreamId) -> None:
        self._retention.look(stream)
        row = self._sealer.seal(stream)
        if row is None:
            return
        self._indexing.add([row])
        if self._retention.fit(row.stream):
            self._indexing.refresh()
        self._indexing.save_if_due()

    def _changed(self, stream: StreamId) -> Mapping[str, int]:
        self.remember.forget(stream)
        self._indexing.refresh()
        try:
            self._indexing.save()
        except StorageFull:
            self._indexing.discard()  # the one on disk may hold what was erased
        return self.index.owners()

    def _spare(self) -> None:
        """Free what can be made anew: room to erase with."""
        durable.delete(self._reserve[0])
        self._indexing.discard()


def _claim(folder: Path) -> IO[str]:
    """Make the folder ours alone, for as long as the file is open. A killed process gives it back by dying."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        guard = (folder / "lock").open("w")
    except OSError as error:
        raise Fatal(f"{folder} cannot be written: {error.strerror}.", advice="Choose another data folder.") from error
    try:
        fcntl.lockf(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise Busy(f"{folder} is in use by another process.", advice="Stop the other service first.") from error
    return guard


def _check_encoder(store: Store, encoder: str, dim: int) -> None:
    """Vectors of different encoders are never compared."""
    known = store.facts.get("encoder")
    if known is None:
        store.facts.set(encoder=encoder, dim=str(dim))
    elif (known, store.facts.get("dim")) != (encoder, str(dim)):
        raise Conflict(
            f"This memory was made with the encoder {known}, not {encoder}.",
            advice="It is untouched. Choose the profile or the version it was made with, or another data folder.",
        )
