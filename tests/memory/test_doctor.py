"""Damage is noticed, said, repaired as far as it can be, and never served."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from ingest.questions import Scope
from ingest.records import Segment
from memory.memory import Memory
from memory.store import schema
from tests.memory.conftest import DOOR, OpenMemory, feature, frames_of, query, span


def film(memory: Memory) -> None:
    memory.remember.handle([feature(t, 3 if 30 <= t < 41 else 0) for t in range(200)])


def verdicts(memory: Memory, *, repair: bool = False) -> dict[str, bool]:
    return {finding.name: finding.ok for finding in memory.examine(repair=repair)}


def test_a_sound_memory_is_said_to_be_sound(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory)
    findings = memory.examine()
    assert all(finding.ok and finding.detail for finding in findings)
    assert [f.name for f in findings] == ["database", "chapters", "leftovers", "frames", "recordings", "index"]
    memory = open_memory()
    assert all(verdicts(memory).values())


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_chapter_is_set_aside_and_its_summary_answers(
    open_memory: OpenMemory, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = open_memory()
    film(memory)
    first = memory.store.chapters.all()[0]
    path = memory.folder / "chapters" / first.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-9])
    memory = open_memory()
    assert verdicts(memory) == {**dict.fromkeys(verdicts(memory), True), "chapters": False}
    with caplog.at_level(logging.WARNING):
        (hit,) = memory.recall.find(query(3), Scope(), threshold=0.5)
    assert (hit.level, hit.span) == ("chapter", span(30, 41))
    assert first.path.rsplit("/", 1)[1] in caplog.text
    assert not path.exists()
    assert frames_of(memory) == 200
    assert all(verdicts(memory).values())


def test_the_doctor_sets_damaged_chapters_aside(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory)
    first = memory.store.chapters.all()[0]
    path = memory.folder / "chapters" / first.path
    path.write_bytes(b"nonsense")
    assert not verdicts(memory)["chapters"]
    assert verdicts(memory, repair=True)["chapters"]
    assert not path.exists()
    assert "1 damaged earlier" in next(f.detail for f in memory.examine() if f.name == "chapters")


def test_leftovers_are_swept_at_the_next_start(open_memory: OpenMemory) -> None:
    memory = open_memory()
    film(memory)
    folder = memory.folder / "chapters" / "door"
    orphans = [folder / "0%2F9.0.safetensors", folder / "half.safetensors.partial"]
    for path in orphans:
        path.write_bytes(b"left over")
    assert not verdicts(memory)["leftovers"]
    memory = open_memory()
    assert not any(path.exists() for path in orphans)
    assert all(verdicts(memory).values())


@pytest.mark.parametrize("damage", ["missing", "flipped", "nonsense"])
def test_a_lost_index_is_rebuilt_without_being_asked(open_memory: OpenMemory, damage: str) -> None:
    memory = open_memory()
    film(memory)
    memory.close()
    before = memory.index.owners()
    for path in (memory.folder / "index").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(content if damage == "flipped" else b"nonsense")
    memory = open_memory()
    assert memory.index.owners() == before
    best = memory.index.search(query(3).vector, Scope(), 1)[0]
    assert best.span == span(30, 41)
    assert best.score == pytest.approx(1, abs=1e-3)


def test_an_old_index_catches_up(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory = open_memory()
    film(memory)
    memory.close()
    old = {path.name: path.read_bytes() for path in (memory.folder / "index").iterdir()}
    memory = open_memory()
    memory.remember.handle([feature(t, 4) for t in range(200, 400)])
    memory.erase(DOOR, span(30, 41))
    owners = memory.index.owners()
    memory.close()
    for name, content in old.items():
        (memory.folder / "index" / name).write_bytes(content)
    memory = open_memory()
    assert memory.index.owners() == owners
    assert memory.index.search(query(3).vector, Scope(), 1)[0].score < 0.1


def test_wrong_counts_are_noticed_and_mended(memory: Memory) -> None:
    film(memory)
    with memory.store.database.write() as connection:
        connection.execute(update(schema.streams).values(frames=7))
    assert not verdicts(memory)["frames"]
    assert verdicts(memory, repair=True)["frames"]
    assert memory.store.streams.frames(DOOR) == 200


def test_missing_recordings_are_told_apart(memory: Memory, tmp_path: Path) -> None:
    memory.remember.handle([Segment(DOOR, 0, span(0, 10), str(tmp_path / "gone.mp4"), 5)])
    assert not verdicts(memory)["recordings"]
    assert verdicts(memory, repair=True)["recordings"]
    assert memory.store.timeline.segments(DOOR) == ()
    memory.remember.handle([Segment(DOOR, 0, span(0, 10), str(tmp_path / "mine.mp4"), 5, owned=False)])
    assert not verdicts(memory, repair=True)["recordings"]
    assert len(memory.store.timeline.segments(DOOR)) == 1


def test_an_index_that_differs_is_mended(memory: Memory) -> None:
    film(memory)
    owner = next(iter(memory.index.owners()))
    memory.index.remove([owner])
    assert not verdicts(memory)["index"]
    assert verdicts(memory, repair=True)["index"]
    assert owner in memory.index.owners()


def test_chapter_files_are_plain_and_hold_what_was_remembered(memory: Memory) -> None:
    """Readable with safetensors alone, without any of our code."""
    from safetensors.numpy import load_file

    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(70, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    memory.remember.handle([feature(t, vector=vector) for t, vector in enumerate(vectors)])
    row = memory.store.chapters.all()[0]
    tensors = load_file(memory.folder / "chapters" / row.path)
    assert tensors["codes"].dtype == np.int8
    decoded = tensors["codes"] * tensors["scale"][:, None]
    assert np.abs(decoded - vectors[:60]).max() <= np.abs(vectors).max() / 254 + 1e-6
    assert (np.diff(tensors["times"][0]) == 1_000_000).all()
