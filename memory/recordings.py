"""Where recordings are: on this machine, and, when a store of blobs is set, there once they are whole.

A recording is written here, sent to the store, and let go here only when the store says that it has all of it; then it
lies among those fetched, a cache of bounded size. Nothing is noted about where a recording is: what is not here is
there. What is to be removed from the store is noted in the same transaction that forgets it, and crossed out when the
store has removed it. A store that is down loses nothing: recordings wait here, and so do removals.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import delete, select

from ingest.backoff import Backoff
from ingest.clock import Clock
from ingest.errors import NotFound
from ingest.limits import Limits
from ingest.recording import PART, being_written, unreadable
from ingest.records import Moment, Segment, Span, StreamId, seconds
from memory import durable
from memory.blobs import Blobs, BlobsUnavailable
from memory.store import schema
from memory.store.store import Store

logger = logging.getLogger(__name__)

SETTLING = seconds(15)
"""A segment that is finished is known at the latest so much later."""
_LOOK_S = 60.0
_WHOLE = re.compile(r"\d+-(\d+)-\d+\.mp4")
"""What recordings of ours are called."""
_NEWEST = 10_000
"""Recordings of a camera among which those that were told to nobody are looked for: of a year there are millions."""
_AT_ONCE = 20
"""Recordings that are sent before it is looked again for what is to be removed."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How the store of blobs is doing: what waits to be sent and removed, and what it said last, if it is down."""

    waiting: int
    removing: int
    trouble: str


class Recordings:
    """Recorded segments, wherever they are. Thread-safe. `blobs`: None keeps all of them on this machine."""

    def __init__(self, store: Store, folder: Path, blobs: Blobs | None, cache_bytes: int, clock: Clock) -> None:
        """`folder`: of everything; streams are recorded in its "recordings", and what was fetched lies beside them."""
        self.store, self._blobs, self._most, self._clock = store, blobs, cache_bytes, clock
        self._written, self._folder = folder / "recordings", folder / "fetched"
        self._lock = threading.RLock()
        self._in_use: Counter[Path] = Counter()
        self._backoff = Backoff(Limits())
        self._next, self._looked, self._trouble = 0.0, -_LOOK_S, ""
        if self._folder.exists():
            durable.sweep(self._folder)

    @property
    def elsewhere(self) -> bool:
        """Whether recordings go to a store of blobs."""
        return self._blobs is not None

    def kept(self, segment: Segment) -> bool:
        """Whether it is here or should be in the store. Nobody is asked."""
        return Path(segment.path).is_file() or (segment.owned and self._blobs is not None)

    def unfinished(self, stream: StreamId) -> Segment | None:
        """What of a stream is being written, as far as it can be played, at a path that it loses when it is whole."""
        return being_written(self._written / stream, stream)

    def finish_untold(self) -> None:
        """What is whole, and was told to nobody before the service ended, is finished anew where its camera is watched
        again, as what was being written is. Looked for among the newest. Called before anything is recorded."""
        for stream in self.store.streams.all():
            if stream.kind == "live":
                with suppress(OSError):
                    self._finish_untold(stream.id)

    def _finish_untold(self, stream: StreamId) -> None:
        folder = self._written / stream
        newest = sorted(filter(_WHOLE.fullmatch, (path.name for path in folder.iterdir())))[-_NEWEST:]
        starts = [Moment(int(name.split("-")[1])) for name in newest]
        span = Span(min(starts, default=Moment(0)), Moment(max(starts, default=0) + 1))
        told = {Path(segment.path).name for segment in self.store.timeline.segments(stream, span)}
        for name in newest:
            if name not in told:
                (folder / name).rename(folder / (name + PART))

    def lately(self, moment: Moment) -> bool:
        """Whether it is so close to now that what was recorded then may not be known yet."""
        return abs(self._clock.now() - moment) < SETTLING

    def is_near(self, segment: Segment) -> bool:
        """Whether it can be read without fetching it."""
        return Path(segment.path).is_file() or self._fetched(segment).is_file()

    def near(self, segment: Segment) -> Segment:
        """The segment with a path that can be read, fetched if need be. It stays for a while. Raises `NotFound`, and
        `BlobsUnavailable` when it is in a store that is down."""
        if not segment.owned:
            self._refuse_other(segment)
        if Path(segment.path).is_file() or not segment.owned or self._blobs is None:
            return segment
        return replace(segment, path=str(self._fetch(segment, self._blobs)))

    def _refuse_other(self, segment: Segment) -> None:
        """What is not ours may have been replaced, and shows something else then. What is being read may still grow."""
        path = Path(segment.path)
        more = path.stat().st_size - segment.size if path.is_file() else 0
        if more < 0 or (more > 0 and self.store.streams.get(segment.stream).state != "reading"):
            raise NotFound(
                f"{path.name} is not what it was when it was read: another has taken its place, or it has changed.",
                advice="Put back the file that was read.",
            )

    @contextmanager
    def at_hand(self, segments: Sequence[Segment]) -> Iterator[list[Segment]]:
        """All of them with paths that can be read, until the block ends."""
        paths = [self._fetched(segment) for segment in segments]
        with self._lock:
            self._in_use.update(paths)
        try:
            yield [self.near(segment) for segment in segments]
        finally:
            with self._lock:
                self._in_use.subtract(paths)
            self._trim()

    def remove(self, segments: Sequence[Segment]) -> int:
        """Forget recordings of ours and delete them here; from the store they are removed by `purge`. How many."""
        ours = [segment for segment in segments if segment.owned]
        with self._lock:
            for segment in ours:
                durable.delete(Path(segment.path))
                durable.delete(self._fetched(segment))
            with self.store.database.write() as connection:
                for segment in ours:
                    connection.execute(delete(schema.segments).where(schema.segments.c.key == segment.key))
                    if self._blobs is not None:
                        self.store.database.upsert(connection, schema.removals, [{"name": name_of(segment)}], update=())
        return len(ours)

    def unreadable(self, stream: StreamId, span: Span | None = None) -> list[tuple[Path, Span]]:
        """Files of which no recording could be made, and the hour in which each was written, as far as it may be of
        `span`."""
        found = unreadable(self._written / stream)
        return [(path, hour) for path, hour in found if span is None or hour.overlaps(span)]

    def leave(self, stream: StreamId) -> None:
        """The stream is gone, and so are the folders that its recordings lay in."""
        for folder in (self._written, self._folder):
            durable.delete_folder(folder / stream)

    def left(self, segments: Iterable[Segment]) -> int:
        """Of recordings that were removed, how many are still here."""
        return sum(self.is_near(segment) for segment in segments)

    def removing(self, stream: StreamId | None = None) -> list[str]:
        """What is still to be removed from the store."""
        with self.store.database.read() as connection:
            names = connection.scalars(select(schema.removals.c.name)).all()
        return sorted(name for name in names if stream is None or name.startswith(f"{stream}/"))

    def purge(self, stream: StreamId | None = None) -> int:
        """Remove from the store what was forgotten. How many there were. Raises `BlobsUnavailable`; what is left then
        is removed later."""
        if self._blobs is None:
            return 0
        gone = 0
        for name in self.removing(stream):
            gone += self._blobs.delete(name)
            with self.store.database.write() as connection:
                connection.execute(delete(schema.removals).where(schema.removals.c.name == name))
        return gone

    def carry(self) -> int:
        """Remove from the store what was forgotten, and send it what is whole here; how many were sent. A store that is
        down is asked again after a while that grows. Called periodically, by one thread."""
        if self._blobs is None or self._clock.monotonic() < self._next:
            return 0
        sent = 0
        try:
            self.purge()
            while waiting := self._waiting():
                for segment in waiting[:_AT_ONCE]:
                    sent += self._send(segment, self._blobs)
                self.purge()
            self._look(self._blobs)
        except BlobsUnavailable as error:
            if not self._trouble:
                logger.warning("%s", error)
            self._trouble = str(error)
            self._next = self._clock.monotonic() + self._backoff.next()
        else:
            self._trouble = ""
            self._backoff.reset()
        self._trim()
        return sent

    def _look(self, blobs: Blobs) -> None:
        """A store that nobody needs just now may be down, too: it is told before it is needed."""
        now = self._clock.monotonic()
        if now - self._looked >= _LOOK_S:
            blobs.size("hindsight")
            self._looked = now

    def state(self) -> Carried:
        return Carried(len(self._waiting()), len(self.removing()), self._trouble)

    def audit(self, segments: Sequence[Segment]) -> list[Segment]:
        """Those that are neither here nor in the store, in full. Raises `BlobsUnavailable`."""
        stored = dict(self._blobs.list()) if self._blobs is not None else {}
        return [
            segment
            for segment in segments
            if not Path(segment.path).is_file() and not (segment.owned and stored.get(name_of(segment)) == segment.size)
        ]

    def _waiting(self) -> list[Segment]:
        """Recordings that are whole and here, oldest first."""
        here = [str(path) for path in self._written.glob("*/*.mp4")]
        return sorted(self.store.timeline.recorded_at(here), key=lambda segment: segment.span)

    def _send(self, segment: Segment, blobs: Blobs) -> bool:
        """Store it, ask whether it is there, and only then let it go here. False when it was forgotten meanwhile."""
        source, name = Path(segment.path), name_of(segment)
        try:
            size = source.stat().st_size
            blobs.put(name, source)
        except FileNotFoundError:
            return False
        stored = blobs.size(name)
        if stored != size:
            raise BlobsUnavailable(
                f"Of {name} the store of recordings has {stored or 0} bytes of {size}.", advice="It is sent again."
            )
        with self._lock:
            if not any(one.key == segment.key for one in self.store.timeline.segments(segment.stream, segment.span)):
                with self.store.database.write() as connection:
                    self.store.database.upsert(connection, schema.removals, [{"name": name}], update=())
                return False
            fetched = self._fetched(segment)
            fetched.parent.mkdir(parents=True, exist_ok=True)
            source.replace(fetched)
        return True

    def _fetch(self, segment: Segment, blobs: Blobs) -> Path:
        target = self._fetched(segment)
        if target.is_file():
            target.touch()
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{threading.get_ident()}{durable.TEMPORARY}")
        try:
            name = name_of(segment)
            blobs.get(name, part)
            came = part.stat().st_size
            if came != segment.size and blobs.size(name) == segment.size:
                raise BlobsUnavailable(f"Of {name} came {came} bytes of {segment.size}.", advice="Ask for it again.")
            if came != segment.size:
                raise NotFound(f"{name} is not whole any more.", advice="Run `hindsight doctor`.")
            part.replace(target)
        finally:
            durable.delete(part)
        return target

    def _fetched(self, segment: Segment) -> Path:
        return self._folder / name_of(segment)

    def _trim(self) -> None:
        """Keep what was fetched within its bound, but for what is in use; the least recently used goes first."""
        with self._lock:
            held = [(path, path.stat()) for path in self._folder.glob("*/*.mp4")]
            total = sum(found.st_size for _, found in held)
            for path, found in sorted(held, key=lambda pair: pair[1].st_mtime):
                if total <= self._most:
                    break
                if self._in_use[path] <= 0:
                    durable.delete(path)
                    total -= found.st_size


def name_of(segment: Segment) -> str:
    """What a recording is called in the store: its stream and its file."""
    return f"{segment.stream}/{Path(segment.path).name}"
