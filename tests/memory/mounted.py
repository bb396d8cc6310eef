"""A memory on a file system of its own that is full, or cannot be written: run by test_mounts.py in a mount namespace.

unshare -rm python -m tests.memory.mounted FOLDER full|read-only
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest.clock import FakeClock
from ingest.errors import Fatal, HindsightError, StorageFull
from ingest.ledger import Ledger
from ingest.questions import Scope
from ingest.records import Segment
from memory.memory import Memory, MemoryOptions
from tests.memory.conftest import DIM, DOOR, START, feature, frames_of, noise_at, span, stream_row


def opened(folder: Path) -> Memory:
    options = MemoryOptions(chapter_s=60.0, bank_length=8, reserve_bytes=2 << 20)
    memory = Memory.open(
        folder / "data", encoder="test-1", dim=DIM, ledger=Ledger(), clock=FakeClock(START), options=options
    )
    if not memory.store.streams.all():
        memory.store.streams.add(stream_row())
    return memory


def remember(memory: Memory, first: int, end: int) -> None:
    """A frame a second, with a picture that takes some room."""
    for t in range(first, end):
        picture = np.random.default_rng(t).bytes(2000)
        memory.remember.handle([feature(t, vector=noise_at(t), thumbnail=picture)])


def sound(memory: Memory, frames: int) -> None:
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == frames, (frames_of(memory), frames)
    wrong = [finding for finding in memory.examine() if not finding.ok]
    assert not wrong, wrong


def refused(work: Callable[[], object], kind: type[HindsightError], *expected: str) -> None:
    with pytest.raises(kind) as caught:
        work()
    assert any(words in caught.value.message for words in expected), caught.value.message
    assert caught.value.advice


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def full(folder: Path) -> None:
    """Erasing makes room where there is none: of chapters and recordings, of parts of chapters; and on it goes."""
    memory = opened(folder)
    remember(memory, 0, 400)
    recording = folder / "0.mp4"
    recording.write_bytes(bytes(100_000))
    memory.remember.handle([Segment(DOOR, 0, span(350, 360), str(recording), 100_000)])
    left, reached = 400, 400
    for start, end in ((60, 130), (200, 210), (340, 361), (0, 55)):
        ballast = fill(folder)
        refused(lambda at=reached: remember(memory, at, at + 1000), StorageFull, "space")
        stored = memory.store.streams.frames(DOOR)
        left, reached = stored - (end - start), reached + stored - left
        receipt = memory.erase(DOOR, span(start, end))
        assert receipt.removed["frames"] == end - start
        gone = set(receipt.verified_gone)
        assert {"slots", "index entries", "recordings", "features", "chapter files"} <= gone, (start, gone)
        sound(memory, left)
        ballast.unlink()
        memory.enforce()
    assert not recording.exists()
    memory.close()
    memory = opened(folder)
    sound(memory, left)
    remember(memory, reached, reached + 100)
    sound(memory, left + 100)
    memory.close()


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def read_only(folder: Path) -> None:
    """Told at the start, told while it runs, nothing torn, and on it goes once it can be written again."""
    memory = opened(folder)
    remember(memory, 0, 100)
    chapters, data = folder / "data" / "chapters", folder / "data"
    mount("--bind", chapters, chapters)
    mount("-o", "remount,bind,ro", chapters)
    refused(lambda: remember(memory, 100, 200), Fatal, "Read-only file system")
    kept = memory.store.streams.frames(DOOR)
    assert 100 < kept < 200
    assert frames_of(memory) == kept
    subprocess.run(["umount", chapters], check=True)
    remember(memory, kept, 200)
    sound(memory, 200)
    memory.store.database.engine.dispose()
    mount("--bind", data, data)
    mount("-o", "remount,bind,ro", data)
    refused(lambda: remember(memory, 200, 201), Fatal, "read-only", "cannot be opened")
    memory.store.database.close()
    memory._guard.close()
    refused(lambda: opened(folder), Fatal, "Read-only file system")
    subprocess.run(["umount", data], check=True)
    memory = opened(folder)
    sound(memory, 200)
    assert memory.store.chapters.all(Scope((DOOR,)))
    remember(memory, 200, 300)
    sound(memory, 300)
    memory.close()


if __name__ == "__main__":
    mount("-t", "tmpfs", "-o", "size=16m", "none", sys.argv[1])
    {"full": full, "read-only": read_only}[sys.argv[2]](Path(sys.argv[1]))
    sys.stdout.write("as promised\n")
