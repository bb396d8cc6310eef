"""Footage: stills, thumbnails and clips of any moment that is still on disk."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from api.settings import Settings
from ingest.clips import cut, still
from ingest.errors import Busy, Invalid, NotFound, StillRecording, TooLarge
from ingest.questions import Picture
from ingest.reasons import MISDATED, PARTLY, UNHEARD
from ingest.recording import PART, finished
from ingest.records import Gap, Moment, Segment, Span, StreamId, seconds
from memory.recordings import SETTLING, Recordings
from memory.store import StreamRow
from memory.store.timeline import SLACK, union, without

LONGEST_CLIP = seconds(30 * 60)
IN_USE_S = 60
"""So long before it was last played no clip leaves the cache: whoever was given it is still to read it."""
LATEST = seconds(90)
"""What is asked for and is no later than this behind what is recorded is still being recorded."""
NEWS_US = seconds(10)
"""What a camera shows is covered a little later than it is asked for."""
_NAMED = re.compile(r"[0-9a-f]+-(\d+)-(\d+)\.mp4")


@dataclass(frozen=True, slots=True)
class Clip:
    """An MP4 on disk, the span it really covers (clips begin at key frames), and what is missing within it."""

    path: Path
    span: Span
    gaps: tuple[Gap, ...] = ()
    unrecorded: tuple[Span, ...] = ()
    """What was seen within it and is not recorded, or no more."""
    awaited: Span | None = None
    """What was asked for beyond it and is still being recorded."""


class Footage:
    """Clips are cut once and kept in a folder of bounded size, the least recently played leaving first."""

    def __init__(self, recordings: Recordings, settings: Settings) -> None:
        self._recordings = recordings
        self._store = recordings.store
        self._folder = settings.folder / "clips"
        self._most = settings.clip_cache_mb * 1_000_000
        self._cutting: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def clip(self, row: StreamRow, span: Span, *, exact: bool = False) -> Clip:
        """What is left of `span`: time that was erased passes with the picture before it. Raises `NotFound` where there
        is no recording, or none any more."""
        if not span.duration:
            raise Invalid("The clip would be empty.", advice="Give an end after the start.")
        if span.duration > LONGEST_CLIP:
            raise TooLarge("Clips are at most 30 minutes long.", advice="Ask for a shorter stretch.")
        written = self._written(row, span)
        segments = self._recorded(row.id, span, written)
        left = without(span, self._store.timeline.erased(row.id, span))
        awaited = self._is_awaited(row, span, segments, written)
        news = Moment(span.start - (NEWS_US if row.kind == "live" else 0))
        seen = awaited or written in segments or bool(self._store.timeline.coverage(row.id, Span(news, span.end)))
        if not left or not segments or not seen:
            raise still_recording(row) if left and awaited else no_recording(row)
        named = repr([(segment.path, segment.size, segment.span) for segment in segments]) + repr((left, exact))

        def write(out: Path) -> Span:
            with self._recordings.at_hand(segments) as near, self._held_still(near) as here:
                return self._cut(row.id, here, left, out, exact=exact)

        clip = self.kept(row.id, named, write)
        later = Span(clip.span.end, span.end) if awaited and span.end > clip.span.end else None
        gaps = self._gaps(row.id, clip.span)
        known = union([*(segment.span for segment in segments), *(gap.span for gap in gaps)])
        unrecorded = tuple(part for part in without(clip.span, known) if part.duration > SLACK)
        return replace(clip, gaps=gaps, unrecorded=unrecorded, awaited=later)

    def _written(self, row: StreamRow, span: Span) -> Segment | None:
        """What is being written, where `span` may end in it: folders are long, and looked through only then."""
        end = Span(span.end, Moment(span.end + 1))
        known = row.kind != "live" or self._store.timeline.segments(row.id, end)
        return None if known else self._recordings.unfinished(row.id)

    def _is_awaited(self, row: StreamRow, span: Span, segments: Sequence[Segment], written: Segment | None) -> bool:
        """Whether some of `span` will be known later: of what is being `written`, or was finished just before."""
        if written is None:
            before = Span(Moment(span.start - LATEST), span.end)
            ended = segments and segments[-1].span.end >= span.end
            known = row.kind == "live" and not ended and self._recordings.lately(span.end)
            return known and bool(self._store.timeline.segments(row.id, before))
        from_then = max([written.span.start - SETTLING, *(segment.span.end for segment in segments[-1:])])
        return span.end > from_then and span.start < written.span.end + LATEST

    def _recorded(self, stream: StreamId, span: Span, written: Segment | None) -> list[Segment]:
        """What there is of `span`, and what is whole of the segment that is being `written`."""
        found = list(self._store.timeline.segments(stream, span))
        if written is None or not written.size or not written.span.overlaps(span):
            return found
        known = {(segment.epoch, segment.span.start) for segment in found}  # it was finished meanwhile
        return found if (written.epoch, written.span.start) in known else [*found, written]

    @contextmanager
    def _held_still(self, segments: Sequence[Segment]) -> Iterator[list[Segment]]:
        """The same, but what is being written is copied as far as it is whole: it grows, and its name changes."""
        with ExitStack() as stack:
            yield [
                replace(one, path=str(stack.enter_context(self._copied(one)))) if one.path.endswith(PART) else one
                for one in segments
            ]

    @contextmanager
    def _copied(self, written: Segment) -> Iterator[Path]:
        folder, source = self._folder / written.stream, Path(written.path)
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, suffix=PART) as copy:
            for name in (source, finished(source)):
                if name.is_file():
                    with suppress(FileNotFoundError), name.open("rb") as file:
                        copy.write(file.read(written.size))
                        break
            copy.flush()
            if copy.tell() < written.size:
                raise Busy("It was finished just now.", advice="Ask for it again.")
            yield Path(copy.name)

    def still(self, row: StreamRow, moment: Moment | None, *, max_side: int = 1280) -> Picture:
        """The picture shown at `moment`, the newest when it is None; a thumbnail where the recording is gone."""
        if moment is None:
            moment = self._newest(row)
        instant = Span(moment, Moment(moment + 1))
        lately = Span(Moment(moment - (NEWS_US if row.kind == "live" else 0)), instant.end)
        if self.erased(row.id, instant) or not self._store.timeline.coverage(row.id, lately):
            raise NotFound(f"There is no picture of {row.name} then.", advice="Look at its coverage for what there is.")
        segments = self._store.timeline.segments(row.id, instant)
        if not segments:
            return self.thumbnail(row, moment)
        with self._recordings.at_hand(segments[-1:]) as here:
            picture = still(here, moment, max_side=max_side)
        if self.erased(row.id, Span(picture.moment, Moment(picture.moment + 1))):
            raise NotFound(f"What {row.name} showed then was erased.", advice="Ask for a later time.")
        return picture

    def thumbnail(self, row: StreamRow, moment: Moment | None) -> Picture:
        """The remembered picture nearest to `moment`: memory outlives footage."""
        picture = self._store.timeline.thumbnail(row.id, self._newest(row) if moment is None else moment)
        if picture is None:
            raise NotFound(f"There is no picture of {row.name} then.", advice="Look at its coverage for what there is.")
        return picture

    def forget(self, stream: StreamId, span: Span | None) -> int:
        """Deletes cached clips that show any of `span`, all of the stream when None; how many."""
        gone = 0
        for path in (self._folder / stream).glob("*.mp4"):
            covered = _span_of(path)
            if span is None or covered is None or covered.overlaps(span):
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def trim(self) -> None:
        """Keeps the cache within its bound, but for what is being asked for."""
        found = ((path, path.stat()) for path in self._folder.glob("*/*.mp4"))
        held = sorted(found, key=lambda pair: pair[1].st_mtime, reverse=True)
        total = 0
        for path, about in held:
            total += about.st_size
            if total > self._most and about.st_mtime < held[0][1].st_mtime - IN_USE_S:
                path.unlink(missing_ok=True)

    def _newest(self, row: StreamRow) -> Moment:
        mark = self._store.streams.mark(row.id)
        if mark is None:
            raise NotFound(f"Nothing of {row.name} has been seen yet.", advice="Wait for its first picture.")
        return mark.moment

    def erased(self, stream: StreamId, span: Span) -> bool:
        """A user's own file still holds what was erased here: it is not shown all the same."""
        return bool(self._store.timeline.erased(stream, span))

    def _gaps(self, stream: StreamId, span: Span) -> tuple[Gap, ...]:
        """What a recording of `span` lacks: it has what came and was not looked at."""
        found = [
            gap for gap in self._store.timeline.gaps(stream, span) if gap.reason not in PARTLY | UNHEARD | MISDATED
        ]
        return tuple(replace(gap, span=part) for gap in found if (part := gap.span.intersection(span)) is not None)

    def kept(self, stream: StreamId, named: str, write: Callable[[Path], Span]) -> Clip:
        """What `write` makes, which says the span of it, made once and then had from the cache under what it is
        `named`."""
        key, folder = hashlib.sha256(named.encode()).hexdigest()[:24], self._folder / stream
        with self._lock:
            lock = self._cutting.setdefault(key, threading.Lock())
        with lock:
            for path in folder.glob(f"{key}-*.mp4"):
                span = _span_of(path)
                if span is not None:
                    os.utime(path)
                    return Clip(path, span)
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / f"{key}.part.mp4"
            try:
                covered = write(unfinished)
                path = unfinished.rename(folder / f"{key}-{covered.start}-{covered.end}.mp4")
            finally:
                unfinished.unlink(missing_ok=True)
            self.trim()
            return Clip(path, covered)

    def _cut(
        self, stream: StreamId, segments: Sequence[Segment], left: Sequence[Span], out: Path, *, exact: bool
    ) -> Span:
        segments = [replace(one, intact=not self.erased(stream, one.span)) for one in segments]
        exact = exact or self._beside_erased(stream, segments, left[0].hull(left[-1]))
        covered = cut(segments, left, out, exact=exact)
        if not exact and self._beside_erased(stream, segments, covered):  # the key frame it begins at
            covered = cut(segments, left, out, exact=True)
        if without(left[0].hull(left[-1]), self._store.timeline.erased(stream, None)) != list(left):
            raise Busy("Some of it was erased just now.", advice="Ask for it again.")
        return covered

    def _beside_erased(self, stream: StreamId, segments: Sequence[Segment], span: Span) -> bool:
        """Whether what was copied from key frame to key frame of `span` would show what was erased."""
        parts = [part for segment in segments if (part := segment.span.intersection(span)) is not None]
        return any(self.erased(stream, part) for part in parts)


def still_recording(row: StreamRow) -> StillRecording:
    """It can be had when the next fragment, or at the latest the segment, is whole."""
    return StillRecording(f"That time of {row.name} is still being recorded.", advice="Ask again in 10 s.")


def no_recording(row: StreamRow) -> NotFound:
    """Nothing was recorded then, or it is gone."""
    return NotFound(f"There is no recording of {row.name} then.", advice="Look at its coverage for what there is.")


def _span_of(path: Path) -> Span | None:
    named = _NAMED.fullmatch(path.name)
    return Span(Moment(int(named[1])), Moment(int(named[2]))) if named else None
