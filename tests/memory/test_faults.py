"""The disk is full at the n-th write, for every n there is: said as such, nothing torn, and on it goes with room."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from ingest.clock import FakeClock
from ingest.errors import StorageFull
from ingest.ledger import Ledger
from memory.memory import Memory, MemoryOptions
from tests.memory.conftest import DIM, DOOR, START, feature, frames_of, noise_at, stream_row

BATCHES, BATCH, STEP_S = 5, 6, 200
WRITES = ("INSERT", "UPDATE", "DELETE")


class Disk:
    """Counts writes to files and to the database, and has no room for the `full_at`-th."""

    def __init__(self) -> None:
        self.count = 0
        self.full_at = 0

    def probe(self, point: str) -> None:
        """A file is about to be written, or to be renamed."""
        if point in {"before blob", "blob written"} and self._is_full():
            raise OSError(errno.ENOSPC, "No space left on device")

    def watch(self, memory: Memory) -> None:
        def statement(_connection: object, _cursor: object, sql: str, *_more: object) -> None:
            if sql.lstrip().startswith(WRITES) and self._is_full():
                raise sqlite3.OperationalError("database or disk is full")

        def commit(connection: Connection) -> None:
            if connection.get_execution_options().get("writing") and self._is_full():
                raise sqlite3.OperationalError("database or disk is full")

        event.listen(memory.store.database.engine, "before_cursor_execute", statement)
        event.listen(memory.store.database.engine, "commit", commit)

    def _is_full(self) -> bool:
        self.count += 1
        return self.count == self.full_at


def opened(folder: Path, disk: Disk) -> Memory:
    """Small enough that a few batches seal, fold, shed and snapshot."""
    options = MemoryOptions(
        chapter_s=600.0, bank_length=4, hour_slots=4, budget_bytes=8_000, snapshot_entries=8, probe=disk.probe
    )
    return Memory.open(folder, encoder="test-1", dim=DIM, ledger=Ledger(), clock=FakeClock(START), options=options)


def remember(memory: Memory, batch: int) -> None:
    numbers = range(batch * BATCH, (batch + 1) * BATCH)
    memory.remember.handle([feature(n * STEP_S, vector=noise_at(n)) for n in numbers])


def film(folder: Path, full_at: int) -> bool:
    """Remember everything, with one write that does not fit and is tried again. Whether there was such a write."""
    disk = Disk()
    memory = opened(folder, disk)
    memory.store.streams.add(stream_row())
    disk.watch(memory)
    disk.count, disk.full_at = 0, full_at
    failed = 0
    for batch in range(BATCHES):
        try:
            remember(memory, batch)
        except StorageFull:
            failed += 1
            remember(memory, batch)
    disk.full_at, writes = 0, disk.count
    assert frames_of(memory) == memory.store.streams.frames(DOOR) == BATCHES * BATCH
    assert [finding for finding in memory.examine(repair=True) if not finding.ok] == []
    memory.close()
    memory = opened(folder, Disk())
    assert frames_of(memory) == BATCHES * BATCH
    assert [finding for finding in memory.examine() if not finding.ok] == []
    memory.close()
    assert failed == (full_at <= writes)
    return bool(failed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_write_may_find_the_disk_full(swift_path: Path) -> None:
    full_at = 1
    while film(swift_path / "data", full_at):
        shutil.rmtree(swift_path / "data")
        full_at += 1
    assert full_at > 60
