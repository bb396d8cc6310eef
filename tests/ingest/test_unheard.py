"""Sound that nobody listened to is told: a year of silence is a claim, too."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ingest.backoff import Turnstile
from ingest.bus import JOURNAL, SOUNDS
from ingest.bus_memory import MemoryBus
from ingest.capture import CapturePlan
from ingest.clock import FakeClock
from ingest.errors import NotVideo
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.records import Frame, Gap, Moment, Record, Sound, Span, seconds
from ingest.sources import parse
from ingest.stage import drive
from ingest.supervise import Surroundings
from ingest.supervise_live import LiveSupervisor
from tests.ingest.conftest import QUICK, STREAM, Harvest, RtspServer, decoders, plan


def sound(at_s: float, length_s: float = 10, epoch: int = 0) -> Sound:
    samples = np.zeros(round(length_s * 16_000), np.float32)
    return Sound(STREAM, epoch, seconds(at_s), Moment(seconds(at_s)), samples)


def gaps_of(bus: MemoryBus) -> list[tuple[str, Span]]:
    taken = bus.receive((JOURNAL,), "test", limit=1000, wait_s=0)
    return [(one.record.reason, one.record.span) for one in taken if isinstance(one.record, Gap)]


def between(start_s: float, end_s: float) -> Span:
    return Span(Moment(seconds(start_s)), Moment(seconds(end_s)))


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus({JOURNAL: ("test",), SOUNDS: ("hear",)}, 2, ledger=Ledger())


def supervisor(bus: MemoryBus) -> LiveSupervisor:
    clock, limits = FakeClock(seconds(1000)), Limits()
    around = Surroundings(bus, Guard([], ()), Ledger(), clock, limits, Turnstile(limits, clock))
    made = LiveSupervisor(CapturePlan(STREAM, parse("rtsp://192.0.2.1/cam")), around)
    made._task()
    return made


def test_what_a_slow_listener_never_came_to_is_a_gap(bus: MemoryBus) -> None:
    watching = supervisor(bus)
    watching._heard(("beat", 0, seconds(1000), Moment(seconds(1000))))
    for at in (1000, 1010, 1020, 1030):
        gaps_of(bus)
        watching._heard(sound(at))
    assert gaps_of(bus) == [("unheard", between(1010, 1020))], "the oldest made room, and nobody will hear it"


def test_a_sound_that_cannot_be_listened_to_is_a_gap() -> None:
    bus, stop, ledger = MemoryBus({JOURNAL: ("test",), SOUNDS: ("hear",)}), threading.Event(), Ledger()

    class Deaf:
        name, consumes, produces = "hear", (SOUNDS,), None

        def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
            raise NotVideo("No language of this world.")

    bus.publish(SOUNDS, sound(20))
    thread = threading.Thread(target=lambda: drive(Deaf(), bus, stop, ledger=ledger))
    thread.start()
    end = time.monotonic() + 60
    while not ledger.counts(STREAM).unheard and time.monotonic() < end:
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert ledger.counts(STREAM).unheard == {"hear: not-video": seconds(10)}
    assert gaps_of(bus) == [("unheard", between(20, 30))]


@pytest.mark.service
def test_what_came_before_a_connection_was_lost_is_listened_to(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    server, made = rtsp(), harvest(QUICK)
    made.fleet.start(plan(server.url()))
    made.wait(lambda: len(made.of(Frame)) >= 16)
    server.kill()
    made.wait(lambda: made.states()[-1:] == ["offline"])
    made.wait(lambda: not any(made.bus.depth().values()))
    frames, heard = made.of(Frame), made.of(Sound)
    assert heard, "the connection was lost before a piece was complete"
    assert heard[0].span.start == pytest.approx(frames[0].moment, abs=seconds(1))
    assert heard[-1].span.end == pytest.approx(frames[-1].moment, abs=seconds(2))


@pytest.mark.service
def test_sound_that_a_killed_child_held_is_a_gap_and_of_a_camera_without_sound_there_is_none(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest]
) -> None:
    server = rtsp()
    for path, expected in (("cam", 1), ("silent", 0)):
        made = harvest(QUICK)
        made.fleet.start(plan(server.url(path)))
        made.wait(lambda made=made: len(made.of(Frame)) >= 16)
        for child in decoders():
            os.kill(child, signal.SIGKILL)
        made.wait(lambda made=made: len({frame.epoch for frame in made.of(Frame)}) > 1)
        lost = [gap.span for gap in made.of(Gap) if gap.reason == "unheard"]
        assert len(lost) == expected
        for span in lost:
            frames = [frame.moment for frame in made.of(Frame) if frame.epoch == 0]
            heard = [sound.last.moment for sound in made.of(Sound) if sound.epoch == 0]
            assert span.start == pytest.approx(max([frames[0], *heard]), abs=seconds(0.1))
            assert span.end == pytest.approx(frames[-1], abs=seconds(1))
        made.halt()
