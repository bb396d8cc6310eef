"""A camera for four hundred days in compressed time: raw ticks through the timeline, chapters, the index of recordings
and retention, each the real one, with a reboot a day, clocks that wrap, drift and are put, and disks that fill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ingest.clock import FakeClock
from ingest.ledger import Counts, Ledger
from ingest.records import MICROSECONDS, Coverage, Feature, Gap, Moment, Record, Segment, Span, seconds
from ingest.timeline import MPEGTS_WRAP, Arrival, Stamp, Ticks, Timeline, advance
from memory.memory import Memory
from tests.conserved import assert_conserved
from tests.memory.conftest import DIM, DOOR, START, OpenMemory, frames_of

DAYS = 400
DAY = 86_400
STEP = 600
"""Seconds between two frames."""
OUTAGE = 20 * 3600
"""Seconds for which the camera is gone, once a day: what a day costs is its hours of film."""
FILMED = DAY - OUTAGE
KEPT_DAYS = 30
DRIFT = Fraction(50, 1_000_000)
"""The camera's clock runs fast by so much: 0.7 seconds from one reboot to the next."""
SIZE = 100
PER_DAY = FILMED // STEP


@dataclass
class Camera:
    """Frames of one connection after the other, with the time at which each really was."""

    rng: np.random.Generator
    wraps: int = 0
    epoch: int = -1
    seen: Moment = field(default_factory=lambda: Moment(START))

    def day(self, number: int) -> Iterator[tuple[Moment, Stamp]]:
        """From its reboot to the next: its own clock begins where it nearly always wraps before the day is over."""
        raw = int(self.rng.integers(MPEGTS_WRAP - FILMED * 90_000, MPEGTS_WRAP))
        ticks, last = Ticks.of(Fraction(1, 90_000), MPEGTS_WRAP), raw
        self.epoch += 1
        line = Timeline(self.epoch, floor=self.seen)
        for frame in range(PER_DAY):
            elapsed = frame * STEP
            now = (raw + round(elapsed * 90_000 * (1 + DRIFT))) % MPEGTS_WRAP
            self.wraps += now < last
            last = now
            true = Moment(START + (number * DAY + OUTAGE + elapsed) * MICROSECONDS)
            arrived = Moment(true + int(self.rng.integers(0, 200_000)))
            ticks, pts = ticks.read(now)
            line, stamp = advance(line, pts, first=arrived, arrival=Arrival(arrived, arrived - START))
            assert stamp is not None
            assert stamp.epoch == self.epoch, "neither wrap nor drift is a jump"
            yield true, stamp


def journal(camera: Camera, number: int, folder: Path, moments: list[Moment]) -> list[Record]:
    """What a supervisor tells of such a day, an hour of recording at a time."""
    told: list[Record] = []
    if number:
        told.append(Gap(DOOR, Span(camera.seen, moments[0]), "offline", "gone"))
    for hour in range(0, len(moments) - 3, 3):
        span = Span(moments[hour], moments[hour + 3])
        path = folder / f"{camera.epoch}-{hour}.mp4"
        path.write_bytes(bytes(SIZE))
        told += [Segment(DOOR, camera.epoch, span, str(path), SIZE), Coverage(DOOR, camera.epoch, span)]
    told.append(Coverage(DOOR, camera.epoch, Span(moments[0], moments[-1])))
    camera.seen = moments[-1]
    return told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_hundred_days_of_one_camera(
    swift_path: Path, open_memory: OpenMemory, clock: FakeClock, ledger: Ledger
) -> None:
    lengths = {"chapter_s": 6 * 3600.0, "hour_slots": 4, "day_slots": 8, "bank_length": 8}
    budget = 450_000
    memory = open_memory(
        **lengths, budget_bytes=budget, keep_recordings_s=float(KEPT_DAYS * DAY), folder=swift_path / "data"
    )
    recorded = swift_path / "recorded"
    recorded.mkdir()
    camera, rng, worst = Camera(np.random.default_rng(6)), np.random.default_rng(7), 0
    before = Moment(START - 1)
    for number in range(DAYS):
        batch: list[Record] = []
        moments: list[Moment] = []
        for true, stamp in camera.day(number):
            assert stamp.moment > before, "time never goes back, not over a reboot either"
            before = stamp.moment
            worst = max(worst, abs(stamp.moment - true))
            moments.append(stamp.moment)
            ledger.captured(DOOR, epoch=stamp.epoch)
            vector = rng.normal(size=DIM).astype(np.float32)
            vector /= np.linalg.norm(vector)
            at = Span(stamp.moment, stamp.moment)
            batch.append(Feature(DOOR, stamp.epoch, stamp.pts, at, vector, thumbnail=bytes(SIZE)))
        memory.remember.handle([*journal(camera, number, recorded, moments), *batch])
        assert_conserved(ledger)
        assert ledger.counts(DOOR) == Counts(captured=(number + 1) * PER_DAY, stored=(number + 1) * PER_DAY)
        clock.advance(DAY)
        memory.enforce()
        assert memory.budget(DOOR).memory <= budget
        if number % 50 == 49:
            check(memory, recorded, number + 1)
    assert camera.wraps > 0.8 * DAYS
    assert worst < seconds(0.5)
    assert "day" in {row.level for row in memory.store.chapters.all()}, "the budget was felt"
    assert all(finding.ok for finding in memory.examine())


def check(memory: Memory, recorded: Path, days: int) -> None:
    """What is known of the whole time, whatever is left of it."""
    timeline = memory.store.timeline
    coverage, gaps = timeline.coverage(DOOR), timeline.gaps(DOOR)
    assert len(coverage) == days
    assert len(gaps) == days - 1
    told = sorted([*coverage, *(gap.span for gap in gaps)])
    assert all(one.end == other.start for one, other in pairwise(told)), "every moment is covered or in a gap"
    whole = seconds((days - 1) * DAY + (PER_DAY - 1) * STEP)
    assert told[-1].end - told[0].start == pytest.approx(whole, abs=seconds(1))
    segments = timeline.segments(DOOR)
    assert {segment.path for segment in segments} == {str(path) for path in recorded.iterdir()}
    assert all(one.span.end <= other.span.start for one, other in pairwise(segments))
    assert len(segments) <= (KEPT_DAYS + 1) * PER_DAY // 3
    assert segments[-1].span.end - segments[0].span.start > seconds(min(days - 1, KEPT_DAYS - 1) * DAY)
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == days * PER_DAY
