"""HTTP live streaming (RFC 8216) as one stream of bytes, every piece of it fetched through the guard.

libav's own HLS reader follows whatever a playlist names; this one asks the guard first. MPEG-TS segments, and
fragmented MP4 segments behind their map, are legal streams when joined, so that is all it does.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from ingest.clock import Clock, SystemClock, moment_of
from ingest.errors import DeadlineExceeded, NotFound, NotVideo
from ingest.fetch import Call, exchange
from ingest.records import Moment, seconds
from ingest.timeline import Arrival

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
_KEPT: Final = 100
"""The newest segments of which is known when they appeared."""
_LOOK_S: Final = 0.3
"""How often a playlist is looked at while a segment is due: when it appeared is known to half of that."""
_NAP_S: Final = 2.0
_LATE: Final = seconds(1)
"""How long after it ends, as the playlist tells it, a segment may appear for that to be believed; """
_EARLY: Final = seconds(0.5)
"""and how long before."""
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

    Of a running stream: from near its live edge on, and of what was seen, up to `seen`, no whole segment. When that was
    filmed is known by when segments appear: each ends about then.
    """

    def __init__(self, guard: Guard, call: Call, seen: Moment = NEVER, clock: Clock | None = None) -> None:
        self.name = "stream"
        self.size = None
        self._guard, self._call, self._clock = guard, call, clock or SystemClock()
        self._list = self._fetch(call.url)
        if self._list.variants:
            fitting = [variant for variant in self._list.variants if variant[0] <= _WANTED_BITS]
            self._call = call.to(max(fitting)[1] if fitting else min(self._list.variants)[1])
            self._list = self._fetch(self._call.url)
        if not self._list.segments:
            raise NotVideo("The playlist has no segments.", advice="Check the address; the stream may be over.")
        self.ended = self._list.ended
        """Whether the stream has an end: reaching it is no lost connection."""
        self.target_s = self._list.target_s
        """How long a segment lasts at most: so long there may be no picture."""
        self._runs = not self.ended
        self._looked = self._due = self._clock.monotonic()
        """When the playlist was read, and when a segment is expected; monotonic seconds."""
        self._listed = {piece.number: piece for piece in self._list.segments[-_KEPT:]}
        self._came: dict[int, Arrival] = {}
        """When segments appeared, by number, of the newest of which it is known."""
        self._delay = 0
        """How much later than they end, as they tell it, they appear."""
        fresh = self._list.segments[self._edge(seen) if self._runs else 0 :]
        self._first: Piece | None = None
        """Where reading began: what is gone already is passed over."""
        self._piece = fresh[0]
        self._reached: int | None = None
        self._offset: int | None = None
        self._pieces = self._follow(fresh)
        self._answer: Exchange | None = None

    def _fetch(self, url: str) -> Playlist:
        with exchange(self._guard, self._call.to(url)) as answer:
            answer.expect_success()
            return parse_playlist(answer.read_at_most(_PLAYLIST).decode("utf-8", "replace"), answer.url)

    def _edge(self, seen: Moment) -> int:
        """Which segment is read first: none that was seen even if the newest ended only now."""
        pieces = self._list.segments
        first, filmed = len(pieces), self._clock.now()
        while first > max(0, len(pieces) - _BEHIND) and (first == len(pieces) or filmed > seen):
            first -= 1
            filmed = Moment(filmed - seconds(pieces[first].lasts_s))
        return first

    def _follow(self, fresh: Sequence[Piece]) -> Iterator[Piece]:
        """What to read, one behind the other, `fresh` first."""
        done, heard = fresh[0].number - 1, self._clock.monotonic()
        if self._list.map_url:
            yield Piece(fresh[0].number, self._list.map_url, fresh[0].lasts_s)
        while True:
            if fresh:
                yield from fresh
                done, heard = fresh[-1].number, self._clock.monotonic()
            elif self._list.ended:
                self.ended = True
                return
            elif self._clock.monotonic() - heard > 3 * self.target_s + self._call.timeout_s:
                raise _silent()
            else:
                self._clock.sleep(min(_NAP_S, max(_LOOK_S, self._due - self._clock.monotonic())))
                self._look()
            fresh = [piece for piece in self._list.segments if piece.number > done]

    # --- when it was filmed ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read the playlist again. What it has gained appeared since it was last read: not long ago, if that was."""
        newest, looked = self._newest, self._looked
        close = self._clock.monotonic() - looked <= 2 * _LOOK_S
        self._list = self._fetch(self._call.url)
        self._looked = self._clock.monotonic()
        self._listed |= {piece.number: piece for piece in self._list.segments[-_KEPT:]}
        if self._newest > newest:
            self._due = (looked + self._looked) / 2 + self._listed[self._newest].lasts_s - _LOOK_S
        if (self._newest > newest and close) or self._list.ended:
            self._note()
        kept = sorted(self._listed)[-_KEPT:]
        self._listed = {number: self._listed[number] for number in kept}
        self._came = {number: self._came[number] for number in kept if number in self._came}

    @property
    def _newest(self) -> int:
        return max(self._listed)

    def _note(self) -> None:
        """The newest segment appeared about now, and each before it by so much earlier as the next one lasts."""
        back = seconds(_LOOK_S / 2)
        now, ticks = self._clock.now(), seconds(self._clock.monotonic())
        for number in sorted(self._listed, reverse=True):
            lasts = seconds(self._listed[number].lasts_s)
            self._came.setdefault(number, Arrival(Moment(now - back), ticks - back, held=lasts))
            back += lasts

    @cached_property
    def filmed(self) -> Moment | None:
        """When the first picture of a running stream was filmed: as the playlist tells it, if that can be, else by when
        segments appear. Asked for the first time, waits for one: for half as long again as one may last (RFC 8216,
        6.2.2) and the call's patience. Raises `DeadlineExceeded`."""
        if not self._runs:
            return None
        first = self._first or self._piece
        end = self._clock.monotonic() + 1.5 * self.target_s + self._call.timeout_s
        while first.number not in self._came:
            if self._clock.monotonic() > end:
                raise _silent()
            self._clock.sleep(_LOOK_S)
            self._look()
        newest, came = self._listed[max(self._came)], self._came[first.number]
        if first.filmed is not None and newest.filmed is not None:
            delay = self._came[newest.number].moment - newest.filmed - seconds(newest.lasts_s)
            if -_EARLY <= delay <= _LATE:
                self._delay = delay
                return first.filmed
        return Moment(came.moment - came.held)

    def passed(self, pts: int) -> None:
        """How far the packets that were read reach by the source's own clock, microseconds, unwrapped."""
        self._reached = pts

    def _measure(self) -> None:
        """All of a segment was read: it ends where its packets do, and ended when it appeared."""
        came = self._came.get(self._piece.number)
        if came is not None and self._reached is not None:
            self._offset = came.moment - self._delay - self._reached
        self._reached = None

    @property
    def arrival(self) -> Arrival | None:
        """When that which is read of a running stream came; of a segment of which it is not known, now."""
        if not self._runs:
            return None
        now = Arrival(self._clock.now(), seconds(self._clock.monotonic()), held=seconds(self._piece.lasts_s))
        came = self._came.get(self._piece.number, now)
        return Arrival(Moment(came.moment - self._delay), came.ticks - self._delay, came.held, self._offset)

    # --- a stream of bytes -------------------------------------------------------------------------------------

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
                piece = next(self._pieces, None)
                if piece is None:
                    return b""
                self._piece = piece
                self._answer = self._begun(piece.url)
                if self._answer is None:
                    continue
                self._first = self._first or piece
            if data := self._answer.read(size):
                return data
            self._measure()
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        super().close()


def _silent() -> DeadlineExceeded:
    return DeadlineExceeded("The stream does not go on.", advice="It is tried again.")
