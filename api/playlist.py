"""HLS (RFC 8216): any past or live stretch of a stream as a playlist of the segments that are stored.

Recorded segments are fragmented MP4 and are served as they lie on the disk, but that their times count on from one to
the next, which players need. Each has a number for good: a list that goes on counts on over a restart, and tells as a
gap what has expired between two of them. Of a user's own file all pieces are listed before any of them is made, which
it is when a player asks for it (`api/pieces.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import pairwise
from pathlib import Path

from api.footage import Footage, no_recording
from api.pieces import Listed, Pieces
from api.scope import Scopes, extent
from api.times import utc
from ingest.clock import Clock
from ingest.errors import Busy, Invalid, NotFound, TooLarge
from ingest.fragments import Layout, layout, shifted
from ingest.records import MICROSECONDS, Moment, Segment, Span, seconds
from memory.recordings import Recordings
from memory.store import StreamRow
from memory.store.holds import overlapped
from memory.store.rows import Numbered
from memory.store.timeline import SLACK

LONGEST = seconds(24 * 3600)
"""What is asked for with an end is no longer; what has none begins later and later once it is."""
STEP = seconds(3600)
"""By so much at a time."""
LATELY = seconds(60)
"""How far before the newest picture a live playlist begins when nothing else is asked for."""
SETTLED = seconds(90)
"""So long after its end a stretch has all segments that it will ever have."""
TARGETS = (10, 20, 60)
"""Target durations, in seconds, which a playlist may not change: the first does where key frames come in time."""
_EVENT, _VOD = "#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-PLAYLIST-TYPE:VOD"
ADVICE = (
    "Many players do not take this codec by HLS. Set the camera to H.264, or ask for clips, which are encoded anew."
)


@dataclass(frozen=True, slots=True)
class Part:
    """What lies at `url`, and the moments that it shows."""

    url: str
    source: str
    """Where its header is had."""
    header: bytes
    """Empty where that is all there is at `source`."""
    run: str
    """Where this changes, time does not go on as it was."""
    span: Span
    number: int | None = None
    breaks: int = 0
    """As of the segment, where it is a whole one."""


class Playlists:
    """Writes playlists, and finds the segments that they name."""

    def __init__(self, recordings: Recordings, footage: Footage, scopes: Scopes, clock: Clock) -> None:
        self._recordings, self._store = recordings, recordings.store
        self._footage, self._scopes, self._clock = footage, scopes, clock
        self.pieces = Pieces(recordings, footage)

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
        if span.duration > LONGEST and (end is not None or row.kind != "live"):
            raise TooLarge("Playlists are at most 24 hours long.", advice="Ask for a shorter stretch.")
        return span

    def write(self, row: StreamRow, span: Span, *, live: bool) -> str:
        """The playlist. `live`: it has no end yet. Raises `NotFound` where there is no recording."""
        recorded, last = _is_recorded(row), Moment(span.start + LONGEST)
        span = _slid(span) if recorded else Span(span.start, min(span.end, last))
        parts, grows = self._parts(row, span)
        ends = bool(parts) and parts[-1].span.end >= span.end
        coming = row.kind == "live" and span.end > self._clock.now() - SETTLED and not ends
        goes_on = grows or ((live or coming) and (recorded or span.end < last))
        if goes_on and recorded:
            parts = _onward([part for part in parts if part.number is not None])
        if not parts:
            raise no_recording(row)
        lines = _counted(parts) if recorded else [_EVENT if goes_on else _VOD]
        lines += _listed(parts, with_gaps=goes_on and recorded)
        return "\n".join([*_head(parts), *lines, *([] if goes_on else ["#EXT-X-ENDLIST"])]) + "\n"

    def segment(self, row: StreamRow, epoch: int, start: Moment) -> Segment:
        """A recorded segment, to be read at its path. Raises `NotFound`, also where any of it was erased."""
        for found in self._store.timeline.segments(row.id, Span(start, Moment(start + 1))):
            same = (found.epoch, found.span.start) == (epoch, start)
            if same and found.owned and not self._footage.erased(row.id, found.span) and self._recordings.kept(found):
                return self._recordings.near(found)
        raise no_recording(row)

    def _parts(self, row: StreamRow, span: Span) -> tuple[list[Part], bool]:
        """In order, and whether there will be more of a file that is being read."""
        timeline, known = self._store.timeline, dict[str, Part]()
        found = timeline.numbered(row.id, span)
        spans = [one.segment.span for one in found]
        whole = reduce(Span.hull, spans, span)
        shown = zip(
            overlapped(spans, timeline.coverage(row.id, whole)),
            overlapped(spans, sorted(timeline.erased(row.id, whole))),
            strict=True,
        )
        ours = [one for one, (seen, gone) in zip(found, shown, strict=True) if one.segment.owned and seen and not gone]
        files = [one.segment for one in found if not one.segment.owned]
        pieces, grows = self.pieces.listed(row, files, span) if files else ([], False)
        return [part for one in ours for part in self._whole(one, known)] + [_part(piece) for piece in pieces], grows

    def _whole(self, one: Numbered, known: dict[str, Part]) -> Iterator[Part]:
        """`known`: of each stretch without a break one, whose header those have too that would have to be fetched to
        look at it. One that has no number is in none."""
        segment = one.segment
        name = f"segments/{segment.epoch}-{segment.span.start}"
        stretch = name if one.number is None else str(one.breaks)
        like = known.get(stretch)
        if like is None or self._recordings.is_near(segment):
            held = self._held(segment) or self._held(
                segment
            )  # it may be sent to a store between finding and reading it
            if held is None or not held.fragments:
                return
            like = known[stretch] = Part("", f"{name}.mp4", held.header, str(segment.epoch), segment.span)
        yield replace(like, url=f"{name}.m4s", span=segment.span, number=one.number, breaks=one.breaks)

    def _held(self, segment: Segment) -> Layout | None:
        """None where it went with age since it was looked up."""
        try:
            near = self._recordings.near(segment)
            return _layout(Path(near.path), near.size)
        except (OSError, NotFound):
            return None


def iso(moment: Moment) -> str:
    """A moment as playlists write it."""
    return utc(moment).isoformat(timespec="microseconds").replace("+00:00", "Z")


def media(segment: Segment) -> bytes:
    """A recorded segment without its header, its times counted from 1970. Raises `Busy` where it went just now."""
    try:
        return shifted(Path(segment.path), segment.span.start - segment.first_pts)
    except FileNotFoundError as error:
        raise Busy("It was removed just now.", advice="Ask for it again.") from error


def _is_recorded(row: StreamRow) -> bool:
    """Whether its segments are ours. What is in a folder lies there as long as its owner likes."""
    return row.kind == "live" and not row.source.startswith("folder:")


def _slid(span: Span) -> Span:
    """What is left of a stretch that became too long, so that its beginning moves seldom."""
    begin = span.start + max(0, span.duration - LONGEST + STEP - 1) // STEP * STEP
    return Span(Moment(begin), span.end)


def _onward(parts: Sequence[Part]) -> list[Part]:
    """What a list that goes on may have, whose numbers never fall: where the clock was put back it begins."""
    back = [at for at, (before, part) in enumerate(pairwise(parts), 1) if part.span.start < before.span.start]
    return list(parts[back[-1] if back else 0 :])


def _head(parts: Sequence[Part]) -> list[str]:
    longest = round(max(part.span.duration for part in parts) / MICROSECONDS)
    target = next((target for target in TARGETS if target >= longest), longest)
    advice = [] if all(not part.header or b"avc1" in part.header for part in parts) else [f"## {ADVICE}"]
    return ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{target}", "#EXT-X-INDEPENDENT-SEGMENTS", *advice]


def _counted(parts: Sequence[Part]) -> list[str]:
    first = next((part for part in parts if part.number is not None), parts[0])
    return [f"#EXT-X-MEDIA-SEQUENCE:{first.number or 0}", f"#EXT-X-DISCONTINUITY-SEQUENCE:{first.breaks}"]


def _listed(parts: Sequence[Part], *, with_gaps: bool) -> Iterator[str]:
    """`with_gaps`: everything keeps its number, so what was between two and is gone has its place."""
    for before, part in zip([None, *parts], parts, strict=False):
        if before is None or not with_gaps:
            apart = before is not None and (not _alike(before, part) or part.span.start - before.span.end > SLACK)
        else:
            apart = part.breaks > before.breaks
            yield from _gone(before, part)
        yield from _lines(before, part, apart)


def _alike(before: Part, part: Part) -> bool:
    """Whether one decoder plays both, one behind the other."""
    return (before.run, before.header) == (part.run, part.header)


def _gone(before: Part, part: Part) -> Iterator[str]:
    """Of the breaks between the two, the last is before `part`, and the one before it before a gap."""
    assert before.number is not None
    assert part.number is not None
    gone = part.number - before.number - 1
    lasted = min(max(part.span.start - before.span.end, 1) / max(gone, 1) / MICROSECONDS, TARGETS[0])
    for left in range(gone, 0, -1):
        if left < part.breaks - before.breaks:
            yield "#EXT-X-DISCONTINUITY"
        yield from ("#EXT-X-GAP", f"#EXTINF:{lasted:.6f},", "segments/gone.m4s")


def _lines(before: Part | None, part: Part, apart: bool) -> list[str]:
    """`apart`: it does not go on from the one before, in time or in what its header says."""
    head = ["#EXT-X-DISCONTINUITY"] * apart
    if before is None or apart or before.header != part.header:
        head.append(f'#EXT-X-MAP:URI="{part.source}"' + (f',BYTERANGE="{len(part.header)}@0"' if part.header else ""))
    head.append(f"#EXT-X-PROGRAM-DATE-TIME:{utc(part.span.start).isoformat(timespec='milliseconds')[:-6]}Z")
    head.append(f"#EXTINF:{part.span.duration / MICROSECONDS:.6f},")
    return [*head, part.url]


def _part(piece: Listed) -> Part:
    segment, exact = piece.segment, "?exact=true" * piece.exact
    source = f"pieces/{segment.epoch}-{segment.span.start}.mp4{exact}"
    url = f"pieces/{segment.epoch}-{piece.span.start}-{piece.span.end}.m4s{exact}"
    return Part(url, source, b"", source, piece.span)


@lru_cache(maxsize=4096)
def _layout(path: Path, size: int) -> Layout:
    """`size` tells a file from another that takes its name."""
    return layout(path)
