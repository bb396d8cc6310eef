"""Every `VectorIndex` keeps these promises; scanning with NumPy is the oracle."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import StoreCorrupt
from ingest.questions import Scope
from ingest.records import Moment, Span, StreamId
from memory.index import BruteIndex, Entries, VectorIndex, faiss_index, shard
from memory.index.faiss_index import FaissIndex

DIM = 24
STREAMS = [StreamId("a"), StreamId("b"), StreamId("c")]
MAKERS: dict[str, Callable[[], VectorIndex]] = {
    "brute": BruteIndex,
    "faiss": lambda: FaissIndex(DIM),
    "faiss, inverted": lambda: FaissIndex(DIM),
}


def entries(owner: str, stream: StreamId, start: int, count: int, rng: np.random.Generator) -> Entries:
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = start + np.arange(count, dtype=np.int64) * 10
    return Entries(owner, stream, vectors, starts, starts + rng.integers(1, 25, count))


def filled(index: VectorIndex, rng: np.random.Generator, chapters: int = 40, size: int = 300) -> list[Entries]:
    everything = []
    for number in range(chapters):
        stream = STREAMS[number % 3]
        everything.append(entries(f"{stream}/{number}@0", stream, number * size * 10, size, rng))
        index.add(everything[-1])
    return everything


@pytest.fixture(params=sorted(MAKERS))
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> VectorIndex:
    if request.param == "faiss, inverted":  # as large shards are, at a size that tests can afford
        monkeypatch.setattr(faiss_index, "_TAIL", 700)
        for module in (shard, faiss_index):
            monkeypatch.setattr(module, "SMALL", 750)
        monkeypatch.setattr(faiss_index, "LARGE", 1500)
        for name, value in {"PER_CELL": 90, "PROBES": 14}.items():
            monkeypatch.setattr(shard, name, value)
    return MAKERS[request.param]()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def expected(everything: list[Entries], vector: np.ndarray, scope: Scope, limit: int) -> list[tuple[str, int]]:
    found = []
    for some in everything:
        for at in range(len(some.starts)):
            inside = scope.span is None or (some.starts[at] < scope.span.end and some.ends[at] > scope.span.start)
            if inside and (not scope.streams or some.stream in scope.streams):
                found.append((float(some.vectors[at] @ vector), some.owner, at))
    return [(owner, at) for _, owner, at in sorted(found, reverse=True)[:limit]]


SCOPES = [
    Scope(),
    Scope((STREAMS[1],)),
    Scope((), Span(Moment(3333), Moment(45_678))),
    Scope((STREAMS[0], STREAMS[2]), Span(Moment(29_995), Moment(30_005))),
    Scope((STREAMS[0],), Span(Moment(10**9), Moment(10**9 + 5))),
    Scope((StreamId("nowhere"),)),
]


class Owner(str):
    """A name whose end can be seen."""

    __slots__ = ("__weakref__",)


def test_nothing_is_left_of_whom_it_forgot(index: VectorIndex, rng: np.random.Generator) -> None:
    """A stream that runs for years folds its chapters without end: what is gone must not be kept, not even its name."""
    index.add(entries("kept", STREAMS[0], 0, 5, rng))
    ends: list[weakref.ref[Owner]] = []
    for number in range(20):
        owner = Owner(f"gone {number % 4}")
        ends.append(weakref.ref(owner))
        index.add(entries(owner, STREAMS[0], 100 * number, 3, rng))
    index.remove([f"gone {number}" for number in range(4)])
    del owner
    assert [end() for end in ends if end() is not None] == []
    assert index.owners() == {"kept": 5}
    assert {match.owner for match in index.search(entries("q", STREAMS[0], 0, 1, rng).vectors[0], Scope(), 9)} == {
        "kept"
    }


@pytest.mark.parametrize("scope", SCOPES)
def test_the_best_entries_of_the_scope_are_found(index: VectorIndex, rng: np.random.Generator, scope: Scope) -> None:
    everything = filled(index, rng)
    for _ in range(5):
        vector = rng.normal(size=DIM).astype(np.float32)
        vector /= np.linalg.norm(vector)
        found = index.search(vector, scope, 10)
        wanted = expected(everything, vector, scope, 10)
        assert len(found) == len(wanted)
        assert len({(m.owner, m.ordinal) for m in found} & set(wanted)) >= 0.9 * len(wanted)
        assert all(a.score >= b.score for a, b in pairwise(found))
        for match in found:
            (some,) = [e for e in everything if e.owner == match.owner]
            assert match.score == pytest.approx(float(some.vectors[match.ordinal] @ vector), abs=2e-3)
            assert match.span == Span(Moment(some.starts[match.ordinal]), Moment(some.ends[match.ordinal]))
            assert match.stream == some.stream


@pytest.mark.parametrize("count", [1, 40, 300])
def test_a_filter_on_time_finds_what_scanning_finds(index: VectorIndex, rng: np.random.Generator, count: int) -> None:
    """Also where a cell has next to nothing of the time, and where a long entry lies over ones that have ended."""
    everything = filled(index, rng)
    long = entries("a/long@0", STREAMS[0], 0, 1, rng)
    long.ends[:] = 10**6
    index.add(long)
    for start in range(20_000, 100_000, 17_000):
        vector = everything[start % 40].vectors[0]
        scope = Scope((), Span(Moment(start), Moment(start + 10 * count)))
        wanted = expected([*everything, long], vector, scope, 10)
        found = [(match.owner, match.ordinal) for match in index.search(vector, scope, 10)]
        assert len(found) == len(wanted)
        assert len(set(found) & set(wanted)) >= 0.9 * len(wanted)


def test_of_equals_the_first_are_found_first(index: VectorIndex) -> None:
    vectors = np.tile(np.eye(DIM, dtype=np.float32)[:1], (50, 1))
    starts = np.arange(50, dtype=np.int64)
    index.add(Entries("a/1@0", STREAMS[0], vectors, starts, starts + 1))
    assert [match.ordinal for match in index.search(vectors[0], Scope(), 20)] == list(range(20))


def test_added_entries_are_found_at_once(index: VectorIndex, rng: np.random.Generator) -> None:
    filled(index, rng)
    late = entries("a/late@0", STREAMS[0], 0, 3, rng)
    index.add(late)
    best = index.search(late.vectors[1], Scope(), 1)[0]
    assert (best.owner, best.ordinal) == ("a/late@0", 1)


def test_removed_entries_are_never_found_again(index: VectorIndex, rng: np.random.Generator) -> None:
    everything = filled(index, rng)
    gone = everything[3:40:4]
    assert index.remove([e.owner for e in gone]) == sum(len(e.starts) for e in gone)
    assert index.remove([e.owner for e in gone] + ["never"]) == 0
    owners = {e.owner for e in gone}
    for some in gone:
        assert not owners & {match.owner for match in index.search(some.vectors[0], Scope(), 50)}
    assert index.owners() == {e.owner: len(e.starts) for e in everything if e.owner not in owners}


def test_adding_an_owner_again_replaces_it(index: VectorIndex, rng: np.random.Generator) -> None:
    old, new = entries("a/1@0", STREAMS[0], 0, 9, rng), entries("a/1@0", STREAMS[0], 0, 4, rng)
    index.add(old)
    index.add(new)
    assert index.owners() == {"a/1@0": 4}
    assert len(index.search(old.vectors[8], Scope(), 50)) == 4


def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    assert index.search(np.ones(DIM, np.float32), Scope(), 5) == []
    assert index.owners() == {}


def test_searching_while_adding_never_fails(index: VectorIndex, rng: np.random.Generator) -> None:
    everything = filled(index, rng, chapters=4)
    stop = threading.Event()
    failures: list[BaseException] = []

    def search() -> None:
        try:
            while not stop.is_set():
                assert index.search(everything[0].vectors[7], Scope(), 1)[0].owner == everything[0].owner
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    for number in range(100, 140):
        index.add(entries(f"b/{number}@0", STREAMS[1], number * 1000, 200, rng))
        index.remove([f"b/{number - 3}@0"])
    stop.set()
    thread.join()
    assert not failures


def test_a_snapshot_is_the_same_index(tmp_path: Path, rng: np.random.Generator) -> None:
    index = FaissIndex(DIM)
    everything = filled(index, rng)
    index.snapshot(tmp_path)
    index.add(entries("a/new@0", STREAMS[0], 10**7, 5, rng))
    index.remove([everything[0].owner])
    index.snapshot(tmp_path)
    again = FaissIndex.load(tmp_path, DIM)
    assert again.owners() == index.owners()
    for some in everything:
        assert again.search(some.vectors[5], Scope(), 7) == index.search(some.vectors[5], Scope(), 7)


@pytest.mark.parametrize("kind", ["flip", "truncate", "delete", "empty"])
def test_every_damage_to_a_snapshot_is_noticed(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    index = FaissIndex(DIM)
    filled(index, rng, chapters=6)
    index.snapshot(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        sound = path.read_bytes()
        for _ in range(20):
            damaged = bytearray(sound)
            damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
            replacement = {"flip": bytes(damaged), "truncate": sound[: int(rng.integers(len(sound)))], "empty": b""}
            if kind == "delete":
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(replacement[kind])
            with pytest.raises(StoreCorrupt):
                FaissIndex.load(tmp_path, DIM)
        path.write_bytes(sound)
    assert FaissIndex.load(tmp_path, DIM).owners() == index.owners()


def test_a_snapshot_of_other_vectors_is_refused(tmp_path: Path) -> None:
    FaissIndex(DIM).snapshot(tmp_path)
    with pytest.raises(StoreCorrupt, match="24 dimensions"):
        FaissIndex.load(tmp_path, DIM + 1)
