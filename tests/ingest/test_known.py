"""What is known of a live stream over restarts, and over a clock that is put back: each gap once, and none lost."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from ingest.bus import JOURNAL, Policy, Room
from ingest.bus_memory import MemoryBus
from ingest.capture import Fleet, Known
from ingest.clock import FakeClock, SystemClock
from ingest.errors import Busy
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.records import Coverage, Frame, Gap, Mark, Moment, Record, Segment, Span, StateChange, seconds
from ingest.supervise_live import LiveSupervisor
from ingest.timeline import Stamp
from tests.conserved import assert_conserved
from tests.ingest.conftest import LOOPBACK, QUICK, STREAM, Harvest, RtspServer, plan

pytestmark = pytest.mark.service


def test_time_while_the_service_was_down_is_a_gap(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    """From where anything is told of, in an epoch that nothing was told of: more may be told than remembered."""
    server, made = rtsp(), harvest(QUICK)
    now = SystemClock().now()
    mark, known = Mark(7, 123, Moment(now - seconds(90))), Known(8, Moment(now - seconds(80)))
    made.fleet.start(plan(server.url("silent"), resume=mark, known=known))
    made.wait(lambda: made.of(Frame) and made.of(Gap))
    (gap,) = made.of(Gap)
    assert gap.reason == "service stopped"
    assert gap.span.start == known.end
    assert gap.span.end == pytest.approx(made.of(Frame)[0].moment, abs=seconds(0.1))
    assert made.of(Frame)[0].epoch == 9
    assert made.of(Coverage)[0].span == Span(mark.moment, mark.moment), "what is remembered was watched"


def test_one_that_is_stopped_and_started_at_once_goes_on_where_it_stopped(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    """Nothing of it need have been stored by then: what was told is known all the same."""
    server, made = rtsp(), harvest(QUICK)
    for turn in range(3):
        made.fleet.start(plan(server.url("silent"), blind_because="paused"))
        made.wait(lambda turn=turn: len({frame.epoch for frame in made.of(Frame)}) == turn + 1)
        made.fleet.stop(STREAM, reason="paused")
    made.wait(lambda: not any(made.bus.depth().values()))
    watched = {coverage.epoch: coverage.span for coverage in made.of(Coverage)}
    gaps = {gap.span.start: gap.span for gap in made.of(Gap)}
    assert {gap.reason for gap in made.of(Gap)} == {"paused"}
    told = sorted([*watched.values(), *gaps.values()])
    assert len(told) == 6, "three times watched, and blind after each"
    assert all(before.end == after.start for before, after in itertools.pairwise(told))


def test_a_clock_that_was_put_back_over_a_restart_is_believed_and_hides_no_gap(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen lies an hour ahead of this machine's clock: it is told to be misdated, and what comes is not."""
    monkeypatch.setattr("ingest.supervise_live.synchronised", lambda: True)
    server, made, hour = rtsp(), harvest(QUICK), seconds(3600)
    server.kill()
    now = SystemClock().now()
    known = Known(0, Moment(now + hour), begun=Moment(now + hour - seconds(60)))
    made.fleet.start(plan(server.url("silent"), known=known, blind_because="offline"))
    made.wait(lambda: any(gap.reason == "offline" and gap.span.duration > seconds(3) for gap in made.of(Gap)))
    server.start()
    made.wait(lambda: made.of(Frame) and made.of(Coverage))
    (told,) = (gap for gap in made.of(Gap) if gap.reason == "clock put back")
    assert told.span == Span(Moment(now + hour - seconds(60) + 1), Moment(now + hour))
    assert "It was up to 1:00:00 earlier" in told.detail
    away = [gap.span for gap in made.of(Gap) if gap.reason == "offline"]
    assert {now <= span.start < now + seconds(20) for span in away} == {True}
    assert len({span.start for span in away}) == 1
    assert away[-1].end == made.of(Coverage)[0].span.start
    assert 0 <= SystemClock().now() - made.of(Frame)[0].moment < seconds(20), "and not an hour ahead"


@pytest.mark.parametrize("kept", [True, False, None])
def test_what_was_seen_is_doubted_only_by_a_clock_that_is_kept_right(
    *, kept: bool | None, harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that lost power begins with its clock behind, which looks like one that was ahead before."""
    monkeypatch.setattr("ingest.supervise_live.synchronised", lambda: kept)
    made, clock = harvest(QUICK), FakeClock()
    known = Known(0, Moment(clock.now() + seconds(3600)), begun=clock.now())
    watching = LiveSupervisor(plan("rtsp://127.0.0.1:1/x", known=known), replace(made.fleet._around, clock=clock))
    assert watching._task()["starts_at"] == clock.now()
    assert watching.known.end == clock.now()
    made.wait(lambda: not any(made.bus.depth().values()))
    assert [gap.reason for gap in made.of(Gap)] == ([] if kept is False else ["clock put back"])


def test_a_clock_that_is_put_back_while_a_camera_is_watched_begins_an_epoch_at_the_time_that_it_tells(
    harvest: Callable[..., Harvest],
) -> None:
    """As its child tells it; that what was seen before lies later hides no gap, whoever notices first."""
    made, clock = harvest(QUICK), FakeClock()
    watching = LiveSupervisor(plan("rtsp://127.0.0.1:1/x"), replace(made.fleet._around, clock=clock))
    begun, hour = clock.now(), seconds(3600)
    for at in range(5):
        watching._beaten(Stamp(1, seconds(at), clock.now()))
        clock.advance(1)
    clock.jump(-3600)
    watching._beaten(Stamp(1, seconds(4), Moment(begun + seconds(4))))  # it was on its way
    watching._beaten(Stamp(2, seconds(5), clock.now()))
    clock.advance(1)
    watching._lost(None)
    made.wait(lambda: made.of(Gap) and made.of(Gap)[-1].reason == "offline")
    misdated, away = made.of(Gap)
    assert misdated == Gap(
        STREAM, Span(Moment(begun + 1), Moment(begun + seconds(4))), "clock put back", misdated.detail
    )
    assert away.span == Span(Moment(begun + seconds(5) - hour), Moment(begun + seconds(6) - hour))
    watched = {coverage.epoch: coverage.span for coverage in made.of(Coverage)}
    assert watched[1] == Span(begun, Moment(begun + seconds(4)))
    assert watched[2].start == begun + seconds(5) - hour
    clock.jump(-hour / 1e6)
    clock.advance(2)
    assert watching._task()["starts_at"] == begun + seconds(5) - 2 * hour, "what was seen is an hour nearer"
    assert watching.known.end == begun + seconds(5) - 2 * hour


def test_a_gap_goes_on_over_a_restart_only_with_one_of_its_own_reason(harvest: Callable[..., Harvest]) -> None:
    now = SystemClock().now()
    away = Gap(STREAM, Span(Moment(now - seconds(60)), Moment(now - seconds(40))), "offline", "no answer")
    for reason, start in (("offline", away.span.start), ("service stopped", away.span.end)):
        made = harvest(QUICK)
        made.fleet.start(plan("rtsp://127.0.0.1:1/x", known=Known(3, away.span.end, away), blind_because=reason))
        made.wait(lambda made=made: made.of(Gap))
        assert (made.of(Gap)[0].reason, made.of(Gap)[0].span.start) == (reason, start)


def test_what_nobody_took_is_not_known(harvest: Callable[..., Harvest]) -> None:
    """As on a full disk: nobody would tell it again, and there would be a hole."""
    bus, ledger = MemoryBus({JOURNAL: ("test",)}, capacity=3), Ledger()
    fleet = Fleet(bus, Guard([], LOOPBACK), ledger, SystemClock(), QUICK)
    fleet.start(plan("rtsp://127.0.0.1:1/x"))
    harvest().wait(lambda: bus.depth()[f"{JOURNAL}/test"] == 3)
    fleet.stop(STREAM)
    assert not fleet.ending(STREAM)
    *_, told = (one.record for one in bus.receive((JOURNAL,), "test", limit=9, wait_s=0) if isinstance(one.record, Gap))
    assert fleet.known(STREAM).gap == told
    assert_conserved(ledger)


class WithoutGaps(MemoryBus):
    """Takes all but gaps from some time on, as if its journal were full at just those moments."""

    full = False

    def publish(self, topic: str, record: Record, policy: Policy = Policy.BLOCK) -> Room:
        if self.full and isinstance(record, Gap):
            raise Busy("The queue is full.")
        return super().publish(topic, record, policy)


def test_what_comes_behind_what_nobody_took_is_said_all_the_same(
    harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that is not told is played by nobody, and a camera that did not say it is paused looks away."""
    now = SystemClock().now()
    saved = Segment(STREAM, 1, Span(now, Moment(now + 1)), "saved.mp4", 1)

    def rescue(watching: LiveSupervisor) -> None:
        if watching._stopping.is_set():
            watching._rescued(saved)

    monkeypatch.setattr(LiveSupervisor, "_rescue", rescue)
    bus, ledger = WithoutGaps({JOURNAL: ("test",)}, capacity=1000), Ledger()
    fleet = Fleet(bus, Guard([], LOOPBACK), ledger, SystemClock(), QUICK)
    fleet.start(plan("rtsp://127.0.0.1:1/x"))
    told = list[Record]()

    def receive() -> list[Record]:
        told.extend(one.record for one in bus.receive((JOURNAL,), "test", limit=99, wait_s=0))
        return told

    harvest().wait(lambda: any(isinstance(one, Gap) for one in receive()))
    bus.full = True
    fleet.stop(STREAM)
    assert not fleet.ending(STREAM)
    states = [one.state for one in receive() if isinstance(one, StateChange)]
    assert (states[-1], saved in told) == ("paused", True)
    assert fleet.known(STREAM).gap == [one for one in told if isinstance(one, Gap)][-1]
    assert_conserved(ledger)


def test_a_gap_is_told_before_what_takes_long(harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that stops does not wait for all of it."""
    made, asked, may_end = harvest(QUICK), threading.Event(), threading.Event()

    def rescue(watching: LiveSupervisor) -> None:
        if watching._stopping.is_set():
            asked.set()
            assert may_end.wait(60)

    monkeypatch.setattr(LiveSupervisor, "_rescue", rescue)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        made.fleet.start(plan(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"))
        made.wait(lambda: made.states() == ["connecting"])
        stopping = threading.Thread(target=made.fleet.stop, args=(STREAM,))
        stopping.start()
        assert asked.wait(60)
    made.wait(lambda: not any(made.bus.depth().values()))
    told = made.of(Gap)
    may_end.set()
    stopping.join()
    assert [gap.reason for gap in told] == ["paused"]


def test_why_it_was_paused_is_not_why_it_does_not_answer(harvest: Callable[..., Harvest]) -> None:
    now, made = SystemClock().now(), harvest(QUICK)
    paused = Gap(STREAM, Span(Moment(now - seconds(60)), Moment(now - seconds(40))), "paused")
    made.fleet.start(plan("rtsp://127.0.0.1:1/x", known=Known(3, paused.span.end, paused), blind_because="paused"))
    made.wait(lambda: made.of(Gap) and made.of(Gap)[-1].reason == "offline")
    assert {gap.detail for gap in made.of(Gap) if gap.reason == "paused"} == {""}
    assert all("refused" in gap.detail for gap in made.of(Gap) if gap.reason == "offline")


def test_what_was_wrong_is_not_forgotten_where_it_is_connected_to_anew(harvest: Callable[..., Harvest]) -> None:
    now, made = SystemClock().now(), harvest(QUICK)
    away = Gap(STREAM, Span(Moment(now - seconds(60)), Moment(now - seconds(40))), "offline", "another password")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        made.fleet.start(plan(url, known=Known(3, away.span.end, away), blind_because="offline"))
        made.fleet.stop(STREAM, reason="settings changed")
    made.wait(lambda: made.of(Gap))
    assert {(gap.span.start, gap.detail) for gap in made.of(Gap)} == {(away.span.start, "another password")}
