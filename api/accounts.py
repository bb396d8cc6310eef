"""The accounts of frames, noted so that a process that is killed takes no count with it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ingest.ledger import Counts, Ledger
from ingest.records import StreamId
from memory.store import Store


class Accounts:
    """A file of one line for each stream, rewritten with every count: from then on it is the kernel's, and outlasts the
    process. What is stored is also noted in the database, with the rows it tells of; where the two differ, as when the
    power failed or a kill came between them, the later one holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, stream: StreamId, counts: Counts | None) -> None:
        """Numbers only grow, and so does the line: it is written over the one before in one piece."""
        with suppress(OSError):  # on a full disk the database's note is what there is; nothing is stored there either
            if counts is None:
                self._path(stream).unlink(missing_ok=True)
                return
            handle = os.open(self._path(stream), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(handle, f"{counts.text()}\n".encode(), 0)
            finally:
                os.close(handle)

    def restore(self, store: Store, ledger: Ledger) -> None:
        """Go on from what was counted before this process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        noted = store.streams.counters()
        for stream, text in noted.items():
            ledger.restore(stream, Counts.read(text).latest(self._kept(stream)))
        for path in self._folder.glob("*.json"):
            if path.stem not in noted:  # a kill came between the stream's removal and its account's
                path.unlink(missing_ok=True)

    def _kept(self, stream: StreamId) -> Counts:
        try:
            return Counts.read(self._path(stream).read_text().partition("\n")[0])
        except (OSError, ValueError, TypeError):  # there is none, or the power failed while it was written
            return Counts()

    def _path(self, stream: StreamId) -> Path:
        return self._folder / f"{stream}.json"
