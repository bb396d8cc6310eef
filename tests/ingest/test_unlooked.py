"""What is told of pictures that came and were not looked at: enough, and never a row for every picture."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.backoff import Turnstile
from ingest.bus import JOURNAL, Room
from ingest.bus_memory import MemoryBus
from ingest.clock import FakeClock
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.load import Shedding
from ingest.plan import CapturePlan
from ingest.records import Coverage, Frame, Gap, Moment, Record, StateChange, StreamId, seconds
from ingest.sources import parse
from ingest.supervise import Surroundings
from ingest.supervise_live import LiveSupervisor
from ingest.unlooked import APART, LEAST, NOTE, Attention

CAM = StreamId("cam")
PIXELS = np.zeros((2, 2, 3), np.uint8)


def frame(at_s: float, epoch: int = 0) -> Frame:
    return Frame(CAM, epoch, seconds(at_s), Moment(seconds(at_s)), PIXELS)


def told(bus: MemoryBus) -> list[Record]:
    deliveries = bus.receive((JOURNAL,), "test", limit=1000, wait_s=0)
    bus.acknowledge(deliveries)
    return [one.record for one in deliveries]


def stretches(told: list[Gap]) -> list[tuple[float, float]]:
    """As the store keeps them: of one start, the last that was told."""
    kept = {gap.span.start: gap.span for gap in told}
    return [(round(span.start / 1e6, 1), round(span.end / 1e6, 1)) for span in kept.values()]


def drop(attention: Attention, begin_s: float, end_s: float, step_s: float = 0.25) -> list[Gap]:
    """Every picture from `begin_s` to `end_s` is dropped, one after the other."""
    times = np.arange(begin_s, end_s, step_s)
    told: list[Gap] = []
    for at in times:
        told += attention.dropped(frame(at), frame(at + step_s), Moment(seconds(at + 16)))
    return told


def test_pictures_dropped_one_after_the_other_are_one_gap_to_the_next_that_was_kept() -> None:
    attention = Attention(CAM, seconds(0.5))
    told = drop(attention, 100, 120)
    assert not attention.complete
    told += attention.begin()
    assert stretches(told) == [(100.0, 120.0)]
    assert {gap.reason for gap in told} == {"overload"}
    assert len(told) <= 6, "it is told as it grows, not with every picture"
    assert attention.complete


def test_single_pictures_are_no_gap() -> None:
    attention = Attention(CAM, seconds(2))
    told = [gap for at in range(100, 200, 4) for gap in drop(attention, at, at + 2, 2.0)]
    assert told + attention.begin() == []


def test_holes_beside_each_other_are_one_stretch_and_holes_far_apart_are_two() -> None:
    attention = Attention(CAM, seconds(0.5))
    told = [gap for at in (100, 110, 125, 200) for gap in drop(attention, at, at + 5)]
    assert stretches(told + attention.begin()) == [(100.0, 130.0), (200.0, 205.0)]


def test_a_stretch_is_over_when_it_has_not_grown_for_long() -> None:
    attention = Attention(CAM, seconds(0.5))
    drop(attention, 100, 107)
    [last] = [gap for at in range(122, 200) for gap in attention.came(Moment(seconds(at)), "nothing")]
    assert last.span.end == seconds(107)
    assert attention.complete


def test_what_is_dropped_before_another_epoch_ends_with_its_own() -> None:
    attention = Attention(CAM, seconds(0.5))
    drop(attention, 100, 106)
    [gap] = [*attention.dropped(frame(106), frame(900, epoch=1), Moment(seconds(900))), *attention.begin()]
    assert gap.span.end == seconds(106)


def look(attention: Attention, times: list[float], shedding: Shedding) -> list[Gap]:
    """A camera whose pictures come all the time, of which those at `times` are decoded."""
    told: list[Gap] = []
    for before, at in pairwise(times):
        for came in np.arange(before, at, 0.5):
            told += attention.came(Moment(seconds(came)), shedding)
        told += attention.sampled(Moment(seconds(at)))
    return told


def test_what_is_not_decoded_because_it_came_too_late_is_a_gap_as_it_grows() -> None:
    attention = Attention(CAM, seconds(0.5))
    assert look(attention, [10, 10.5, 11, 11.5], "nothing") == []
    told = look(attention, [12, 40], "pictures")
    assert len(told) > 3
    assert stretches(told + attention.begin()) == [(11.5, 40.0)]


def test_key_frames_that_are_far_apart_by_themselves_are_no_gap() -> None:
    attention = Attention(CAM, seconds(0.5))
    keys = [float(at) for at in range(0, 80, 8)]
    assert look(attention, keys, "nothing") == []
    assert look(attention, [at + 80 for at in keys], "pictures") + attention.begin() == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.1, 60), st.floats(0.1, 60)), max_size=30))
def test_every_hole_is_told_and_rows_are_few(runs: list[tuple[float, float]]) -> None:
    """Pictures are kept for a while and dropped for a while, over and over."""
    attention, now, told, holes = Attention(CAM, seconds(0.5)), 0.0, list[Gap](), list[tuple[float, float]]()
    for kept, dropped in runs:
        now = round(now + kept, 2)
        told += drop(attention, now, now + dropped)
        end = now + 0.25 * len(np.arange(now, now + dropped, 0.25))
        holes.append((now, end))
        now = end
    told += attention.begin()
    spans = sorted({gap.span.start: gap.span for gap in told}.values())
    assert all(later.start - earlier.end > APART for earlier, later in pairwise(spans))
    for start, end in holes:
        if end - start >= LEAST / 1e6 + 0.01:
            assert any(span.start <= seconds(start) and seconds(end) <= span.end for span in spans)


def test_what_a_child_does_not_decode_because_it_is_late_is_a_gap_over_what_is_covered() -> None:
    """Word for word what a child says whose decoder falls so far behind that it leaves out key frames, too."""
    clock, ledger, limits = FakeClock(seconds(1000)), Ledger(), Limits()
    bus = MemoryBus({JOURNAL: ("test",)}, 1000, ledger=ledger)
    around = Surroundings(bus, Guard([], ()), ledger, clock, limits, Turnstile(limits, clock))
    supervisor = LiveSupervisor(CapturePlan(CAM, parse("rtsp://192.0.2.1/cam")), around)
    supervisor._task()

    def watched(start: int, end: int, *, decoded: bool) -> None:
        for at in range(start, end):
            supervisor._heard(("beat", 0, seconds(at), Moment(seconds(at))))
            if decoded:
                supervisor._heard(frame(at))
            clock.advance(1.0)

    watched(1000, 1010, decoded=True)
    supervisor._heard(("frugal", "pictures", 250, False))
    watched(1010, 1040, decoded=False)
    details = [one.detail for one in told(bus) if isinstance(one, StateChange)]
    watched(1040, 1045, decoded=True)
    supervisor._heard(("frugal", "nothing", 250, False))
    watched(1045, 1080, decoded=True)
    rest = told(bus)
    [gap] = {one.span.start: one for one in rest if isinstance(one, Gap)}.values()
    assert (gap.reason, round(gap.span.start / 1e6), round(gap.span.end / 1e6)) == ("overload", 1009, 1040)
    assert [*details, *(one.detail for one in rest if isinstance(one, StateChange))] == ["", NOTE, ""]
    covered = [one.span for one in rest if isinstance(one, Coverage)][-1]
    assert covered.start <= gap.span.start
    assert gap.span.end <= covered.end


def test_each_step_of_what_is_given_up_can_be_read_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock, ledger, limits = FakeClock(seconds(1000)), Ledger(), Limits()
    bus = MemoryBus({JOURNAL: ("test",)}, 1000, ledger=ledger)
    around = Surroundings(bus, Guard([], ()), ledger, clock, limits, Turnstile(limits, clock))
    supervisor = LiveSupervisor(CapturePlan(CAM, parse("rtsp://192.0.2.1/cam")), around)
    with caplog.at_level("DEBUG"):
        for step, skipped in (("rate", 0), ("pictures", 0), ("pictures", 9), ("rate", 9), ("nothing", 9)):
            supervisor._heard(("frugal", step, skipped, False))
    assert caplog.messages == [f"{CAM} gives up: {step}" for step in ("rate", "pictures", "rate", "nothing")]


def test_pictures_that_go_at_once_are_as_much_of_a_gap_as_one_by_one() -> None:
    """Also where what is left is of another epoch, whose times have nothing to do with theirs."""
    clock, ledger, limits = FakeClock(seconds(1000)), Ledger(), Limits()
    bus = MemoryBus({JOURNAL: ("test",)}, 1000, ledger=ledger)
    around = Surroundings(bus, Guard([], ()), ledger, clock, limits, Turnstile(limits, clock))
    supervisor = LiveSupervisor(CapturePlan(CAM, parse("rtsp://192.0.2.1/cam")), around)
    gone = tuple(frame(at) for at in range(1000, 1020))
    supervisor._crowded(Room(1.0, gone, replace(frame(1021), epoch=gone[0].epoch + 1)))
    [gap] = {one.span.start: one for one in told(bus) if isinstance(one, Gap)}.values()
    assert (gap.reason, gap.span.start, gap.span.end) == ("overload", gone[0].moment, gone[-1].moment)
