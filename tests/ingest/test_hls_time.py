"""When pictures of a playlist were filmed, for minutes, on a clock that nobody waits for.

The server filmed at known times; a segment is eight bytes for each of its pictures, its time by the server's own clock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ingest import hls
from ingest.clock import FakeClock
from ingest.errors import DeadlineExceeded
from ingest.fetch import Call
from ingest.guard import Guard
from ingest.hls import HlsStream
from ingest.records import MICROSECONDS, Moment
from ingest.timeline import Arrival, Timeline, advance

EVERY = MICROSECONDS * 2 // 5
MOST = MICROSECONDS // 2
"""What a picture's time may be wrong."""
ZERO = 1_700_000_000_000_000
PTS = 90_000_000


@dataclass
class Server:
    """Segments of `lasts_s`, each there `late_s` after it ends. `clock_s`: how far the clock that it writes times by is
    ahead; None: it writes none. `drift`: by how much the clock of its pictures is too fast. `links_s`: what fetching a
    segment takes. `restarts`: at which segment its pictures' clock begins anew, and for how long it films nothing then.
    """

    clock: FakeClock
    lasts_s: float = 4.0
    late_s: float = 0.2
    clock_s: float | None = None
    drift: float = 0.0
    link_s: float = 0.1
    listed: int = 5
    restarts: tuple[int, float] = (1 << 40, 0.0)
    over: int = 1 << 40
    """How many segments it films before it stops."""
    asked: int = 0

    def began(self, number: int) -> int:
        """When a segment's first picture was filmed, microseconds."""
        pause = self.restarts[1] if number >= self.restarts[0] else 0
        return ZERO + round((number * self.lasts_s + pause) * MICROSECONDS)

    def pts(self, filmed: int) -> int:
        restarted = self.began(self.restarts[0])
        since = filmed - (restarted if filmed >= restarted else ZERO)
        return PTS + round(since * (1 + self.drift))

    def filmed(self, number: int) -> list[int]:
        return [self.began(number) + n * EVERY for n in range(round(self.lasts_s * MICROSECONDS) // EVERY)]

    def playlist(self) -> str:
        there = 0
        while there < self.over and self._appears(there) <= self.clock.now():
            there += 1
        first = max(0, there - self.listed)
        lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{self.lasts_s:.0f}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, there):
            if self.clock_s is not None:
                told = datetime.fromtimestamp(self.began(number) / 1e6 + self.clock_s, UTC)
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{told.isoformat()}")
            lines += [f"#EXTINF:{self.lasts_s},", f"{number}.ts"]
        return "\n".join(lines)

    def _appears(self, number: int) -> float:
        return self.began(number) + (self.lasts_s + self.late_s) * MICROSECONDS

    def exchange(self, _: Guard, call: Call) -> Answer:
        name = call.url.rpartition("/")[2]
        if name.endswith(".m3u8"):
            self.asked += 1
            self.clock.advance(0.04)
            return Answer(call.url, self.playlist().encode())
        self.clock.advance(self.link_s)
        pictures = self.filmed(int(name.removesuffix(".ts")))
        return Answer(call.url, b"".join(struct.pack(">qq", self.pts(one), one) for one in pictures))


@dataclass
class Answer:
    """What `fetch.exchange` gives, as far as it is asked for here."""

    url: str
    body: bytes

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    close = expect_success = lambda self: None

    def read_at_most(self, _: int) -> bytes:
        return self.body

    def read(self, _: int) -> bytes:
        part, self.body = self.body[:16], self.body[16:]
        return part


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, begun_s: float, **how: object) -> Iterator[tuple[Server, HlsStream]]:
    """A stream that is read from a server that has filmed for `begun_s`."""
    clock = FakeClock(ZERO)
    clock.advance(begun_s)
    server = Server(clock, **how)  # type: ignore[arg-type]
    monkeypatch.setattr(hls, "exchange", server.exchange)
    with HlsStream(Guard([]), Call("GET", "http://cam.example/live.m3u8"), clock=clock) as stream:
        yield server, stream


def wrong(server: Server, stream: HlsStream, seconds: float, wanted: Callable[[int], bool]) -> list[int]:
    """How late the times of pictures are, microseconds, of those that are `wanted` (by number), for so many seconds."""
    filmed, end = stream.filmed, server.clock.monotonic() + seconds
    assert filmed is not None
    errors: list[int] = []
    line: Timeline | None = None
    number = 0
    while server.clock.monotonic() < end:
        pts, true = struct.unpack(">qq", stream.read(16))
        line = line or Timeline(offset=filmed - pts)
        arrival = stream.arrival
        assert arrival is not None
        if wanted(number):
            line, stamp = advance(line, pts, first=Moment(0), arrival=arrival)
            assert stamp is not None
            errors.append(stamp.moment - true)
        stream.passed(pts + EVERY)
        number += 1
    return errors


def every(_: int) -> bool:
    return True


def keys(number: int) -> bool:
    return number % 10 == 0


@pytest.mark.parametrize("wanted", [every, keys])
@pytest.mark.parametrize(
    ("clock_s", "begun_s"), [(None, 17.0), (None, 20.15), (86_400.0, 18.3), (2.5, 19.9), (-2.5, 20.3), (0.0, 300.77)]
)
def test_no_time_is_half_a_second_wrong(
    clock_s: float | None, begun_s: float, wanted: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever one comes, whatever the server takes the time for, for minutes in which its pictures' clock loses half a
    second, whether all pictures are decoded or one of each segment."""
    with served(monkeypatch, begun_s, clock_s=clock_s, drift=-3e-3) as (server, stream):
        errors = wrong(server, stream, 150, wanted)
    assert max(map(abs, errors)) < MOST
    if clock_s == 0.0:  # told, and believed
        assert abs(errors[0]) < 1000


@pytest.mark.parametrize(("link_s", "late_s"), [(0.02, 0.9), (2.5, 0.0), (3.9, 0.9)])
def test_nor_is_one_that_comes_over_a_slow_link(link_s: float, late_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told and can be is kept to, though segments appear a second after they end."""
    with served(monkeypatch, 33.3, clock_s=0.0, link_s=link_s, late_s=late_s) as (server, stream):
        assert max(map(abs, wrong(server, stream, 150, every))) < MOST / 2


def test_nor_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server was away for 13 s, and its pictures' clock begins anew: an epoch begins when it filmed again."""
    with served(monkeypatch, 33.3, restarts=(20, 13.0)) as (server, stream):
        errors = wrong(server, stream, 120, every)
    assert max(map(abs, errors)) < MOST


def test_a_segment_that_appears_is_waited_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    for begun_s in (20.25, 21.0, 23.9, 24.1):
        with served(monkeypatch, begun_s) as (server, stream):
            assert stream.filmed is not None
            assert begun_s + server.clock.monotonic() - begun_s < 24.2 + 4 + 0.4
            asked = server.asked
            assert stream.filmed is stream.filmed
            assert server.asked == asked


def test_a_playlist_is_not_asked_for_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch, 33.3) as (server, stream):
        wrong(server, stream, 40, every)
        before = server.asked
        wrong(server, stream, 80, every)
        assert server.asked - before < 20 * 6


def test_a_playlist_of_yesterday_is_not_taken_for_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that films no more and serves what it has: waited for, and then said so."""
    with served(monkeypatch, 86_400, over=100) as (server, stream):
        before = server.clock.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            stream.filmed  # noqa: B018  # asking is what waits
        assert 6 < server.clock.monotonic() - before < 20
    assert caught.value.advice


def test_segments_are_placed_though_the_first_has_slid_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A playlist of three: the first is listed no more when the next appears."""
    with served(monkeypatch, 33.3, listed=3) as (server, stream):
        assert max(map(abs, wrong(server, stream, 60, every))) < MOST


def test_an_arrival_that_was_held_leads_by_its_segment_alone() -> None:
    line = Timeline(offset=0, last=0, arrived=Arrival(Moment(0), 0))
    late = Arrival(Moment(4 * MICROSECONDS), 4 * MICROSECONDS, held=4 * MICROSECONDS)
    for second in range(1, 200):
        line, stamp = advance(line, second * MICROSECONDS, first=Moment(0), arrival=late)
        late = Arrival(Moment(late.moment + MICROSECONDS), late.ticks + MICROSECONDS, held=late.held)
        assert stamp is not None
        assert stamp.moment == second * MICROSECONDS
