"""When the first picture of a live source was, read by a child that gets no time: a made-up camera and clock tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.beginning import Early, read_early
from ingest.clock import FakeClock
from ingest.records import Moment

LEAD: Any = object()
TICK = Fraction(1, 90_000)


class Socket:
    """What a camera sends from `begun` on, picture by picture, and how a child comes to read it: `costs` are the
    seconds that it does not run before each read; afterwards it runs whenever it wants to."""

    def __init__(
        self, *, waiting_s: float, costs: Sequence[float] = (), rate: float = 25, late: Sequence[float] = (0,)
    ) -> None:
        """`waiting_s`: how much of it waits already. `late`: seconds that pictures are late by, over and over."""
        self.clock = FakeClock()
        self.begun = self.clock.now() - round(waiting_s * 1e6)
        self._costs, self._step, self._late = costs, 1 / rate, late
        self.read = 0

    def packets(self) -> Iterator[Any]:
        comes = 0
        for number in range(10_000):
            self.clock.advance(self._costs[number] if number < len(self._costs) else 0.0002)
            late = self._late[number % len(self._late)]
            comes = max(comes, self.begun + round((number * self._step + late) * 1e6))
            self.clock.advance(max(0, comes - self.clock.now()) / 1e6)
            self.read += 1
            at = round(number * self._step * 90_000)
            yield SimpleNamespace(stream=LEAD, dts=at, pts=at, time_base=TICK, duration=3600)

    def early(self, filmed: Moment | None = None) -> Early:
        return read_early(self.packets(), LEAD, self.clock, filmed=filmed)

    def wrong_s(self, early: Early) -> float:
        assert early.offset is not None
        return (early.offset - self.begun) / 1e6


@pytest.mark.parametrize(
    "costs",
    [[0.02] * 60, [0.012, 0.03, 0.015] * 25, [0.2, *[0.011] * 6] * 4, [0.05, *[0.025] * 60]],
    ids=["slowly", "unevenly", "held up", "barely"],
)
@pytest.mark.parametrize("waiting_s", [0.3, 1.0])
def test_a_child_that_gets_no_time_finds_out_when_pictures_come(costs: list[float], waiting_s: float) -> None:
    """What waited for it all came late; it reads until that is behind it, for two seconds at most."""
    socket = Socket(waiting_s=waiting_s, costs=costs)
    early = socket.early()
    assert 0 <= socket.wrong_s(early) <= 0.3
    assert socket.clock.monotonic() < 2.1
    assert [packet.dts for packet in early.packets] == [3600 * number for number in range(socket.read)], "none is lost"


@pytest.mark.parametrize("rate", [5, 25, 250])
@pytest.mark.parametrize("late", [(0,), (0.004, 0.011, 0.0), (0.06, *[0] * 24)], ids=["even", "uneven", "large ones"])
@pytest.mark.parametrize("waiting_s", [0.0, 1.0])
def test_a_child_that_runs_does_not_wait_for_long(rate: float, late: tuple[float, ...], waiting_s: float) -> None:
    socket = Socket(waiting_s=waiting_s, rate=rate, late=late)
    assert 0 <= socket.wrong_s(socket.early()) <= 0.02
    assert socket.clock.monotonic() < (0.5 if rate == 25 else 1.3)


def test_pictures_that_come_rarely_are_waited_for_once() -> None:
    socket = Socket(waiting_s=0.0, rate=0.8)
    assert socket.wrong_s(socket.early()) == 0
    assert socket.clock.monotonic() < 1.5


def test_what_is_told_of_when_it_was_filmed_needs_no_calm() -> None:
    """A segment after the other comes in a rush: only that they are waited for counts."""
    socket = Socket(waiting_s=30.0, costs=[0.02] * 60)
    early = socket.early(filmed=Moment(socket.begun - 7))
    assert socket.wrong_s(early) == pytest.approx(-7e-6)
    assert len(early.packets) <= 4


def test_a_key_frame_without_a_time_is_shown_right_before_the_first_picture_that_has_one() -> None:
    """Which of several that are sent in another order than shown is not the next one; the first is decoded earlier."""
    clock = FakeClock()
    sent = [(None, None), (4, None), (2, None), (1, 1), (3, 2), (8, 3), (6, 4), (5, 5)]
    packets = [
        SimpleNamespace(
            stream=LEAD,
            pts=None if pts is None else pts * 3600,
            dts=None if dts is None else dts * 3600,
            time_base=TICK,
            duration=3600,
        )
        for pts, dts in sent
    ]
    read: Any = read_early(iter(packets), LEAD, clock, filmed=None).packets
    assert [packet.pts // 3600 for packet in read] == [0, 4, 2, 1, 3, 8, 6, 5]
    assert [packet.dts // 3600 for packet in read] == [-2, -1, 0, 1, 2, 3, 4, 5]
