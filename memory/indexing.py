"""Keeps the index equal to the database, and its snapshot not far behind."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from ingest.errors import StoreCorrupt
from memory import durable
from memory.index.faiss_index import FaissIndex
from memory.index.protocol import Entries, VectorIndex
from memory.store.database import Probe
from memory.store.rows import ChapterRow
from memory.store.store import Store

logger = logging.getLogger(__name__)


class Indexing:
    """Owns the index: loads or rebuilds it, refreshes it from the database, saves it when due."""

    def __init__(self, store: Store, folder: Path, dim: int, every: int) -> None:
        """`every`: a snapshot is due after so many new entries."""
        self._store = store
        self._folder = folder
        self._every = every
        self._unsaved = 0
        self.index = _load(folder, dim, store.database.probe)

    def refresh(self) -> int:
        """Add what the database has and the index lacks, remove what it should not have. Entries changed."""
        wanted = {row.entry: row for row in self._store.chapters.all()}
        present = self.index.owners()
        gone = self.index.remove([owner for owner in present if owner not in wanted])
        return gone + self.add([row for entry, row in wanted.items() if present.get(entry) != row.slots])

    def add(self, rows: Collection[ChapterRow]) -> int:
        """Index the slots of these chapters."""
        count = 0
        for row, slots in self._store.chapters.slots([row.id for row in rows]):
            self.index.add(Entries(row.entry, row.stream, slots.vectors, slots.starts, slots.ends))
            count += len(slots)
        self._unsaved += count
        return count

    def save_if_due(self) -> None:
        if self._unsaved >= self._every:
            self.save()

    def save(self) -> None:
        self.index.snapshot(self._folder)
        self._unsaved = 0

    def discard(self) -> None:
        """Remove the snapshot: the next is written anew, or the next start rebuilds the index."""
        for path in self._folder.glob("*"):
            durable.delete(path)
        self._unsaved = self._every

    def missing(self) -> tuple[int, int]:
        """Chapters that the index lacks, and owners it should not have."""
        wanted = {row.entry: row.slots for row in self._store.chapters.all()}
        present = self.index.owners()
        return sum(present.get(e) != n for e, n in wanted.items()), sum(owner not in wanted for owner in present)


def _load(folder: Path, dim: int, probe: Probe) -> VectorIndex:
    if not folder.exists():
        return FaissIndex(dim, probe)
    try:
        return FaissIndex.load(folder, dim, probe)
    except StoreCorrupt as error:
        logger.warning("%s Rebuilding it from the database.", error.message)
        return FaissIndex(dim, probe)
