"""The account of every frame: captured = stored + dropped{reason} + parked{reason} + in flight, per stream, always."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.records import StreamId


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of frames of one stream since the process began."""

    captured: int
    stored: int
    dropped: Mapping[str, int]
    parked: Mapping[str, int]

    @property
    def in_flight(self) -> int:
        """What is still under way; negative only if someone counted a frame twice."""
        return self.captured - self.stored - sum(self.dropped.values()) - sum(self.parked.values())


@dataclass(slots=True)
class _Account:
    captured: int = 0
    stored: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    parked: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Thread-safe. Frames only: sounds and journal entries are not counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[StreamId, _Account] = {}

    def captured(self, stream: StreamId, n: int = 1) -> None:
        with self._lock:
            self._account(stream).captured += n

    def stored(self, stream: StreamId, n: int = 1) -> None:
        with self._lock:
            self._account(stream).stored += n

    def dropped(self, stream: StreamId, reason: str, n: int = 1) -> None:
        with self._lock:
            self._account(stream).dropped[reason] += n

    def parked(self, stream: StreamId, reason: str, n: int = 1) -> None:
        with self._lock:
            self._account(stream).parked[reason] += n

    def counts(self, stream: StreamId) -> Counts:
        with self._lock:
            account = self._account(stream)
            return Counts(account.captured, account.stored, dict(account.dropped), dict(account.parked))

    def _account(self, stream: StreamId) -> _Account:
        return self._accounts.setdefault(stream, _Account())
