"""The account of every frame: captured = stored + dropped{reason} + parked{reason} + in flight, by stream and epoch."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ingest.records import StreamId

_EPOCHS: Final = 4
"""Epochs whose accounts are kept apart; an older one that is balanced joins the rest."""
_REST: Final = -1


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of frames of one stream."""

    captured: int
    stored: int
    dropped: Mapping[str, int]
    parked: Mapping[str, int]
    unheard: Mapping[str, int] = field(default_factory=dict)
    """Microseconds of sound that were lost before anyone listened, by reason. No frames."""

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
    unheard: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Account | Counts) -> None:
        self.captured += other.captured
        self.stored += other.stored
        self.dropped.update(other.dropped)
        self.parked.update(other.parked)
        self.unheard.update(other.unheard)

    def counts(self) -> Counts:
        return Counts(self.captured, self.stored, dict(self.dropped), dict(self.parked), dict(self.unheard))


class Ledger:
    """Thread-safe. Frames, and what was lost of sound; journal entries are not counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: defaultdict[StreamId, dict[int, _Account]] = defaultdict(dict)

    def captured(self, stream: StreamId, n: int = 1, *, epoch: int = 0) -> None:
        with self._lock:
            self._account(stream, epoch).captured += n

    def stored(self, stream: StreamId, n: int = 1, *, epoch: int = 0) -> None:
        with self._lock:
            self._account(stream, epoch).stored += n

    def dropped(self, stream: StreamId, reason: str, n: int = 1, *, epoch: int = 0) -> None:
        with self._lock:
            self._account(stream, epoch).dropped[reason] += n

    def parked(self, stream: StreamId, reason: str, n: int = 1, *, epoch: int = 0) -> None:
        with self._lock:
            self._account(stream, epoch).parked[reason] += n

    def unheard(self, stream: StreamId, reason: str, microseconds: int, *, epoch: int = 0) -> None:
        """Sound that nobody will listen to."""
        with self._lock:
            self._account(stream, epoch).unheard[reason] += microseconds

    def counts(self, stream: StreamId) -> Counts:
        """Of all epochs together."""
        with self._lock:
            whole = _Account()
            for account in self._accounts.get(stream, {}).values():
                whole.add(account)
            return whole.counts()

    def epochs(self, stream: StreamId) -> Mapping[int, Counts]:
        """Of each epoch whose account is still kept apart."""
        with self._lock:
            return {epoch: one.counts() for epoch, one in self._accounts.get(stream, {}).items() if epoch != _REST}

    def streams(self) -> tuple[StreamId, ...]:
        """Every stream that has an account."""
        with self._lock:
            return tuple(self._accounts)

    def restore(self, stream: StreamId, before: Counts) -> None:
        """Go on from what was counted before a restart. What was under way then was lost with the process."""
        with self._lock:
            rest = self._account(stream, _REST)
            rest.add(before)
            if before.in_flight > 0:
                rest.dropped["restart"] += before.in_flight

    def _account(self, stream: StreamId, epoch: int) -> _Account:
        accounts = self._accounts[stream]
        if epoch not in accounts:
            self._fold(accounts)
            accounts[epoch] = _Account()
        return accounts[epoch]

    def _fold(self, accounts: dict[int, _Account]) -> None:
        """A camera that comes and goes for a year begins a million epochs."""
        for epoch in sorted(epoch for epoch in accounts if epoch != _REST)[:-_EPOCHS]:
            if accounts[epoch].counts().in_flight == 0:
                accounts.setdefault(_REST, _Account()).add(accounts.pop(epoch))
