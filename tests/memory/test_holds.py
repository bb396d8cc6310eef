"""What is worth keeping stays: around alerts and events longer, and what is held as evidence whatever comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import FakeClock
from ingest.errors import Conflict, NotFound
from ingest.questions import Scope
from ingest.records import Alert, Feature, Moment, Segment, Span
from memory.memory import Memory
from memory.retention import Bounds
from memory.store import StreamSettings
from memory.store.holds import ALWAYS, overlapped
from tests.memory.conftest import DOOR, START, OpenMemory, feature, noise_at, seen, span

pytestmark = pytest.mark.databases

HOUR_S = 3600.0


def recordings(memory: Memory, folder: Path, count: int, size: int = 1000) -> None:
    """A segment every minute."""
    for number in range(count):
        path = folder / f"{number}.mp4"
        path.write_bytes(bytes(size))
        memory.remember.handle([Segment(DOOR, 0, span(number * 60, number * 60 + 60), str(path), size)])


def left(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.mp4"))


def something_enters(at_s: float) -> Feature:
    return feature(at_s, observations=(seen(at_s, at_s + 2, f"{at_s:g}", kind="event", label="enters"),))


def alert(memory: Memory, at_s: float) -> None:
    when = span(at_s, at_s + 5)
    memory.store.alerts.save(Alert("rule", DOOR, when, 0.9, when.start, "because"))


def film(memory: Memory, first: int, end: int) -> None:
    """Hours in which something else is seen every quarter, and something enters at the full hour."""
    for hour in range(first, end):
        at = hour * HOUR_S
        some = [feature(at + 900 * n, vector=noise_at(4 * hour + n)) for n in range(1, 4)]
        memory.remember.handle([something_enters(at), *some])


def pass_time(memory: Memory, clock: FakeClock, hours: float) -> None:
    for _ in range(int(hours * 2)):
        clock.advance(1800)
        memory.enforce()
        memory.enforce()


def test_what_happened_decides_how_long_it_stays(open_memory: OpenMemory, tmp_path: Path, clock: FakeClock) -> None:
    memory = open_memory(keep_recordings_s=2 * HOUR_S, keep_events_s=20 * HOUR_S, keep_alerts_s=40 * HOUR_S)
    recordings(memory, tmp_path, 20)
    memory.remember.handle([something_enters(5 * 60 + 40)])
    alert(memory, 12 * 60 + 5)
    memory.store.holds.place(DOOR, span(17 * 60 + 1, 17 * 60 + 2), "Case 4711", clock.now())
    memory.enforce()
    pass_time(memory, clock, 15)
    assert left(tmp_path) == [5, 6, 11, 12, 17], "with half a minute around the event and the alert"
    pass_time(memory, clock, 12)
    assert left(tmp_path) == [11, 12, 17]
    pass_time(memory, clock, 20)
    assert left(tmp_path) == [17]
    memory.store.holds.release(memory.store.holds.all()[0].id)
    pass_time(memory, clock, 1)
    assert left(tmp_path) == []


def test_a_number_is_never_of_another_case(open_memory: OpenMemory, clock: FakeClock) -> None:
    holds = open_memory().store.holds
    first, second = (holds.place(DOOR, span(at, at + 1), "Case 1", clock.now()) for at in (0, 10))
    for one in (first, second):
        holds.release(one.id)
    holds = open_memory().store.holds
    third = holds.place(DOOR, span(20, 21), "Case 2", clock.now())
    assert [one.id for one in holds.all()] == [third.id]
    for one in (first, second):
        with pytest.raises(NotFound):
            holds.release(one.id)


def test_a_stream_s_own_settings_decide_for_its_recordings(
    open_memory: OpenMemory, tmp_path: Path, clock: FakeClock
) -> None:
    """From then on, and whatever is not its own is as the memory has it."""
    memory = open_memory(keep_recordings_s=400 * HOUR_S, keep_alerts_s=40 * HOUR_S)
    recordings(memory, tmp_path, 20)
    memory.remember.handle([something_enters(5 * 60 + 40)])
    alert(memory, 12 * 60 + 5)
    memory.enforce()
    pass_time(memory, clock, 15)
    assert (left(tmp_path), memory.budget(DOOR).recordings_limit) == (list(range(20)), None)
    own = StreamSettings(keep_recordings_hours=2, keep_events_hours=20, recordings_budget_mb=1)
    memory.store.streams.change(replace(memory.store.streams.get(DOOR), settings=own))
    pass_time(memory, clock, 3.5)
    assert left(tmp_path) == [5, 6, 11, 12]
    assert memory.budget(DOOR).recordings_limit == 1_000_000
    pass_time(memory, clock, 5)
    assert left(tmp_path) == [11, 12], "around the alert as long as everywhere"
    whole = Bounds(10, 20, 30, 40, 50)
    assert whole.of(StreamSettings()) == whole
    assert whole.of(StreamSettings(recordings_budget_mb=0, keep_alerts_hours=0)) == Bounds(10, 20, None, 40, 0)


def test_a_budget_takes_what_is_worth_least_first_and_never_what_is_held(
    open_memory: OpenMemory, tmp_path: Path, clock: FakeClock
) -> None:
    memory = open_memory(recordings_bytes=8_000)
    recordings(memory, tmp_path, 4)
    memory.remember.handle([something_enters(30)])
    alert(memory, 60 + 35)
    memory.store.holds.place(DOOR, span(125, 130), "Case 4711", clock.now())
    recordings(memory, tmp_path, 20, size=1000)
    memory.enforce()
    assert {0, 1, 2} <= set(left(tmp_path))
    assert len(left(tmp_path)) == 8
    recordings(memory, tmp_path, 20, size=3000)
    memory.enforce()
    assert 2 in left(tmp_path)
    assert len(left(tmp_path)) == 2, "the held one, and the newest of what is worth most"


def test_everything_held_is_more_than_any_budget(open_memory: OpenMemory, tmp_path: Path, clock: FakeClock) -> None:
    memory = open_memory(budget_bytes=3_000, recordings_bytes=3_000, keep_recordings_s=HOUR_S)
    memory.store.holds.place(DOOR, ALWAYS, "All of it", clock.now())
    recordings(memory, tmp_path, 20)
    memory.remember.handle([feature(at) for at in range(0, 300, 5)])
    before = memory.store.features.log(DOOR), memory.store.chapters.all(Scope((DOOR,)))
    pass_time(memory, clock, 8)
    assert left(tmp_path) == list(range(20))
    assert [row.path for row in memory.store.chapters.all(Scope((DOOR,)), levels=["chapter"])] == [
        row.path for row in before[1] if row.level == "chapter"
    ]


@pytest.mark.sqlite  # thousands of small transactions
def test_of_what_is_held_no_text_goes_and_no_slot_merges(open_memory: OpenMemory, clock: FakeClock) -> None:
    """Held before it is folded and after, while everything around it becomes days of a few slots."""
    memory = open_memory(chapter_s=3600.0, budget_bytes=25_000)
    fresh, folded = span(5 * HOUR_S, 6 * HOUR_S), span(9 * HOUR_S, 10 * HOUR_S)
    memory.store.holds.place(DOOR, fresh, "Case 4711", clock.now())
    film(memory, 0, 60)
    (before,) = memory.store.chapters.all(Scope((DOOR,), folded))
    memory.store.holds.place(DOOR, folded, "Case 4712", clock.now())
    film(memory, 60, 240)
    (after,) = memory.store.chapters.all(Scope((DOOR,), folded))
    assert (before.level, after) == ("day", before)
    kept = memory.store.timeline.observations(Scope((DOOR,)))
    assert [seen.span.start for seen in kept if seen.span.start < fresh.end] == [fresh.start]


def test_erasing_what_is_held_is_refused_and_told_how_it_can_be_done(
    open_memory: OpenMemory, tmp_path: Path, clock: FakeClock
) -> None:
    memory = open_memory()
    recordings(memory, tmp_path, 5)
    hold = memory.store.holds.place(DOOR, span(130, 140), "Case 4711", clock.now())
    for wish in (span(100, 131), None):
        with pytest.raises(Conflict) as caught:
            memory.erase(DOOR, wish)
        assert "Case 4711" in caught.value.message
        assert f"release {hold.id}" in caught.value.advice
    assert left(tmp_path) == [0, 1, 2, 3, 4]
    memory.erase(DOOR, span(0, 60))
    assert left(tmp_path) == [1, 2, 3, 4], "what is beside it goes as before"
    memory.erase(DOOR, span(120, 180), force=True)
    assert left(tmp_path) == [1, 3, 4]
    with pytest.raises(NotFound):
        memory.store.holds.release(99)


def test_a_hold_outlives_a_restart_and_goes_with_its_stream(open_memory: OpenMemory, clock: FakeClock) -> None:
    memory = open_memory()
    memory.store.holds.place(DOOR, ALWAYS, "Case 4711", clock.now())
    memory = open_memory()
    assert [hold.reason for hold in memory.store.holds.all()] == ["Case 4711"]
    memory.erase(DOOR, force=True)
    assert memory.store.holds.all() == []


def late(memory: Memory, folder: Path) -> Path:
    """The recording that was being written when something was erased is whole."""
    path = folder / "late.mp4"
    path.write_bytes(b"video")
    memory.remember.handle([Segment(DOOR, 0, span(95, 105), str(path), 5)])
    return path


def test_a_hold_saves_what_was_still_to_go_with_an_erased_stretch(
    open_memory: OpenMemory, tmp_path: Path, clock: FakeClock
) -> None:
    """Recordings go whole, the one that was open later; then it goes with the hold, or by force."""
    memory = open_memory()
    memory.erase(DOOR, span(0, 100))
    clock.advance(1)
    hold = memory.hold(DOOR, span(102, 200), "Case 4711")
    path = late(memory, tmp_path)
    memory.enforce()
    assert [one.path for one in memory.store.timeline.segments(DOOR)] == [str(path)]
    assert path.exists()
    with pytest.raises(Conflict):
        memory.erase(DOOR, span(0, 100))
    memory.store.holds.release(hold.id)
    memory.enforce()
    assert (path.exists(), memory.store.timeline.segments(DOOR)) == (False, ())


def test_what_was_erased_by_force_is_saved_by_no_hold_that_it_was_forced_against(
    open_memory: OpenMemory, tmp_path: Path, clock: FakeClock
) -> None:
    memory = open_memory()
    memory.hold(DOOR, span(102, 200), "Case 4711")
    clock.advance(1)
    memory.erase(DOOR, span(0, 103), force=True)
    assert not late(memory, tmp_path).exists()


def test_of_what_is_held_stay_also_the_bytes_of_which_nothing_can_be_made(open_memory: OpenMemory) -> None:
    memory = open_memory()
    folder = memory.folder / "recordings" / DOOR
    folder.mkdir(parents=True)

    def leave() -> list[Path]:
        some = [folder / f"00001-{span(at, at + 1).start}-0.mp4.unreadable" for at in (0, 2 * HOUR_S)]
        for path in some:
            path.write_bytes(b"noise")
        return some

    _, kept = leave()
    hold = memory.hold(DOOR, span(2.5 * HOUR_S, 2.6 * HOUR_S), "Case 4711")
    memory.enforce()
    assert [*folder.iterdir()] == [kept]
    (told,) = (one for one in memory.examine() if one.name == "recordings")
    assert str(folder) in told.detail
    with pytest.raises(Conflict):
        memory.erase(DOOR, span(2 * HOUR_S, 2.1 * HOUR_S))
    memory.erase(DOOR, span(2 * HOUR_S, 2.1 * HOUR_S), force=True)
    assert not any(folder.iterdir())
    leave()
    memory.store.holds.release(hold.id)
    memory.enforce()
    assert not any(folder.iterdir())


spans = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 60)), max_size=30).map(
    lambda pairs: sorted(Span(Moment(START + at), Moment(START + at + long)) for at, long in pairs)
)


@given(pieces=st.lists(st.integers(1, 90), max_size=30), by=spans, margin=st.integers(0, 50))
def test_overlapping_is_what_trying_every_pair_says(pieces: list[int], by: list[Span], margin: int) -> None:
    ends = [START + sum(pieces[: n + 1]) for n in range(len(pieces))]
    ours = [Span(Moment(end - long), Moment(end)) for end, long in zip(ends, pieces, strict=True)]
    wide = [Span(Moment(one.start - margin), Moment(one.end + margin)) for one in by]
    assert overlapped(ours, by, margin) == [any(one.overlaps(other) for other in wide) for one in ours]
