"""Recordings that go to a store of blobs: sent once whole, let go here only when they are there, never lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from ingest.clock import FakeClock
from ingest.errors import NotFound
from ingest.records import Segment
from memory.blobs import BlobsUnavailable, DiskBlobs
from memory.memory import Memory
from memory.store import schema
from tests.memory.conftest import DOOR, OpenMemory, span

HOUR_S = 3600.0


class Unreliable(DiskBlobs):
    """A folder that can be down, and that can keep half of what it is given."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.down = self.halves = False
        self.asked = 0

    def _there(self) -> None:
        if self.down:
            raise OSError("it is down")

    def put(self, name: str, source: Path) -> None:
        self.asked += 1
        if self.halves:
            half = source.with_suffix(".half")
            half.write_bytes(source.read_bytes()[:-1])
            source = half
        super().put(name, source)

    def size(self, name: str) -> int | None:
        if self.down:
            raise BlobsUnavailable("it is down")
        return super().size(name)

    def get(self, name: str, target: Path) -> None:
        if self.down:
            raise BlobsUnavailable("it is down")
        super().get(name, target)

    def delete(self, name: str) -> bool:
        if self.down:
            raise BlobsUnavailable("it is down")
        return super().delete(name)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        if self.down:
            raise BlobsUnavailable("it is down")
        return super().list(prefix)

    def names(self) -> list[str]:
        return [name for name, _ in super().list()]


@pytest.fixture
def blobs(tmp_path: Path) -> Unreliable:
    return Unreliable(tmp_path / "store")


def record(memory: Memory, count: int, first: int = 0) -> list[Segment]:
    """A segment every minute, each of its own content."""
    segments = []
    for number in range(first, first + count):
        path = memory.folder / "recordings" / DOOR / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 1000)
        segments.append(Segment(DOOR, 0, span(number * 60, number * 60 + 60), str(path), 1000))
    memory.remember.handle(segments)
    return segments


def here(memory: Memory, folder: str = "recordings") -> list[str]:
    return sorted(path.name for path in (memory.folder / folder).glob("*/*"))


def test_what_is_whole_is_sent_and_read_from_there(open_memory: OpenMemory, blobs: Unreliable) -> None:
    memory = open_memory(blobs=blobs, fetched_bytes=2500)
    segments = record(memory, 5)
    assert memory.recordings.state().waiting == 5
    assert memory.recordings.carry() == 5
    assert blobs.names() == [f"door/{number}.mp4" for number in range(5)]
    assert here(memory) == []
    assert len(here(memory, "fetched")) == 2, "what is kept here too is bounded"
    for number, segment in enumerate(segments):
        assert memory.recordings.kept(segment)
        with memory.recordings.at_hand([segment]) as [near]:
            assert Path(near.path).read_bytes() == bytes([number]) * 1000
    with memory.recordings.at_hand(segments) as near:
        assert [Path(one.path).read_bytes()[0] for one in near] == [0, 1, 2, 3, 4], "more than the bound, while in use"
    assert len(here(memory, "fetched")) == 2
    assert all(finding.ok for finding in memory.examine())
    assert memory.budget(DOOR).bytes["recordings"] == 5000


def test_nothing_is_let_go_that_is_not_there_in_full(open_memory: OpenMemory, blobs: Unreliable) -> None:
    memory = open_memory(blobs=blobs)
    record(memory, 2)
    blobs.halves = True
    assert memory.recordings.carry() == 0
    assert "999 bytes of 1000" in memory.recordings.state().trouble
    assert here(memory) == ["0.half", "0.mp4", "1.mp4"]


def test_a_store_that_is_down_loses_nothing_and_is_not_besieged(
    open_memory: OpenMemory, blobs: Unreliable, clock: FakeClock
) -> None:
    memory = open_memory(blobs=blobs)
    segments = record(memory, 3)
    blobs.down = True
    for _ in range(600):
        assert memory.recordings.carry() == 0
        clock.advance(1)
    assert 5 <= blobs.asked <= 20, "ever more rarely"
    assert here(memory) == ["0.mp4", "1.mp4", "2.mp4"]
    assert memory.recordings.near(segments[0]) == segments[0], "what is here is shown"
    assert memory.recordings.state().waiting == 3
    assert "it is down" in memory.recordings.state().trouble
    blobs.down = False
    clock.advance(120)
    assert memory.recordings.carry() == 3
    assert memory.recordings.state().trouble == ""
    blobs.down = True
    clock.advance(120)
    memory.recordings.carry()
    assert "it is down" in memory.recordings.state().trouble, "told before anything is to be sent"
    (memory.folder / "fetched" / "door" / "1.mp4").unlink()
    with pytest.raises(BlobsUnavailable):
        memory.recordings.near(segments[1])
    assert not next(finding for finding in memory.examine(repair=True) if finding.name == "recordings").ok
    assert len(memory.store.timeline.segments(DOOR)) == 3, "a store that is down is not one that lost everything"


def test_age_budget_and_holds_reach_the_store(open_memory: OpenMemory, blobs: Unreliable, clock: FakeClock) -> None:
    memory = open_memory(blobs=blobs, keep_recordings_s=HOUR_S)
    record(memory, 5)
    memory.store.holds.place(DOOR, span(130, 140), "Case 4711", clock.now())
    memory.recordings.carry()
    memory.enforce()
    for _ in range(8):
        clock.advance(1800)
        memory.enforce()
    blobs.down = True
    memory.recordings.carry()
    assert memory.recordings.state().removing == 4
    blobs.down = False
    assert len(blobs.names()) == 5
    memory = open_memory(blobs=blobs, keep_recordings_s=HOUR_S)
    memory.recordings.carry()
    assert blobs.names() == ["door/2.mp4"], "what is held as evidence stays"
    assert memory.recordings.state().removing == 0


def test_what_is_erased_goes_from_the_store_and_the_receipt_says_so(open_memory: OpenMemory, blobs: Unreliable) -> None:
    memory = open_memory(blobs=blobs)
    record(memory, 4)
    memory.recordings.carry()
    record(memory, 1, first=4)
    receipt = memory.erase(DOOR, span(70, 130))
    assert blobs.names() == ["door/0.mp4", "door/3.mp4"]
    assert (receipt.removed["recordings"], receipt.removed["stored recordings"]) == (2, 2)
    assert {"recordings", "stored recordings"} <= set(receipt.verified_gone)
    assert here(memory, "fetched") == ["0.mp4", "3.mp4"]
    blobs.down = True
    receipt = memory.erase(DOOR, span(0, 30))
    assert "stored recordings" not in receipt.verified_gone, "nobody could look"
    assert "recordings" in receipt.verified_gone
    assert memory.store.timeline.segments(DOOR, span(0, 60)) == ()
    blobs.down = False
    memory = open_memory(blobs=blobs)
    memory.recordings.carry()
    assert blobs.names() == ["door/3.mp4", "door/4.mp4"]


def test_what_is_forgotten_while_it_is_sent_does_not_stay_there(
    open_memory: OpenMemory, blobs: Unreliable, tmp_path: Path
) -> None:
    memory = open_memory(blobs=blobs)
    record(memory, 1)

    def erased_meanwhile(name: str, source: Path) -> None:
        content = source.read_bytes()
        memory.erase(DOOR)
        (tmp_path / "late.mp4").write_bytes(content)
        DiskBlobs.put(blobs, name, tmp_path / "late.mp4")

    blobs.put = erased_meanwhile  # type: ignore[method-assign]
    memory.recordings.carry()
    assert blobs.names() == []


def test_killed_anywhere_it_is_here_or_there(open_memory: OpenMemory, blobs: Unreliable) -> None:
    """Between sending and letting go it is in both places, and sent again."""
    memory = open_memory(blobs=blobs)
    [segment] = record(memory, 1)
    blobs.put("door/0.mp4", Path(segment.path))
    memory = open_memory(blobs=blobs)
    assert memory.recordings.carry() == 1
    assert (blobs.names(), here(memory)) == (["door/0.mp4"], [])


def test_what_the_store_lost_is_told_and_forgotten_by_repair(open_memory: OpenMemory, blobs: Unreliable) -> None:
    memory = open_memory(blobs=blobs, fetched_bytes=0)
    segments = record(memory, 3)
    memory.recordings.carry()
    blobs.delete("door/1.mp4")
    finding = next(finding for finding in memory.examine() if finding.name == "recordings")
    assert not finding.ok
    assert finding.detail.startswith("1 recording")
    with pytest.raises(NotFound):
        memory.recordings.near(segments[1])
    memory.examine(repair=True)
    assert [one.path for one in memory.store.timeline.segments(DOOR)] == [segments[0].path, segments[2].path]


def test_a_file_that_another_took_the_place_of_is_not_shown_for_it(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory, film = open_memory(), tmp_path / "film.mp4"
    film.write_bytes(b"what was read")
    read = Segment(DOOR, 0, span(0, 10), str(film), film.stat().st_size, owned=False)
    memory.remember.handle([read])
    with memory.recordings.at_hand([read]) as (near,):
        assert near == read
    film.write_bytes(b"another")
    with pytest.raises(NotFound, match="another"), memory.recordings.at_hand([read]):
        raise AssertionError("it is shown")
    again = Segment(DOOR, 1, span(20, 30), str(film), film.stat().st_size, owned=False)
    memory.remember.handle([again])
    assert memory.store.timeline.segments(DOOR) == (again,), "also where it has the same size"


@pytest.mark.parametrize("whole_paths", [False, True], ids=["as they are written now", "as they once were"])
def test_a_copy_of_everything_works_on_its_own_recordings(
    open_memory: OpenMemory, tmp_path: Path, whole_paths: bool
) -> None:
    first = open_memory(keep_recordings_s=HOUR_S)
    segments = record(first, 4)
    if whole_paths:
        with first.store.database.write() as connection:
            for one in segments:
                row = schema.segments.c.key == one.key
                connection.execute(update(schema.segments).where(row).values(path=one.path))
    assert first.store.timeline.segments(DOOR) == tuple(segments)
    assert len(first.store.timeline.recorded_at([one.path for one in segments])) == 4
    folder = first.folder
    shutil.copytree(folder, tmp_path / "copy")
    copy = open_memory(folder=tmp_path / "copy")
    assert [Path(one.path).parent for one in copy.store.timeline.segments(DOOR)] == [
        copy.folder / "recordings" / DOOR
    ] * 4
    copy.erase(DOOR, span(0, 60))
    assert (here(copy), len(list(folder.glob("recordings/*/*")))) == (["1.mp4", "2.mp4", "3.mp4"], 4)
    shutil.rmtree(folder)
    assert all(finding.ok for finding in copy.examine())


def test_what_waits_for_the_store_goes_there_from_another_place(
    open_memory: OpenMemory, blobs: Unreliable, tmp_path: Path
) -> None:
    blobs.down = True
    folder = open_memory(blobs=blobs).folder
    record(open_memory(blobs=blobs), 3)
    moved = open_memory(folder=folder.rename(tmp_path / "moved"), blobs=blobs)
    blobs.down = False
    assert (moved.recordings.state().waiting, moved.recordings.carry()) == (3, 3)
    assert (here(moved), len(blobs.names())) == ([], 3)
