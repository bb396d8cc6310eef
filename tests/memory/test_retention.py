"""The pyramid and the budget: bounded always, counted exactly, and not fooled by a clock."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from ingest.clock import FakeClock
from ingest.questions import Scope
from ingest.records import Feature, Moment, Segment, Span, seconds
from ingest.timeline import MPEGTS_WRAP, Ticks
from memory.chapter_files import ChapterFiles
from memory.detail import Detail
from memory.memory import Memory
from memory.pyramid import DAY, HOUR, Lengths, Pyramid
from memory.store import no_probe, schema
from memory.tables import SlotTable
from tests.memory.conftest import DIM, DOOR, START, OpenMemory, direction, feature, frames_of, query, span

MIDNIGHT = START // DAY * DAY + DAY
LENGTHS = Lengths(hour=10, day=100)


def detail_of(memory: Memory) -> Detail:
    files = ChapterFiles(memory.folder / "chapters", no_probe)
    return Detail(memory.store.database, files, memory.store.chapters, memory.store.features)


def noise(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def hours(memory: Memory, count: int, per_hour: int = 20, seed: int = 0) -> None:
    vectors = noise(count * per_hour, seed)
    step = 3600 / per_hour
    for hour in range(count):
        some = range(hour * per_hour, (hour + 1) * per_hour)
        memory.remember.handle([feature(t * step, vector=vectors[t]) for t in some])


def rows_tile(memory: Memory) -> bool:
    """Rows follow each other without overlap, and within them so do slots."""
    rows = memory.store.chapters.all()
    slots = [s for _, table in memory.store.chapters.slots([r.id for r in rows]) for s in table.times.tolist()]
    slots.sort()
    return all(a[1] <= b[0] for a, b in pairwise(slots)) and all(a.span.end <= b.span.start for a, b in pairwise(rows))


def test_without_a_budget_nothing_is_folded(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=600.0)
    hours(memory, 30)
    assert {row.level for row in memory.store.chapters.all()} == {"chapter"}
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 600


def test_an_hour_takes_the_place_of_its_chapters(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=600.0, hour_slots=10, bank_length=64)
    hours(memory, 3)
    before = memory.store.chapters.all(Scope((DOOR,), span(0, 3600)))
    tables = [table for _, table in memory.store.chapters.slots([row.id for row in before])]
    files = [memory.folder / "chapters" / row.path for row in before]
    pyramid = Pyramid(memory.store, ChapterFiles(memory.folder / "chapters", no_probe), detail_of(memory), LENGTHS)
    (number, rows), *_ = pyramid.foldable(DOOR, "hour")
    assert [row.id for row in rows] == [row.id for row in before]
    hour = pyramid.fold("hour", number, rows)
    assert (hour.span.start, hour.frames, hour.slots, hour.level) == (START, 20, 10, "hour")
    assert not any(path.exists() for path in files)
    ((row, slots),) = memory.store.chapters.slots([hour.id])
    assert memory.store.chapters.all(Scope((DOOR,), span(0, 3599))) == [row]
    assert slots.frames == 20
    together = SlotTable.joined(tables)
    weights = together.counts.astype(np.float32)[:, None]
    total = (slots.vectors * slots.counts[:, None]).sum(axis=0)
    np.testing.assert_allclose(total, (together.vectors * weights).sum(axis=0), atol=0.02)
    assert len([number for number, _ in pyramid.foldable(DOOR, "hour")]) == 1
    assert all(finding.ok for finding in memory.examine(repair=True))


def test_days_hold_the_slots_of_their_hours(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=3600.0, budget_bytes=25_000)
    hours(memory, 60, per_hour=4)
    rows = memory.store.chapters.all()
    assert [row.level for row in rows if row.span.end <= MIDNIGHT] == ["day"]
    assert frames_of(memory) == 240
    assert rows_tile(memory)


def test_detail_goes_oldest_first_and_summaries_stay(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=600.0, budget_bytes=60_000, hour_slots=8)
    hours(memory, 30)
    report = memory.budget(DOOR)
    assert report.memory <= 60_000
    assert min(reach.start for reach in report.reach.values()) == START
    assert START < report.reach["chapter"].start <= report.reach["fine"].start
    assert report.reach["fine"].end >= START + 29 * HOUR
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 600
    assert rows_tile(memory)
    assert all(finding.ok for finding in memory.examine())


def test_old_moments_are_found_in_summaries(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=600.0, budget_bytes=60_000, hour_slots=8)
    memory.remember.handle([feature(t, 3 if 1000 <= t < 1100 else 0) for t in range(0, 3600, 20)])
    for hour in range(1, 31):
        memory.remember.handle([feature(hour * 3600 + t, vector=v) for t, v in enumerate(noise(20, hour))])
    (row,) = memory.store.chapters.all(Scope((DOOR,), span(1000, 1100)))
    assert row.level in {"hour", "day"}
    hits = memory.recall.find(query(3), Scope((), span(0, 3600)), threshold=0.5)
    assert [(hit.level, hit.span) for hit in hits] == [(row.level, span(1000, 1100))]
    picture = memory.store.timeline.thumbnail(DOOR, Moment(START))
    assert picture is not None


def test_what_arrives_after_its_hour_was_summarised_joins_it(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=600.0, budget_bytes=40_000, hour_slots=8)
    hours(memory, 30)
    assert memory.store.chapters.all(Scope((DOOR,), span(0, 10)))[0].level != "chapter"
    memory.remember.handle([feature(40, 5, origin="sound"), feature(30 * 3600, vector=direction(0))])
    memory.remember.handle([feature(32 * 3600, vector=direction(1))])
    memory.enforce()
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 602
    assert all(finding.ok for finding in memory.examine())


def test_erasing_from_summaries_keeps_the_count(open_memory: OpenMemory) -> None:
    memory = open_memory(chapter_s=600.0, budget_bytes=80_000, hour_slots=8)
    hours(memory, 30)
    for start, end in ((1000, 1200), (28 * 3600, 29 * 3600 + 30), (5 * 3600, 6 * 3600)):
        memory.erase(DOOR, span(start, end))
        assert frames_of(memory) == memory.store.streams.frames(DOOR) < 600
        rows = memory.store.chapters.all(Scope((DOOR,), span(start, end)))
        for _, slots in memory.store.chapters.slots([row.id for row in rows]):
            inside = (slots.starts < span(start, end).end) & (slots.ends > span(start, end).start)
            assert not inside.any()
    assert all(finding.ok for finding in memory.examine())


def test_what_is_reported_is_what_lies_on_the_disk(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory = open_memory(chapter_s=600.0, budget_bytes=80_000, hour_slots=8)
    hours(memory, 30)
    recordings(memory, tmp_path, 3)
    memory.enforce()
    report = memory.budget(DOOR)
    files = sum(path.stat().st_size for path in (memory.folder / "chapters").rglob("*.safetensors"))
    assert report.bytes["fine"] + report.bytes["thumbnails"] == files > 0
    assert report.bytes["recordings"] == sum(path.stat().st_size for path in tmp_path.glob("*.mp4")) == 3000
    with memory.store.database.read() as connection:
        slots = connection.scalar(
            select(func.sum(func.length(schema.chapters.c.vectors) + func.length(schema.chapters.c.times)))
        )
        rows = connection.scalar(select(func.sum(func.length(schema.features.c.vector))))
    assert sum(size for kind, size in report.bytes.items() if kind.endswith(" slots")) == slots
    assert report.bytes["open chapter"] >= rows > 0
    oldest = {row.level: row.span.start for row in reversed(memory.store.chapters.all())}
    assert {level: reach.start for level, reach in report.reach.items() if level != "fine"} == oldest


def recordings(memory: Memory, folder: Path, count: int, size: int = 1000) -> None:
    for number in range(count):
        path = folder / f"{number}.mp4"
        path.write_bytes(bytes(size))
        memory.remember.handle([Segment(DOOR, 0, span(number * 10, number * 10 + 10), str(path), size)])


def test_recordings_take_their_budget_and_no_more(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory = open_memory(recordings_bytes=16_000, budget_bytes=10_000)
    recordings(memory, tmp_path, 40)
    memory.enforce()
    left = memory.store.timeline.segments(DOOR)
    assert [segment.span.start for segment in left] == [span(t * 10, t * 10).start for t in range(24, 40)]
    assert sorted(int(path.stem) for path in tmp_path.glob("*.mp4")) == list(range(24, 40))


def test_a_budget_of_memory_deletes_no_recording(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory = open_memory(chapter_s=600.0, budget_bytes=60_000, hour_slots=8)
    recordings(memory, tmp_path, 40, size=100_000)
    hours(memory, 30)
    memory.enforce()
    report = memory.budget(DOOR)
    assert report.memory <= 60_000
    assert report.recordings == 4_000_000
    assert (report.limit, report.recordings_limit) == (60_000, None)
    assert len(list(tmp_path.glob("*.mp4"))) == 40


def test_old_recordings_go_by_age_a_fifth_at_a_time(open_memory: OpenMemory, tmp_path: Path, clock: FakeClock) -> None:
    memory = open_memory(keep_recordings_s=3600.0)
    recordings(memory, tmp_path, 20)
    memory.enforce()
    for _ in range(2):
        clock.advance(1800)
        memory.enforce()
    assert len(memory.store.timeline.segments(DOOR)) == 20
    clock.advance(1000)
    memory.enforce()
    assert len(memory.store.timeline.segments(DOOR)) == 16
    for _ in range(30):
        memory.enforce()
    assert memory.store.timeline.segments(DOOR) == ()


@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_jumps_a_year_erases_nothing(
    open_memory: OpenMemory, tmp_path: Path, clock: FakeClock, restart: bool
) -> None:
    memory = open_memory(keep_recordings_s=3600.0)
    recordings(memory, tmp_path, 20)
    memory.enforce()
    clock.jump(365 * 86_400)
    if restart:
        memory = open_memory(keep_recordings_s=3600.0)
    for _ in range(20):
        memory.enforce()
        clock.advance(3000)
    assert len(memory.store.timeline.segments(DOOR)) == 20
    clock.jump(-365 * 86_400)
    memory.enforce()
    assert len(memory.store.timeline.segments(DOOR)) == 20


def test_a_clock_that_keeps_step_is_believed_again(open_memory: OpenMemory, tmp_path: Path, clock: FakeClock) -> None:
    memory = open_memory(keep_recordings_s=3600.0)
    recordings(memory, tmp_path, 5)
    memory.enforce()
    clock.jump(365 * 86_400)
    for _ in range(30):
        memory.enforce()
        clock.advance(3000)
    assert len(memory.store.timeline.segments(DOOR)) < 5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_days_of_one_connection_stay_within_the_budget(
    swift_path: Path, open_memory: OpenMemory, clock: FakeClock
) -> None:
    """A clock that wraps every day and is never put: chapters, hours, days, a budget."""
    budget, per_day, days = 400_000, 72, 100
    lengths = {"chapter_s": 6 * 3600.0, "hour_slots": 8, "day_slots": 16, "bank_length": 8}
    memory = open_memory(**lengths, budget_bytes=budget, folder=swift_path)
    ticks, last, wraps = Ticks.of(Fraction(1, 90_000), MPEGTS_WRAP), -1, 0
    rng = np.random.default_rng(4)
    remembered = 0
    for day in range(days):
        vectors = noise(per_day, day)
        batch = []
        for number in range(per_day):
            hour = (number // 24) * 8  # three bursts a day, a frame every two and a half minutes
            elapsed = day * 86_400 + hour * 3600 + (number % 24) * 150 + int(rng.integers(0, 20))
            raw = elapsed * 90_000 % MPEGTS_WRAP
            wraps += raw < last
            last = raw
            ticks, pts = ticks.read(raw)
            moment = Moment(START + pts)
            batch.append(Feature(DOOR, 0, pts, Span(moment, moment), vectors[number], thumbnail=bytes(100)))
        memory.remember.handle(batch)
        clock.advance(86_400)
        remembered += per_day
        report = memory.budget(DOOR)
        assert report.memory <= budget
        assert memory.store.streams.frames(DOOR) == remembered
        if day % 25 == 24:
            memory.enforce()
            assert frames_of(memory) == remembered
            assert rows_tile(memory)
    assert wraps >= 75
    assert report.reach["day"].start < START + seconds(20)
    assert report.reach["day"].duration > seconds((days - 2) * 86_400)
    assert report.reach["fine"].start > report.reach["day"].start
    assert len(memory.index.owners()) == len(memory.store.chapters.all())
    assert all(finding.ok for finding in memory.examine())
