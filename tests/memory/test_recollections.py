"""What a system itself remembers: kept whole, bounded, found by time, and gone when it is erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.clock import FakeClock
from ingest.questions import Recollection
from ingest.records import StreamId
from memory.memory import Memory
from memory.store.holds import ALWAYS
from tests.memory.conftest import DOOR, OpenMemory, feature, span


def remembered(start_s: float, end_s: float, data: bytes = b"x" * 100, stream: StreamId = DOOR) -> Recollection:
    return Recollection(stream, span(start_s, end_s), 7, data)


def files(memory: Memory) -> list[Path]:
    return list((memory.folder / "recollections").rglob("*.*"))


def test_it_is_found_by_time_also_after_a_restart(open_memory: OpenMemory) -> None:
    kept = [remembered(0, 60, b"first"), remembered(60, 120, b"second")]
    assert all(map(open_memory().recollections.keep, kept))
    again = open_memory().recollections
    assert again.of(DOOR, span(50, 90)) == kept[1]
    assert again.of(DOOR, span(59, 61)) in kept
    assert again.of(DOOR, span(10, 11)) == kept[0]
    assert again.of(DOOR, span(120, 130)) is None
    assert again.of(StreamId("yard"), span(0, 60)) is None


def test_the_oldest_go_first(open_memory: OpenMemory) -> None:
    memory = open_memory(recollections_bytes=250)
    for at in range(4):
        assert memory.recollections.keep(remembered(at * 60, at * 60 + 60))
        assert memory.recollections.size(DOOR) <= 250
    assert memory.budget(DOOR).bytes["tokens"] == 200
    assert memory.recollections.of(DOOR, span(60, 120)) is None
    assert memory.recollections.of(DOOR, span(120, 180)) is not None
    assert not memory.recollections.keep(remembered(300, 360, b"x" * 251))


def test_a_budget_counts_them_and_takes_them_first(open_memory: OpenMemory) -> None:
    memory = open_memory(budget_bytes=100_000)
    for at in range(3):
        memory.recollections.keep(remembered(at, at + 1, b"x" * 45_000))
    memory.enforce()
    assert memory.budget(DOOR).memory <= 90_000
    assert memory.recollections.of(DOOR, span(0, 1)) is None
    assert memory.recollections.of(DOOR, span(2, 3)) is not None


def test_what_is_held_stays_and_what_it_leaves_no_room_for_is_not_kept(
    open_memory: OpenMemory, clock: FakeClock
) -> None:
    memory = open_memory(recollections_bytes=250, budget_bytes=2000)
    for at in range(2):
        memory.recollections.keep(remembered(at * 60, at * 60 + 60))
    memory.store.holds.place(DOOR, span(10, 20), "Case 4711", clock.now())
    assert memory.recollections.keep(remembered(120, 180))
    memory.remember.handle([feature(t) for t in range(200)])
    memory.enforce()
    assert memory.recollections.of(DOOR, span(0, 60)) is not None
    assert memory.recollections.of(DOOR, span(60, 180)) is None
    memory.store.holds.place(DOOR, ALWAYS, "All of it", clock.now())
    assert memory.recollections.keep(remembered(120, 180))
    assert not memory.recollections.keep(remembered(180, 240))
    assert memory.recollections.of(DOOR, span(120, 180)) is not None


@pytest.mark.parametrize(("erased", "left"), [((30, 40), {60}), ((60, 61), {0}), ((50, 70), set()), (None, set())])
def test_erasing_takes_all_that_saw_it(memory: Memory, erased: tuple[float, float] | None, left: set[float]) -> None:
    yard = remembered(0, 60, stream=StreamId("yard"))
    for one in (remembered(0, 60), remembered(60, 120), yard):
        memory.recollections.keep(one)
    receipt = memory.erase(DOOR, None if erased is None else span(*erased))
    assert receipt.removed["recollections"] == 2 - len(left)
    assert "recollections" in receipt.verified_gone
    assert {at for at in (0, 60) if memory.recollections.of(DOOR, span(at, at + 60))} == left
    assert memory.recollections.of(StreamId("yard"), span(0, 60)) == yard
    assert len(files(memory)) == 1 + len(left)


def test_what_was_erased_while_it_was_watched_is_not_kept(memory: Memory) -> None:
    memory.erase(DOOR, span(10, 20))
    assert not memory.recollections.keep(remembered(0, 60))
    assert memory.recollections.keep(remembered(60, 120))
    memory.erase(DOOR)
    assert not memory.recollections.keep(remembered(120, 180))
    assert files(memory) == []


def test_a_damaged_one_is_missed_and_not_believed(memory: Memory) -> None:
    memory.recollections.keep(remembered(0, 60))
    [path] = files(memory)
    path.write_bytes(b"y" * 100)
    assert memory.recollections.of(DOOR, span(0, 60)) is None
    assert files(memory) == []


def test_what_a_killed_process_half_wrote_is_swept(open_memory: OpenMemory) -> None:
    memory = open_memory()
    memory.recollections.keep(remembered(0, 60))
    [path] = files(memory)
    path.with_name(path.name + ".partial").write_bytes(b"half")
    assert files(open_memory()) == [path]
