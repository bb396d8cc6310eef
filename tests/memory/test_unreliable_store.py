"""A store of recordings that fails half of the time: nothing is lost, and nothing taken for stored that is not."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ingest.clock import FakeClock
from ingest.errors import HindsightError
from ingest.records import Segment
from memory.blobs import BlobsUnavailable, FsspecBlobs
from memory.memory import Memory
from tests.memory.conftest import DOOR, OpenMemory, span

STEPS = ("record", "record", "carry", "carry", "carry", "read", "read", "remove", "repair", "restart")


class Half(MemoryFileSystem):  # type: ignore[misc]  # fsspec tells no types
    """Of what is asked of it half goes wrong: before it is done, after it is done, or when half of it is."""

    protocol = "half"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    rng: ClassVar[random.Random] = random.Random(0)
    fails: ClassVar[bool] = True
    asked: ClassVar[Counter[str]] = Counter()

    def _bad(self, verb: str) -> str:
        self.asked[verb] += 1
        return self.rng.choice(["", "", "before", "after", "half"]) if self.fails else ""

    def _done(self, bad: str) -> None:
        if bad in ("before", "after"):
            raise OSError("it does not answer")

    def put_file(self, lpath: str, rpath: str, *args: Any, **options: Any) -> None:
        bad = self._bad("put")
        if bad != "before":
            data = Path(lpath).read_bytes()
            self.pipe_file(rpath, data[: len(data) // 2] if bad == "half" else data)
        self._done(bad)

    def get_file(self, rpath: str, lpath: str, *args: Any, **options: Any) -> None:
        bad = self._bad("get")
        data = self.cat_file(rpath)
        if bad != "before":
            Path(lpath).write_bytes(data[: len(data) // 2] if bad in ("half", "after") else data)
        self._done(bad)

    def rm_file(self, path: str) -> None:
        bad = self._bad("rm")
        if bad != "before":
            super()._rm(path)
        self._done(bad)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if self.fails and self.rng.random() < 0.2:
            raise OSError("it does not answer")
        found: dict[str, Any] = super().info(path, **options)
        return found

    def find(self, path: str, *args: Any, **options: Any) -> Any:
        self._done(self._bad("find"))
        return super().find(path, *args, **options)


fsspec.register_implementation("half", Half, clobber=True)


def content(segment: Segment) -> bytes:
    return segment.path.encode() * 20


def recorded(memory: Memory, minute: int) -> Segment:
    path = memory.folder / "recordings" / DOOR / f"{minute}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    segment = Segment(DOOR, 0, span(minute * 60, minute * 60 + 60), str(path), 0)
    path.write_bytes(content(segment))
    segment = Segment(DOOR, 0, segment.span, str(path), path.stat().st_size)
    memory.remember.handle([segment])
    return segment


def stored() -> dict[str, bytes]:
    """What the store really has, by the name of its file."""
    return {name.rpartition("/")[2]: file.getvalue() for name, file in Half.store.items()}


@pytest.fixture(autouse=True)
def empty() -> None:
    Half.store.clear()
    Half.asked.clear()
    Half.fails = True


@pytest.mark.parametrize("seed", range(4))
def test_what_is_known_is_there_whole_at_every_moment(seed: int, open_memory: OpenMemory, clock: FakeClock) -> None:
    rng = Half.rng = random.Random(seed)
    blobs = FsspecBlobs("half://house")
    memory, known = open_memory(blobs=blobs, fetched_bytes=3000), dict[int, Segment]()
    read = 0
    for step in range(60):
        match rng.choice(STEPS):
            case "record":
                known[step] = recorded(memory, step)
            case "carry":
                before = Half.asked.total()
                memory.recordings.carry()
                assert Half.asked.total() - before <= 8 * (len(known) + step), "it is not besieged"
                clock.advance(rng.choice([1, 30, 600]))
            case "read" if known:
                segment = rng.choice(list(known.values()))
                with suppress(BlobsUnavailable), memory.recordings.at_hand([segment]) as [near]:
                    assert Path(near.path).read_bytes() == content(segment)
                    read += 1
            case "remove" if known:
                memory.recordings.remove([known.pop(rng.choice(list(known)))])
            case "repair":
                memory.examine(repair=True)
            case "restart":
                memory = open_memory(blobs=blobs, fetched_bytes=3000)
        assert set(memory.store.timeline.segments(DOOR)) == set(known.values())
        there = stored()
        for segment in known.values():
            here = Path(segment.path)
            assert here.is_file() or there.get(here.name) == content(segment), "let go here only when it is there"
            assert not here.is_file() or here.read_bytes() == content(segment)
    assert read
    Half.fails = False
    for _ in range(3):
        clock.advance(3600)
        memory.recordings.carry()
    assert (memory.recordings.state().waiting, memory.recordings.removing()) == (0, [])
    assert stored() == {Path(one.path).name: content(one) for one in known.values()}, "and nothing that was removed"


def test_it_is_asked_ever_more_rarely_while_it_is_down(
    open_memory: OpenMemory, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Half.rng = random.Random(0)
    memory = open_memory(blobs=FsspecBlobs("half://house"))
    segment = recorded(memory, 0)
    monkeypatch.setattr(Half, "_bad", lambda _self, verb: Half.asked.update([verb]) or "before")
    for _ in range(900):
        memory.recordings.carry()
        clock.advance(1)
    assert 3 <= Half.asked["put"] <= 40
    assert Path(segment.path).read_bytes() == content(segment)
    assert memory.recordings.state().waiting == 1
    assert memory.recordings.state().trouble


def test_what_came_in_half_is_asked_for_again_and_what_is_half_there_is_told(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    Half.fails = False
    memory = open_memory(blobs=FsspecBlobs("half://house"), fetched_bytes=0)
    segment = recorded(memory, 0)
    memory.recordings.carry()
    shutil.rmtree(memory.folder / "fetched", ignore_errors=True)
    with monkeypatch.context() as patched:
        patched.setattr(Half, "get_file", lambda self, name, to, **_: Path(to).write_bytes(self.cat_file(name)[:7]))
        with pytest.raises(BlobsUnavailable, match="7 bytes of"):
            memory.recordings.near(segment)
    (name,) = Half.store
    Half().pipe_file(name, b"half")
    with pytest.raises(HindsightError) as caught:
        memory.recordings.near(segment)
    assert not isinstance(caught.value, BlobsUnavailable)
    assert "doctor" in caught.value.advice
