"""The accounts of frames, noted in the database so that they go on after a restart."""

from __future__ import annotations

import json
from dataclasses import asdict

from ingest.ledger import Counts, Ledger
from ingest.records import StreamId
from memory.store import Store


class Accounts:
    """What was counted since the last note is lost with a process that is killed; the account balances all the same."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._noted: dict[StreamId, str] = {}

    def restore(self) -> None:
        for stream, text in self._store.streams.counters().items():
            if text:
                self._ledger.restore(stream, Counts(**json.loads(text)))

    def note(self) -> None:
        """Write what has changed."""
        present = {row.id: json.dumps(asdict(self._ledger.counts(row.id))) for row in self._store.streams.all()}
        changed = {stream: text for stream, text in present.items() if self._noted.get(stream) != text}
        if changed:
            self._store.streams.note_counters(changed)
        self._noted = present
