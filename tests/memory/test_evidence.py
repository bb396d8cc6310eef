"""What is held stays, whichever way something is deleted: recordings, rows, slots, pictures, recollections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest.clock import FakeClock
from ingest.errors import Conflict
from ingest.questions import Recollection, Scope
from ingest.records import Feature, Moment, Segment, Span, seconds
from memory.memory import Memory
from memory.store import StreamSettings
from tests.memory.conftest import DOOR, OpenMemory, feature, noise_at, seen, span
from tests.memory.test_holds import HOUR_S, pass_time

MINUTES = 14
NEW_EPOCH = 8
HELD = span(7.5 * 60, 9.5 * 60)
"""Over the border of two connections, and of four recordings."""


def watched(memory: Memory) -> None:
    """A quarter of an hour: a recording, a chapter and a recollection each, something seen in every one."""
    folder = memory.folder / "recordings" / DOOR
    folder.mkdir(parents=True)
    for minute in range(MINUTES):
        epoch, at = int(minute >= NEW_EPOCH), minute * 60
        path = folder / f"{minute}.mp4"
        path.write_bytes(bytes([minute]) * 1000)
        memory.remember.handle([Segment(DOOR, epoch, span(at, at + 60), str(path), 1000)])
        memory.remember.handle([_frame(at + 15 * part, epoch) for part in range(4)])
        memory.recollections.keep(Recollection(DOOR, span(at, at + 60), 4, bytes([minute]) * 100))


def _frame(at_s: float, epoch: int) -> Feature:
    told = replace(seen(at_s, at_s + 1, f"{at_s:g}"), epoch=epoch)
    return feature(at_s, epoch=epoch, vector=noise_at(int(at_s)), observations=(told,))


def evidence(memory: Memory, held: Span = HELD) -> dict[str, Any]:
    """All that there is of a stretch, read again."""
    scope = Scope((DOOR,), held)
    segments = memory.store.timeline.segments(DOOR, held)
    chapters = memory.store.chapters.all(scope)
    slots = memory.store.chapters.slots([row.id for row in chapters])
    pictures = [memory.store.timeline.thumbnail(DOOR, Moment(at)) for at in range(held.start, held.end, seconds(15))]
    recollections = memory.folder / "recollections" / DOOR
    return {
        "rows": segments,
        "recordings": [Path(one.path).is_file() and Path(one.path).read_bytes()[:1] for one in segments],
        "observations": memory.store.timeline.observations(scope),
        "chapters": chapters,
        "features": [(memory.folder / "chapters" / row.path).read_bytes() for row in chapters if row.path],
        "slots": [(row.id, table.starts.tolist(), table.ends.tolist()) for row, table in slots],
        "pictures": [picture and picture.jpeg for picture in pictures],
        "recollections": sorted(
            path.name
            for path in recollections.glob("*")
            if Span(*(Moment(int(part)) for part in path.name.split("-")[:2])).overlaps(held)
        ),
    }


def by_age(memory: Memory, clock: FakeClock) -> None:
    memory.enforce()
    pass_time(memory, clock, 7)


def by_settings(memory: Memory, clock: FakeClock) -> None:
    own = StreamSettings(keep_recordings_hours=0.1, keep_events_hours=0, keep_alerts_hours=0, recordings_budget_mb=1)
    memory.store.streams.change(replace(memory.store.streams.get(DOOR), settings=own))
    by_age(memory, clock)


def by_recollections(memory: Memory, clock: FakeClock) -> None:
    for minute in range(MINUTES, 3 * MINUTES):
        memory.recollections.keep(Recollection(DOOR, span(minute * 60, minute * 60 + 60), 4, bytes(100)))
    memory.enforce()


def by_more(memory: Memory, clock: FakeClock) -> None:
    """The budget is full, and the camera goes on."""
    for minute in range(MINUTES, 30):
        memory.remember.handle([_frame(minute * 60 + 15 * part, 1) for part in range(4)])
    memory.enforce()


def by_repair(memory: Memory, clock: FakeClock) -> None:
    memory.examine(repair=True)


def by_erasing_beside_it(memory: Memory, clock: FakeClock) -> None:
    memory.erase(DOOR, span(0, 7 * 60))
    memory.erase(DOOR, span(11 * 60, 12 * 60))


AGE, ROOM = {"keep_recordings_s": HOUR_S}, {"recordings_bytes": 1}
MEMORY = {"budget_bytes": 1}
WAYS: list[tuple[Callable[[Memory, FakeClock], None], dict[str, Any], str]] = [
    (by_age, AGE | ROOM | MEMORY, "before"),
    (by_settings, {}, "before"),
    (by_age, AGE, "after"),
    (by_age, ROOM, "after"),
    (by_more, MEMORY, "after"),
    (by_settings, {}, "after"),
    (by_recollections, {"recollections_bytes": 1800}, "after"),
    (by_repair, {}, "after"),
    (by_erasing_beside_it, {}, "after"),
]


@pytest.mark.parametrize(("way", "options", "placed"), WAYS)
def test_what_is_held_stays_whole(
    way: Callable[[Memory, FakeClock], None],
    options: dict[str, Any],
    placed: str,
    open_memory: OpenMemory,
    clock: FakeClock,
) -> None:
    """Held before it is filmed or after; by two holds that overlap, one of which is released."""
    memory = open_memory()
    if placed == "after":
        watched(memory)
    memory.hold(DOOR, HELD, "Case 4711")
    other = memory.hold(DOOR, span(8 * 60, 12 * 60), "Case 4712")
    if placed == "before":
        watched(memory)
    memory.store.holds.release(other.id)
    before = evidence(memory)
    memory = open_memory(**options)
    way(memory, clock)
    assert evidence(memory) == before
    assert len(before["rows"]) == 3
    assert all(before["recordings"])
    assert len(before["recollections"]) == 3
    assert len(before["observations"]) >= 8
    rest = evidence(memory, span(0, 7 * 60))
    gone = len(rest["rows"]) < 7 or len(rest["recollections"]) < 7 or not rest["features"]
    assert gone == (way is not by_repair), "what is not held goes"


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (span(8 * 60, 8 * 60 + 1), "held as evidence (Case 4711)"),
        (span(0, 7.5 * 60 - 1), "with one of these would go what is held as evidence (Case 4711)"),
        (span(9.5 * 60 + 5, 12 * 60), "with one of these would go what is held as evidence (Case 4711)"),
        (None, "held as evidence (Case 4711)"),
    ],
)
def test_what_would_take_some_of_it_along_is_refused(wish: Span | None, said: str, open_memory: OpenMemory) -> None:
    """Recordings go whole: one that begins before what is held goes neither."""
    memory = open_memory()
    watched(memory)
    hold = memory.hold(DOOR, HELD, "Case 4711")
    before = evidence(memory)
    with pytest.raises(Conflict) as caught:
        memory.erase(DOOR, wish)
    assert said in caught.value.message
    assert f"hindsight release {hold.id}" in caught.value.advice
    assert evidence(memory) == before
    memory.store.holds.release(hold.id)
    memory.erase(DOOR, wish)
    assert evidence(memory) != before


def test_a_recording_that_is_being_written_goes_no_earlier_than_what_is_held_of_it(open_memory: OpenMemory) -> None:
    """Up to now was to be erased, and from now on it is held: both lie in the one file."""
    memory = open_memory()
    folder = memory.folder / "recordings" / DOOR
    folder.mkdir(parents=True)
    start = span(600, 601).start
    (folder / f"00000-{start}-0.mp4.part").write_bytes(b"")
    memory.hold(DOOR, span(605, 700), "Case 4711")
    with pytest.raises(Conflict, match="would go what is held"):
        memory.erase(DOOR, span(590, 603))
    memory.erase(DOOR, span(500, 590))


def test_held_recordings_that_cannot_be_found_are_not_forgotten(open_memory: OpenMemory) -> None:
    """Their disk is not mounted, say. Those that are not held are forgotten by a repair, as before."""
    memory = open_memory()
    watched(memory)
    memory.hold(DOOR, HELD, "Case 4711")
    before = evidence(memory)
    folder = memory.folder / "recordings" / DOOR
    folder.rename(folder.with_name("away"))
    finding = next(one for one in memory.examine(repair=True) if one.name == "recordings")
    assert not finding.ok
    assert "Held as evidence, and not forgotten: 3" in finding.detail
    assert len(memory.store.timeline.segments(DOOR)) == 3
    folder.with_name("away").rename(folder)
    assert evidence(memory) == before
    assert next(one for one in memory.examine() if one.name == "recordings").ok


def test_a_hold_on_something_else_holds_nothing_here(open_memory: OpenMemory, clock: FakeClock) -> None:
    memory = open_memory(keep_recordings_s=HOUR_S)
    watched(memory)
    memory.hold(DOOR, span(13 * 60 + 1, 13 * 60 + 2), "Case 4711")
    by_age(memory, clock)
    assert [one.span for one in memory.store.timeline.segments(DOOR)] == [span(13 * 60, 14 * 60)]
