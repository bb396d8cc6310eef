"""Pieces of users' own files: which a playlist names, and each when a player asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from api.footage import Footage, no_recording
from ingest.errors import Busy, NotFound, StillRecording, TooLarge
from ingest.keyframes import Keys, keys
from ingest.pieces import Piece, make, planned
from ingest.records import Moment, Segment, Span, StreamId, seconds
from memory.recordings import Recordings
from memory.store import StreamRow
from memory.store.timeline import SLACK, without

SHORT = seconds(20)
"""A file that is no longer, and of which all is wanted, is one piece: folders have thousands of them a day."""
_LONGEST = seconds(60)
"""A piece that has to be encoded is shorter in every playlist."""
_FILES = 20_000
"""Of so many it is remembered when their key frames are shown."""
_BEING_READ = ("reading", "paused", "offline")


@dataclass(frozen=True, slots=True)
class Listed:
    """A piece of a file that is to be `exact`, or that may be copied."""

    segment: Segment
    span: Span
    exact: bool


class Pieces:
    """Thread-safe. A file is looked at for its key frames once, as long as it stays as it is."""

    def __init__(self, recordings: Recordings, footage: Footage) -> None:
        self._recordings, self._store, self._footage = recordings, recordings.store, footage
        self._keys: dict[tuple[str, int, int], Keys | None] = {}

    def listed(self, row: StreamRow, segments: Sequence[Segment], wanted: Span) -> tuple[list[Listed], bool]:
        """In order, and whether there will be more when more of the last file was read. Raises `StillRecording` where
        that is all there will be."""
        there = [segment for segment in segments if self._is_there(segment)]
        stretches = [(segment, covered) for segment in there for covered in self._covered(row.id, segment)]
        stretches = [(segment, covered) for segment, covered in stretches if covered.overlaps(wanted)]
        whole = {segment for segment, covered in stretches if _is_one(segment, covered, wanted)}
        self._look([segment for segment, _ in stretches if segment not in whole])
        found: list[Listed] = []
        grows = False
        for segment, covered in stretches:
            if segment in whole:
                found.append(Listed(segment, covered, exact=False))
                continue
            known, erased = self._known(segment), self._erased_behind(row.id, covered)
            unread = covered.end < segment.span.end - SLACK and segment is there[-1]
            grows = unread and not erased and row.state in _BEING_READ
            pieces = planned(segment.span, known, covered, wanted, erased=erased, growing=grows)
            found += [Listed(segment, span, exact) for span, exact in pieces]
        if grows and not found:
            raise StillRecording(f"{row.name} is still being read.", advice="Ask again in 10 s.")
        return found, grows and found[-1].span.end < wanted.end

    def piece(self, row: StreamRow, epoch: int, span: Span, *, exact: bool) -> Path:
        """The file that has it. Raises `NotFound`, also where any of it was erased."""
        for segment in self._store.timeline.segments(row.id, span):
            for covered in self._covered(row.id, segment) if segment.epoch == epoch else ():
                if covered.start <= span.start and span.end <= covered.end:
                    return self._made(row, segment, span, covered, exact=exact)
        raise no_recording(row)

    def header(self, row: StreamRow, epoch: int, moment: Moment, *, exact: bool) -> Path:
        """The file that has what every piece of a file needs before it."""
        for segment in self._store.timeline.segments(row.id, Span(moment, Moment(moment + 1))):
            if segment.epoch == epoch and not segment.owned:
                nothing = Span(segment.span.start, segment.span.start)
                return self._kept(row, Piece(segment, nothing, nothing, exact), nothing)
        raise no_recording(row)

    def _made(self, row: StreamRow, segment: Segment, span: Span, covered: Span, *, exact: bool) -> Path:
        if span.duration > _LONGEST:
            self._look([segment])
            if exact or self._known(segment) is None:
                raise TooLarge("So long a piece would have to be encoded.", advice="Take those that playlists name.")
        erased = self._erased_behind(row.id, covered)
        return self._kept(row, Piece.of(segment, span, covered, erased=erased, exact=exact), span)

    def _kept(self, row: StreamRow, piece: Piece, span: Span) -> Path:
        if not self._is_there(piece.segment):
            raise no_recording(row)

        def write(out: Path) -> Span:
            covered = make(piece, out)
            if self._footage.erased(row.id, span):
                raise Busy("Some of it was erased just now.", advice="Ask for it again.")
            return covered

        return self._footage.kept(row.id, repr((_name(piece.segment), piece)), write).path

    def _is_there(self, segment: Segment) -> bool:
        """Whether its file is, and is the one that was read."""
        with suppress(NotFound):
            return Path(self._recordings.near(segment).path).is_file()
        return False

    def _covered(self, stream: StreamId, segment: Segment) -> list[Span]:
        """What was read of a file and not erased; of one of ours nothing."""
        if segment.owned:
            return []
        seen = [span for span in self._store.timeline.coverage(stream, segment.span) if span.duration]
        whole = reduce(Span.hull, seen[1:], seen[0]) if seen else Span(segment.span.start, segment.span.start)
        return without(whole, self._store.timeline.erased(stream, whole))

    def _erased_behind(self, stream: StreamId, span: Span) -> bool:
        return self._footage.erased(stream, Span(span.end, Moment(span.end + 1)))

    def _look(self, segments: Sequence[Segment]) -> None:
        new = [segment for segment in segments if _name(segment) not in self._keys]
        if new:
            self._keys |= zip(map(_name, new), keys(new), strict=True)
        while len(self._keys) > _FILES:
            self._keys.pop(next(iter(self._keys)), None)

    def _known(self, segment: Segment) -> Keys | None:
        return self._keys.get(_name(segment))


def _name(segment: Segment) -> tuple[str, int, int]:
    """Another one where the file was changed."""
    try:
        found = Path(segment.path).stat()
    except FileNotFoundError:
        return segment.path, 0, 0
    return segment.path, found.st_size, found.st_mtime_ns


def _is_one(segment: Segment, covered: Span, wanted: Span) -> bool:
    file = segment.span
    all_of_it = covered.start <= file.start and covered.end >= file.end - SLACK
    return all_of_it and file.duration <= SHORT and wanted.start <= covered.start and wanted.end >= file.end - SLACK
