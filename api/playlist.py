"""HLS (RFC 8216): any past or live stretch of a stream as a playlist of the segments that are stored.

Recorded segments are fragmented MP4 and are served as they lie on the disk, but that their times count on from one to
the next, which players need. A user's own file is copied into such an MP4 once and served by ranges of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlencode

from api.footage import Footage, no_recording
from api.scope import Scopes, extent
from api.times import utc
from ingest.clock import Clock
from ingest.errors import Invalid, NotFound, TooLarge
from ingest.fragments import Layout, layout, shifted
from ingest.records import MICROSECONDS, Moment, Segment, Span, seconds
from memory.recordings import Recordings
from memory.store import StreamRow

LONGEST = seconds(24 * 3600)
LATELY = seconds(60)
"""How far before the newest picture a live playlist begins when nothing else is asked for."""
SETTLED = seconds(90)
"""So long after its end a stretch has all segments that it will ever have."""
PART_US = seconds(10)
SLACK = seconds(0.5)
"""Segments this far apart have a gap between them."""


@dataclass(frozen=True, slots=True)
class Part:
    """What lies at `url`, all of it or a range of its bytes, and the moments that it shows."""

    url: str
    source: str
    """The whole MP4, which begins with the header."""
    header: bytes
    run: str
    """Where this changes, time does not go on as it was."""
    span: Span
    bytes_at: tuple[int, int] | None = None


class Playlists:
    """Writes playlists, and finds the segments that they name."""

    def __init__(self, recordings: Recordings, footage: Footage, scopes: Scopes, clock: Clock) -> None:
        self._recordings, self._store = recordings, recordings.store
        self._footage, self._scopes, self._clock = footage, scopes, clock

    def span(self, row: StreamRow, start: str | None, end: str | None) -> Span:
        """What is asked for. Raises `NotFound`, `Invalid` or `TooLarge`."""
        span = self._scopes.span(start, end, row) or extent(self._store, row)
        if span is None:
            raise NotFound(f"Nothing of {row.name} has been seen yet.", advice="Wait for its first picture.")
        if start is None and row.kind == "live":
            mark = self._store.streams.mark(row.id)
            newest = span.end if mark is None or end is not None else mark.moment
            span = Span(Moment(max(span.start, newest - LATELY)), max(span.end, newest))
        if not span.duration:
            raise Invalid("The playlist would be empty.", advice="Give an end after the start.")
        if span.duration > LONGEST:
            raise TooLarge("Playlists are at most 24 hours long.", advice="Ask for a shorter stretch.")
        return span

    def write(self, row: StreamRow, span: Span, *, live: bool) -> str:
        """The playlist. `live`: it has no end yet. Raises `NotFound` where there is no recording."""
        parts = list(self._parts(row, span))
        if not parts:
            raise no_recording(row)
        live = live or (span.end > self._clock.now() - SETTLED and row.kind == "live" and parts[-1].span.end < span.end)
        longest = max(part.span.duration for part in parts)
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{round(max(longest, PART_US) / MICROSECONDS)}",
            f"#EXT-X-PLAYLIST-TYPE:{'EVENT' if live else 'VOD'}",
            "#EXT-X-INDEPENDENT-SEGMENTS",
        ]
        for before, part in zip([None, *parts], parts, strict=False):
            lines += _lines(before, part)
        return "\n".join([*lines, *([] if live else ["#EXT-X-ENDLIST"])]) + "\n"

    def segment(self, row: StreamRow, epoch: int, start: Moment) -> Segment:
        """A recorded segment, to be read at its path. Raises `NotFound`, also where any of it was erased."""
        for found in self._store.timeline.segments(row.id, Span(start, Moment(start + 1))):
            same = (found.epoch, found.span.start) == (epoch, start)
            if same and found.owned and not self._footage.erased(row.id, found.span) and self._recordings.kept(found):
                return self._recordings.near(found)
        raise no_recording(row)

    def _parts(self, row: StreamRow, span: Span) -> Iterator[Part]:
        known: dict[int, Part] = {}
        for segment in self._store.timeline.segments(row.id, span):
            seen = self._store.timeline.coverage(row.id, segment.span)
            if segment.owned:
                if seen and not self._footage.erased(row.id, segment.span):
                    yield from self._whole(segment, known)
                continue
            for covered in seen:
                wanted = covered.intersection(span)
                if wanted is not None and wanted.duration:
                    yield from self._copied(row, segment, wanted)

    def _whole(self, segment: Segment, known: dict[int, Part]) -> Iterator[Part]:
        """`known`: of each epoch one, whose header those have too that would have to be fetched to look at it."""
        name = f"segments/{segment.epoch}-{segment.span.start}"
        like = known.get(segment.epoch)
        if like is not None and not self._recordings.is_near(segment):
            yield replace(like, url=f"{name}.m4s", span=segment.span)
            return
        near = self._recordings.near(segment)
        held = _held(Path(near.path), near.size)
        if held is not None and held.fragments:
            part = Part(f"{name}.m4s", f"{name}.mp4", held.header, str(segment.epoch), segment.span)
            known[segment.epoch] = part
            yield part

    def _copied(self, row: StreamRow, segment: Segment, wanted: Span) -> Iterator[Part]:
        clip = self._footage.clip(row, wanted, fragmented=True)
        asked = {"from": iso(wanted.start), "to": iso(wanted.end)}
        url = f"fragments.mp4?{urlencode(asked, safe=':')}"
        yield from _pieces(url, clip.path, clip.path.stat().st_size, clip.span)


def iso(moment: Moment) -> str:
    """A moment as playlists write it."""
    return utc(moment).isoformat(timespec="microseconds").replace("+00:00", "Z")


def media(segment: Segment) -> bytes:
    """A recorded segment without its header, its times counted from 1970."""
    return shifted(Path(segment.path), segment.span.start - segment.first_pts)


def _lines(before: Part | None, part: Part) -> list[str]:
    head: list[str] = []
    apart = before is not None and (before.run != part.run or part.span.start - before.span.end > SLACK)
    if apart:
        head.append("#EXT-X-DISCONTINUITY")
    if before is None or apart or before.header != part.header:
        head.append(f'#EXT-X-MAP:URI="{part.source}",BYTERANGE="{len(part.header)}@0"')
    head.append(f"#EXT-X-PROGRAM-DATE-TIME:{utc(part.span.start).isoformat(timespec='milliseconds')[:-6]}Z")
    head.append(f"#EXTINF:{part.span.duration / MICROSECONDS:.6f},")
    if part.bytes_at is not None:
        head.append("#EXT-X-BYTERANGE:{1}@{0}".format(*part.bytes_at))
    return [*head, part.url]


def _pieces(url: str, path: Path, size: int, span: Span) -> Iterator[Part]:
    """Runs of fragments of at most ten seconds each, or one fragment where that is longer."""
    held = _held(path, size)
    if held is None or not held.fragments:
        return
    found = held.fragments
    starts = [Moment(span.start + fragment.start - found[0].start) for fragment in found] + [span.end]
    first = 0
    for at, fragment in enumerate(found):
        if at + 2 < len(starts) and starts[at + 2] - starts[first] <= PART_US:
            continue
        shown = Span(starts[first], max(starts[at + 1], Moment(starts[first] + 1)))
        offset = found[first].offset
        yield Part(url, url, held.header, url, shown, (offset, fragment.offset + fragment.size - offset))
        first = at + 1


def _held(path: Path, size: int) -> Layout | None:
    try:
        return _layout(path, size)
    except OSError:  # it went with age since it was looked up
        return None


@lru_cache(maxsize=4096)
def _layout(path: Path, size: int) -> Layout:
    """`size` tells a file from another that takes its name."""
    return layout(path)
