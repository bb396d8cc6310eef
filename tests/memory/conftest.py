"""A memory on disk, and footage to put into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.clock import FakeClock
from ingest.ledger import Ledger
from ingest.questions import Query
from ingest.records import Ended, Feature, Mark, Moment, Observation, Span, StreamId, seconds
from memory.memory import Memory, MemoryOptions
from memory.store import StreamRow
from tests.postgres import Postgres, served

DIM = 16
START = 1_700_000_000 // 3600 * 3600 * 1_000_000
"""A full hour."""
DOOR = StreamId("door")

OpenMemory = Callable[..., Memory]


def stream_row(stream: StreamId = DOOR, **changes: object) -> StreamRow:
    values: dict[str, object] = {"kind": "live", "source": "rtsp://cam/1", "masked": "rtsp://cam/1"}
    values |= {"state": "connecting", "detail": "", "added": Moment(START)}
    return StreamRow(id=stream, name=str(stream), **(values | changes))  # type: ignore[arg-type]


def direction(number: int, dim: int = DIM) -> np.ndarray:
    """The unit vector of one axis."""
    vector = np.zeros(dim, np.float32)
    vector[number] = 1.0
    return vector


def query(number: int, dim: int = DIM) -> Query:
    """Looks for one axis: probability 0.98 where it is, 0.02 where it is not."""
    return Query(f"axis {number}", direction(number, dim), slope=8.0, offset=-4.0)


def feature(
    at_s: float, axis: int = 0, *, stream: StreamId = DOOR, epoch: int = 0, origin: str = "frame", **more: object
) -> Feature:
    """What a frame at `at_s` seconds after START gives; `axis` is what is to be seen."""
    moment = Moment(START + seconds(at_s))
    end = Moment(moment + (seconds(1) if origin == "sound" else 0))
    values: dict[str, object] = {"thumbnail": f"jpeg {at_s:g}".encode() if origin == "frame" else b""}
    vector = more.pop("vector", direction(axis))
    return Feature(stream, epoch, seconds(at_s), Span(moment, end), vector, origin, **(values | more))  # type: ignore[arg-type]


def seen(at_s: float, to_s: float, track: str = "1", **more: object) -> Observation:
    values: dict[str, object] = {"kind": "thing", "label": "something", "score": 0.9, "colour": "red"}
    span = Span(Moment(START + seconds(at_s)), Moment(START + seconds(to_s)))
    return Observation(stream=DOOR, epoch=0, track=track, span=span, **(values | more))  # type: ignore[arg-type]


def span(start_s: float, end_s: float) -> Span:
    return Span(Moment(START + seconds(start_s)), Moment(START + seconds(end_s)))


def mark(at_s: float, epoch: int = 0) -> Mark:
    return Mark(epoch, seconds(at_s), Moment(START + seconds(at_s)))


def ends(at_s: float, stream: StreamId = DOOR, detail: str = "") -> list[Ended]:
    """The end of a file's pictures, and that of its sound."""
    end = Ended(stream, 0, Moment(START + seconds(at_s)), detail=detail)
    return [end, replace(end, origin="sound")]


def frames_of(memory: Memory, stream: StreamId = DOOR) -> int:
    """Frames found by counting everything that is there, not by asking the stream's own number."""
    fine = memory.store.features.log(stream)
    return memory.store.chapters.remembered(stream) + int((~fine.sounds).sum())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def swift_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests that write for minutes what no power cut will try."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked `databases` is asked of both."""
    marked = metafunc.definition.get_closest_marker
    if "open_memory" in metafunc.fixturenames and marked("databases") and not marked("sqlite"):
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with served() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The URL of the test's database; none for SQLite in the memory's own folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    return server.fresh()


@pytest.fixture
def open_memory(tmp_path: Path, clock: FakeClock, ledger: Ledger, database: str) -> Iterator[OpenMemory]:
    """Opens the memory of this test, again if asked again; streams "door" and "yard" exist."""
    opened: list[Memory] = []

    def again(**options: object) -> Memory:
        for memory in opened:
            memory.close()
        opened.clear()
        folder = Path(str(options.pop("folder", tmp_path / "data")))
        settings = MemoryOptions(**{"chapter_s": 60.0, "bank_length": 8, **options})  # type: ignore[arg-type]
        memory = Memory.open(
            folder, encoder="test-1", dim=DIM, ledger=ledger, clock=clock, options=settings, database=database
        )
        opened.append(memory)
        known = {row.id for row in memory.store.streams.all()}
        for stream in {DOOR, StreamId("yard")} - known:
            memory.store.streams.add(stream_row(stream))
        return memory

    yield again
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(open_memory: OpenMemory) -> Memory:
    return open_memory()


def noise_at(number: int) -> np.ndarray:
    """The unit vector of frame `number` of a film that shows something else every time."""
    vector = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)
