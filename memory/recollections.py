"""What a video-language system itself remembers of a chapter, kept as it was given: one file each, bounded per stream.

There is no row beside a file: its name says what it is of and what it must contain, so the two cannot disagree.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from urllib.parse import quote

from ingest.errors import StoreCorrupt
from ingest.questions import Recollection, Scope
from ingest.records import Moment, Span, StreamId
from memory import durable
from memory.store.store import Store

logger = logging.getLogger(__name__)

_NAMED = re.compile(r"(-?\d+)-(-?\d+)-(\d+)\.([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    span: Span
    frames: int
    sha256: str


class Recollections:
    """The folder of recollections, at most `limit` bytes of a stream; the oldest go first, and none that is held."""

    def __init__(self, folder: Path, store: Store, lock: RLock, limit: int) -> None:
        self._folder = folder
        self._store = store
        self._lock = lock
        self._limit = limit
        if folder.exists():
            durable.sweep(folder)

    def keep(self, recollection: Recollection) -> bool:
        """Write it down. False when it may not be: the stream is gone, some of it was erased, it is too large, or all
        room is taken by what is held."""
        with self._lock:
            stream, span = recollection.stream, recollection.span
            with self._store.database.read() as connection:
                wanted = self._store.streams.exists(connection, stream)
                erased = self._store.erasures.spans(connection, stream)
            if not wanted or len(recollection.data) > self._limit or any(span.overlaps(gone) for gone in erased):
                return False
            excess = self.size(stream) + len(recollection.data) - self._limit
            if self.shed(stream, excess) < excess:
                return False
            sha256 = hashlib.sha256(recollection.data).hexdigest()
            name = f"{span.start}-{span.end}-{recollection.frames}.{sha256}.safetensors"
            durable.write(self._of(stream) / name, recollection.data, self._store.database.probe)
            return True

    def of(self, stream: StreamId, span: Span) -> Recollection | None:
        """The one that shares most time with `span`. A damaged one is removed, and missed."""
        with self._lock:
            common = [(both.duration, one) for one in self._all(stream) if (both := one.span.intersection(span))]
            if not common:
                return None
            best = max(common, key=lambda pair: pair[0])[1]
            try:
                data = durable.read(best.path, best.sha256)
            except StoreCorrupt as error:
                logger.warning("A recollection of %s is removed: %s", stream, error)
                durable.delete(best.path)
                return None
            return Recollection(stream, best.span, best.frames, data)

    def size(self, stream: StreamId) -> int:
        """Bytes that a stream's recollections take."""
        with self._lock:
            return sum(one.path.stat().st_size for one in self._all(stream))

    def shed(self, stream: StreamId, excess: int) -> int:
        """Remove the oldest of which nothing is held, until so many bytes are free. How many are."""
        freed = 0
        with self._lock:
            held = [hold.span for hold in self._store.holds.all(Scope((stream,)))]
            for one in self._all(stream):
                if freed >= excess:
                    break
                if any(span.overlaps(one.span) for span in held):
                    continue
                freed += one.path.stat().st_size
                durable.delete(one.path)
        return freed

    def forget(self, stream: StreamId, span: Span | None) -> int:
        """Remove whatever saw any of `span`, everything when None: what was merged cannot be taken apart. How many."""
        with self._lock:
            gone = sum(durable.delete(one.path) for one in self._within(stream, span))
            if span is None:
                durable.delete_folder(self._of(stream))
            return gone

    def spans(self, stream: StreamId, span: Span | None) -> list[Span]:
        """What those saw that saw any of `span`."""
        with self._lock:
            return [one.span for one in self._within(stream, span)]

    def _within(self, stream: StreamId, span: Span | None) -> list[_Kept]:
        return [one for one in self._all(stream) if span is None or one.span.overlaps(span)]

    def _all(self, stream: StreamId) -> list[_Kept]:
        """Oldest first."""
        found = ((path, _NAMED.fullmatch(path.name)) for path in self._of(stream).glob("*.safetensors"))
        kept = [
            _Kept(path, Span(Moment(int(named[1])), Moment(int(named[2]))), int(named[3]), named[4])
            for path, named in found
            if named
        ]
        return sorted(kept, key=lambda one: one.span)

    def _of(self, stream: StreamId) -> Path:
        return self._folder / quote(stream, safe="")
