"""HTTP live streaming (RFC 8216) as one stream of bytes, every piece of it fetched through the guard.

libav's own HLS reader follows whatever a playlist names; this one asks the guard first. MPEG-TS segments, and
fragmented MP4 segments behind their map, are legal streams when joined, so that is all it does.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from ingest.clock import SystemClock, moment_of
from ingest.errors import DeadlineExceeded, NotFound, NotVideo
from ingest.fetch import Call, exchange
from ingest.records import Moment, seconds

if TYPE_CHECKING:
    from ingest.fetch import Exchange
    from ingest.guard import Guard

_PLAYLIST: Final = 1 << 20
_BEHIND: Final = 3
"""Segments from the live edge to begin at (RFC 8216, 6.3.3)."""
NEVER: Final = Moment(0)
_LONGEST_TARGET_S: Final = 60
"""What a playlist may claim of its segments at most: so long nobody worries when there is no picture."""
_WANTED_BITS: Final = 6_000_000
_LONGEST_S: Final = 3600.0
_LATE: Final = seconds(1)
"""How much later than it ends a segment may be there for all of that to be believed."""
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment: its sequence number, where it is, how long it lasts, and when it was filmed, if that is told."""

    number: int
    url: str
    lasts_s: float
    filmed: Moment | None = None


@dataclass(frozen=True, slots=True)
class Playlist:
    """One reading of a playlist: either `variants` (bandwidth, URL) or `segments`."""

    variants: tuple[tuple[int, str], ...] = ()
    segments: tuple[Piece, ...] = ()
    map_url: str = ""
    target_s: float = 6.0
    ended: bool = False


def parse_playlist(text: str, url: str) -> Playlist:
    """Read a playlist. Raises `NotVideo` for what is none, and for encryption and byte ranges, which we do not do."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].lstrip("\ufeff").startswith("#EXTM3U"):
        raise NotVideo("This is not an HLS playlist.", advice="Check the address in a browser.")
    variants: list[tuple[int, str]] = []
    segments: list[Piece] = []
    sequence, target, map_url, bandwidth = 0, 6.0, "", None
    lasts: float | None = None
    filmed: Moment | None = None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name == "#EXT-X-MEDIA-SEQUENCE":
            sequence = _number(value)
        elif name == "#EXT-X-TARGETDURATION":
            target = float(min(max(1, _number(value)), _LONGEST_TARGET_S))
        elif name == "#EXTINF":
            lasts = _seconds(value.partition(",")[0])
        elif name in ("#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-DISCONTINUITY"):
            filmed = moment_of(value)
        elif name == "#EXT-X-STREAM-INF":
            bandwidth = _number(_attributes(value).get("BANDWIDTH", "0"))
        elif name == "#EXT-X-MAP" and "BYTERANGE" not in value:
            map_url = urljoin(url, _attributes(value).get("URI", ""))
        elif name in ("#EXT-X-BYTERANGE", "#EXT-X-MAP") or (name == "#EXT-X-KEY" and "METHOD=NONE" not in value):
            raise NotVideo("Encrypted or byte-range HLS is not supported.", advice="Use another stream of it.")
        elif not line.startswith("#") and bandwidth is not None:
            variants.append((bandwidth, urljoin(url, line)))
            bandwidth = None
        elif not line.startswith("#"):
            piece = Piece(sequence + len(segments), urljoin(url, line), target if lasts is None else lasts, filmed)
            segments.append(piece)
            lasts, filmed = None, filmed and Moment(filmed + seconds(piece.lasts_s))
    return Playlist(tuple(variants), tuple(segments), map_url, target, "#EXT-X-ENDLIST" in lines)


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < _LONGEST_S else None


class HlsStream(io.RawIOBase):
    """The segments of the best variant up to 6 Mbit/s, one behind the other, as they come.

    Of a running stream: from near its live edge on, and of what was seen, up to `seen`, no whole segment. `filmed`:
    about when the first picture of them was.
    """

    def __init__(self, guard: Guard, call: Call, seen: Moment = NEVER) -> None:
        self.name = "stream"
        self.size = None
        self._guard, self._call, self._clock = guard, call, SystemClock()
        playlist = self._fetch(call.url)
        if playlist.variants:
            fitting = [variant for variant in playlist.variants if variant[0] <= _WANTED_BITS]
            self._call = call.to(max(fitting)[1] if fitting else min(playlist.variants)[1])
            playlist = self._fetch(self._call.url)
        if not playlist.segments:
            raise NotVideo("The playlist has no segments.", advice="Check the address; the stream may be over.")
        self.ended = playlist.ended
        """Whether the stream has an end: reaching it is no lost connection."""
        self.target_s = playlist.target_s
        """How long a segment lasts at most: so long there may be no picture."""
        first = 0
        self.filmed: Moment | None = None
        if not playlist.ended:
            first, self.filmed = self._edge(playlist, seen)
        self._pieces = self._follow(playlist, first)
        self._answer: Exchange | None = None

    def _fetch(self, url: str) -> Playlist:
        with exchange(self._guard, self._call.to(url)) as answer:
            answer.expect_success()
            return parse_playlist(answer.read_at_most(_PLAYLIST).decode("utf-8", "replace"), answer.url)

    def _edge(self, playlist: Playlist, seen: Moment) -> tuple[int, Moment]:
        """Which segment is read first, and when it was filmed: as it says itself, if that can be; else counted back
        from now, when the newest has been there for nobody knows how long, but not for longer than a segment."""
        pieces, unsure = playlist.segments, seconds(playlist.target_s / 2)
        first, filmed = len(pieces), Moment(self._clock.now() - unsure)
        while first > max(0, len(pieces) - _BEHIND) and (first == len(pieces) or filmed > seen):
            first -= 1
            filmed = Moment(filmed - seconds(pieces[first].lasts_s))
        told = pieces[first].filmed
        return first, told if told is not None and abs(told - filmed) <= unsure + _LATE else filmed

    def _follow(self, playlist: Playlist, first: int) -> Iterator[str]:
        """The URLs to read, from the `first` of the playlist on."""
        done = playlist.segments[first].number - 1
        if playlist.map_url:
            yield playlist.map_url
        heard = self._clock.monotonic()
        while True:
            fresh = deque(piece.url for piece in playlist.segments if piece.number > done)
            done = max([done, *(piece.number for piece in playlist.segments)])
            if fresh:
                yield from fresh
                heard = self._clock.monotonic()
            self.ended = playlist.ended
            if playlist.ended:
                return
            if self._clock.monotonic() - heard > 3 * playlist.target_s + self._call.timeout_s:
                raise DeadlineExceeded("The stream does not go on.", advice="It is tried again.")
            self._clock.sleep(min(2.0, playlist.target_s / 2))
            playlist = self._fetch(self._call.url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def _begun(self, url: str) -> Exchange | None:
        """A segment that answers; None for one of a running stream that is gone already: we came too late."""
        answer = exchange(self._guard, self._call.to(url))
        try:
            answer.expect_success()
        except NotFound:
            if self.ended:
                raise
            return None
        return answer

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._answer is None:
                url = next(self._pieces, None)
                if url is None:
                    return b""
                self._answer = self._begun(url)
                if self._answer is None:
                    continue
            if data := self._answer.read(size):
                return data
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        super().close()
