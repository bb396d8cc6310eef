"""What is erased is gone: everywhere, also merged, also after a restart."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import Busy, NotFound
from ingest.ledger import Ledger
from ingest.questions import Scope
from ingest.records import Alert, Moment, Segment, StreamId
from memory.index.protocol import VectorIndex
from memory.memory import Memory
from tests.memory.conftest import DOOR, START, OpenMemory, direction, ends, feature, frames_of, query, seen, span

pytestmark = pytest.mark.databases

CANARY = 3
KINDS = ("alerts", "chapter files", "features", "index entries", "observations", "recollections", "recordings", "slots")


class Killed(BaseException):
    """Stands for the end of the process."""


def film(memory: Memory, *, until: int = 200, canary: tuple[int, int] = (50, 70)) -> None:
    """Every frame leans towards axis 0 alone, or, within `canary`, shows the canary."""
    batch = []
    for t in range(until):
        inside = canary[0] <= t < canary[1]
        vector = direction(CANARY if inside else 0)
        observations = (seen(t, t + 1, track=str(t), text="canary" if inside else ""),)
        thumbnail = b"canary" if inside else b"street"
        batch.append(feature(t, vector=vector, observations=observations, thumbnail=thumbnail))
    for at in range(0, until, 15):
        memory.remember.handle(batch[at : at + 15])


def raw_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def leakage(memory: Memory) -> float:
    """The largest share of the canary's direction in anything searched or kept."""
    index: VectorIndex = memory.index
    scores = [match.score for match in index.search(direction(CANARY), Scope(), 5000)]
    block = memory.recall.replay(DOOR)
    if len(block):
        scores.append(float((block.vectors @ direction(CANARY)).max()))
    return max(scores, default=0.0)


def test_an_erased_span_is_gone_and_stays_gone(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory)
    assert leakage(memory) > 0.9
    assert b"canary" in raw_bytes(memory.folder)
    receipt = memory.erase(DOOR, span(50, 70))
    assert receipt.verified_gone == KINDS
    assert receipt.removed["frames"] == 20
    assert receipt.removed["observations"] >= 20
    for _ in range(2):
        assert leakage(memory) < 0.05
        assert memory.recall.find(query(CANARY), Scope(), threshold=0.3) == []
        assert memory.recall.find(query(0), Scope(), threshold=0.5) != []
        assert memory.store.timeline.observations(Scope((DOOR,), span(50, 70))) == ()
        assert frames_of(memory) == memory.store.streams.frames(DOOR) == 180
        assert b"canary" not in raw_bytes(memory.folder)
        memory = open_memory()


def test_no_slot_reaches_over_what_was_erased(memory: Memory) -> None:
    """Frames beside the hole look alike, and would merge."""
    film(memory, canary=(0, 0))
    for start, end in ((70, 80), (90, 95), (190, 196)):
        assert memory.erase(DOOR, span(start, end)).verified_gone == KINDS
    memory.remember.handle([feature(t) for t in range(200, 300)])
    rows = memory.store.chapters.all(Scope((DOOR,), span(60, 240)))
    for _, slots in memory.store.chapters.slots([row.id for row in rows]):
        for hole in (span(70, 80), span(90, 95), span(190, 196)):
            assert not ((slots.starts < hole.end) & (slots.ends > hole.start)).any()
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 279


def test_what_was_merged_from_it_is_dropped_when_detail_is_gone(memory: Memory) -> None:
    film(memory, canary=(52, 53))
    rows = memory.store.chapters.all()
    with memory.store.database.write() as connection:
        memory.store.chapters.drop_detail(connection, [row.id for row in rows])
    memory.erase(DOOR, span(52, 53))
    assert leakage(memory) < 0.05
    assert frames_of(memory) == memory.store.streams.frames(DOOR) < 200


def test_erased_footage_does_not_come_back_with_late_records(memory: Memory, ledger: Ledger) -> None:
    film(memory, until=40, canary=(0, 0))
    memory.erase(DOOR, span(35, 60))
    memory.remember.handle([feature(t, CANARY) for t in range(30, 70)])
    assert memory.recall.find(query(CANARY), Scope((DOOR,), span(35, 60)), threshold=0.5) == []
    assert ledger.counts(DOOR).dropped["erased"] == 25
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 35 + 10


def test_recordings_go_but_files_of_the_user_stay(memory: Memory, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.mp4", tmp_path / "theirs.mp4"
    for path in (ours, theirs):
        path.write_bytes(b"video")
    memory.remember.handle([
        Segment(DOOR, 0, span(0, 10), str(ours), 5),
        Segment(DOOR, 0, span(20, 30), str(theirs), 5, owned=False),
        feature(1),
    ])  # fmt: skip
    receipt = memory.erase(DOOR, span(5, 25))
    assert receipt.removed["recordings"] == 1
    assert not ours.exists()
    assert theirs.exists()
    assert [segment.path for segment in memory.store.timeline.segments(DOOR)] == [str(theirs)]
    memory.erase(DOOR)
    assert theirs.exists()


def test_a_recording_that_arrives_after_its_erasure_is_removed(memory: Memory, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    late.write_bytes(b"video")
    memory.erase(DOOR, span(0, 100))
    memory.remember.handle([Segment(DOOR, 0, span(95, 105), str(late), 5)])
    assert not late.exists()
    assert memory.store.timeline.segments(DOOR) == ()


def test_a_whole_stream_goes(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory)
    memory.store.alerts.save(Alert("rule", DOOR, span(50, 51), 0.9, Moment(START), "seen"), told=True)
    receipt = memory.erase(DOOR)
    assert receipt.verified_gone == KINDS
    assert receipt.removed["streams"] == 1
    assert b"canary" not in raw_bytes(memory.folder)
    assert memory.store.outbox.due(Moment(START)) == []
    with pytest.raises(NotFound):
        memory.store.streams.get(DOOR)
    assert leakage(memory) == 0.0
    memory.remember.handle([feature(500, CANARY)])
    assert leakage(memory) == 0.0


@pytest.mark.sqlite
def test_pages_that_became_free_are_given_back(memory: Memory) -> None:
    film(memory)
    memory.erase(DOOR, None)
    with memory.store.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar() == 0


@pytest.mark.sqlite
def test_a_reader_of_the_old_bytes_is_told_and_the_erasure_done_at_the_next_start(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory)
    database = Path(str(memory.store.database.url.database))
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM streams").fetchone()
        with pytest.raises(Busy) as caught:
            memory.erase(DOOR, None)
        assert "Close" in caught.value.advice
    memory.close()
    memory = open_memory()
    assert memory.store.erasures.unfinished() == []
    assert b"canary" not in raw_bytes(database.parent)


def test_of_a_stream_that_is_removed_no_folder_is_left(memory: Memory) -> None:
    film(memory, until=130)
    for kind in ("recordings", "fetched", "recollections"):
        (memory.folder / kind / DOOR).mkdir(parents=True)
    (memory.folder / "recordings" / "yard").mkdir()
    path = memory.folder / "recordings" / DOOR / "1.mp4"
    path.write_bytes(b"film")
    memory.remember.handle([Segment(DOOR, 0, span(0, 60), str(path), 4)])
    assert (memory.folder / "chapters" / DOOR).is_dir()
    memory.erase(DOOR, span(0, 60))
    assert path.parent.is_dir(), "it is recorded on"
    memory.erase(DOOR)
    assert list(memory.folder.glob(f"*/{DOOR}")) == []
    path.parent.mkdir()
    path.write_bytes(b"film")
    memory.remember.handle([Segment(DOOR, 0, span(60, 120), str(path), 4)])
    assert not path.parent.exists(), "nor where its last recording came late"
    assert (memory.folder / "recordings" / "yard").is_dir()


def test_neighbouring_streams_are_untouched(memory: Memory) -> None:
    yard = StreamId("yard")
    film(memory)
    memory.remember.handle([feature(t, 5, stream=yard) for t in range(200)])
    memory.erase(DOOR)
    assert frames_of(memory, yard) == memory.store.streams.frames(yard) == 200
    assert len(memory.recall.replay(yard)) == 200


@pytest.mark.parametrize("nth", range(1, 12))
def test_an_interrupted_erasure_is_finished_at_the_next_start(open_memory: OpenMemory, nth: int) -> None:
    memory = open_memory()
    film(memory, until=130)
    memory.remember.handle(ends(130))
    passed = 0

    def probe(_point: str) -> None:
        nonlocal passed
        passed += 1
        if passed == nth + 1:  # the first is the wish itself
            raise Killed

    def erase() -> None:
        memory.store.database.probe = probe
        memory.erase(DOOR, span(50, 70))

    with pytest.raises(Killed):
        erase()
    memory = open_memory()
    assert leakage(memory) < 0.05
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == 110
    assert all(finding.ok for finding in memory.examine())


def test_random_erasures_leave_exactly_the_rest(memory: Memory) -> None:
    """Against a plain list of what should be left."""
    rng = np.random.default_rng(5)
    film(memory, until=250, canary=(0, 0))
    left = set(range(250))
    for _ in range(8):
        start = int(rng.integers(0, 240))
        end = start + int(rng.integers(1, 30))
        memory.erase(DOOR, span(start, end))
        left -= set(range(start, end))
        assert frames_of(memory) == memory.store.streams.frames(DOOR) == len(left)
        block = memory.recall.replay(DOOR)
        assert {(int(at) - START) // 1_000_000 for at in block.starts} == left
