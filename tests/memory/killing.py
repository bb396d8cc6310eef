"""kill -9 at a named point, again and again: run by test_killed.py, or for thousands of kills by hand:

    python -m tests.memory.killing FOLDER all 1000

A forked child remembers a film and kills itself at the point. After every batch it writes how far it has come, forced
to disk, to a file of its own: what that file says must be there when the memory is opened again.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path

import faiss  # noqa: F401 loaded once here, not in every child
import numpy as np

from ingest.clock import FakeClock
from ingest.ledger import Counts, Ledger
from ingest.questions import Scope
from memory import migrations
from memory.memory import Memory, MemoryOptions
from memory.store import Database, no_probe
from memory.store.database import Probe
from tests.memory.conftest import DIM, DOOR, START, feature, frames_of, noise_at, seen, span, stream_row

POINTS = (
    "before rows",
    "in transaction",
    "after commit",
    "before blob",
    "blob written",
    "blob renamed",
    "before seal",
    "during seal",
    "before fold",
    "during fold",
    "during snapshot",
    "during retention",
    "during migration",
    "during erase",
)
RARE = {"before fold", "during fold", "during snapshot", "during seal"}
BATCH = 7
STEP_S = 60


def open_memory(folder: Path, probe: Probe = no_probe) -> Memory:
    """Small enough that a few batches seal, fold, shed and snapshot."""
    options = MemoryOptions(
        chapter_s=600.0,
        bank_length=4,
        hour_slots=4,
        day_slots=4,
        budget_bytes=30_000,
        snapshot_entries=12,
        probe=probe,
    )
    ledger = Ledger()
    memory = Memory.open(folder, encoder="test-1", dim=DIM, ledger=ledger, clock=FakeClock(START), options=options)
    ledger.restore(DOOR, noted(memory))
    if not memory.store.streams.all():
        memory.store.streams.add(stream_row())
    return memory


def noted(memory: Memory) -> Counts:
    """The account that the database keeps with the rows."""
    return Counts.read(memory.store.streams.counters().get(DOOR, ""))


def remember(folder: Path, point: str, nth: int) -> None:
    """Remember from where it was left, until the `nth` time that `point` is passed."""
    passed = 0

    def probe(name: str) -> None:
        nonlocal passed
        passed += name == point
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    memory = open_memory(folder / "data", probe)
    mark = memory.store.streams.mark(DOOR)
    at = 0 if mark is None else max(0, mark.pts // (STEP_S * 1_000_000) - 4)  # a source starts again a little before
    while True:
        times = [(t, t * STEP_S) for t in range(at, at + BATCH)]
        memory.remember.handle(
            [feature(s, vector=noise_at(t), observations=(seen(s, s + 1, track=str(t)),)) for t, s in times]
        )
        at += BATCH
        with (folder / "acknowledged").open("w") as file:
            file.write(str(at))
            file.flush()
            os.fsync(file.fileno())
        if point == "during erase":
            memory.erase(DOOR, span((at - 3) * STEP_S, (at - 2) * STEP_S))


def age(folder: Path) -> None:
    """Take the database back to the schema before the present one, as an earlier version left it."""
    if (folder / "hindsight.db").exists():
        database = Database(f"sqlite:///{folder / 'hindsight.db'}")
        migrations.upgrade(database, back_to="0003")
        database.close()


def examine(folder: Path, *, erased: bool) -> None:
    """Open what the killed process left, and compare it with the film."""
    memory = open_memory(folder / "data")
    mark = memory.store.streams.mark(DOOR)
    count = 0 if mark is None else mark.pts // (STEP_S * 1_000_000) + 1
    said = folder / "acknowledged"
    assert count >= (int(said.read_text() or 0) if said.exists() else 0), "an acknowledged frame is lost"
    kept = frames_of(memory)
    assert kept == memory.store.streams.frames(DOOR), "the stream's count is wrong"
    assert kept == count or erased, f"{kept} frames are there, {count} should be"
    assert noted(memory).stored == count or erased, f"{noted(memory)} were counted, {count} should be"
    wrong = [finding for finding in memory.examine() if not finding.ok]
    assert not wrong, wrong
    block = memory.recall.replay(DOOR)
    numbers = [(int(start) - START) // (STEP_S * 1_000_000) for start in block.starts]
    assert len(set(numbers)) == len(numbers), "a frame is there twice"
    for number, vector in zip(numbers, block.vectors, strict=True):
        np.testing.assert_allclose(vector, noise_at(number), atol=0.01)
    tracks = [int(o.track) for o in memory.store.timeline.observations(Scope(), limit=10**6)]
    assert all(track < count for track in tracks), "an observation is there without its frame"
    memory.close()


def kill(folder: Path, point: str, nth: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            remember(folder, point, nth)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child ended by itself at {point!r}"


def main(folder: Path, point: str, kills: int, seed: str) -> None:
    """Kill `kills` times at `point`, or at all of them in turn, on one film; a new film every thirty."""
    rng = random.Random(seed)
    for number in range(kills):
        here = POINTS[number % len(POINTS)] if point == "all" else point
        if number % 30 == 0:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        most = 2 if here in {*RARE, "during migration"} else 9
        if here == "during migration":
            age(folder / "data")
        kill(folder, here, rng.randint(1, most))
        examine(folder, erased=point == "all" or here == "during erase")
    sys.stdout.write(f"{kills} kills at {point}: nothing acknowledged lost, nothing twice\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "film", sys.argv[2], int(sys.argv[3]), "".join(sys.argv[2:]))
