"""The account of every frame: captured = stored + dropped{reason} + parked{reason} + in flight, by stream and epoch."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from ingest.records import StreamId

_EPOCHS: Final = 4
"""Epochs whose accounts are kept apart; an older one that is balanced is in the sum alone."""
_LATE: Final = 64
"""Of so many streams that were removed last something may still be under way."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of frames of one stream. None of them ever falls."""

    captured: int = 0
    stored: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    unheard: Mapping[str, int] = field(default_factory=dict)
    """Microseconds of sound that were lost before anyone listened, by reason. No frames."""

    @property
    def in_flight(self) -> int:
        """What is still under way; negative only if someone counted a frame twice."""
        return self.captured - self.stored - sum(self.dropped.values()) - sum(self.parked.values())

    def plus(self, other: Counts) -> Counts:
        return self._with(other, lambda mine, more: mine + more)

    def latest(self, other: Counts) -> Counts:
        """What is known from two notes of one account, whichever was written later."""
        return self._with(other, max)

    def _with(self, other: Counts, of: Callable[[int, int], int]) -> Counts:
        def each(mine: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
            return {reason: of(mine.get(reason, 0), more.get(reason, 0)) for reason in {**mine, **more}}

        return Counts(
            of(self.captured, other.captured),
            of(self.stored, other.stored),
            each(self.dropped, other.dropped),
            each(self.parked, other.parked),
            each(self.unheard, other.unheard),
        )

    def text(self) -> str:
        """As it is noted: one line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Counts:
        """What `text` wrote; of nothing, nothing."""
        return cls(**json.loads(text)) if text else cls()


@dataclass(slots=True)
class _Account:
    captured: int = 0
    stored: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    parked: Counter[str] = field(default_factory=Counter)
    unheard: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        self.captured += other.captured
        self.stored += other.stored
        self.dropped.update(other.dropped)
        self.parked.update(other.parked)
        self.unheard.update(other.unheard)

    def counts(self) -> Counts:
        return Counts(self.captured, self.stored, dict(self.dropped), dict(self.parked), dict(self.unheard))


def _nowhere(_stream: StreamId, _counts: Counts | None) -> None:
    """An account that ends with its process."""


class Ledger:
    """Thread-safe. Frames, and what was lost of sound; journal entries are not counted."""

    def __init__(self, keep: Callable[[StreamId, Counts | None], None] = _nowhere) -> None:
        """`keep` notes a stream's sum with every entry, None once it is forgotten; it must not raise."""
        self._lock = threading.Lock()
        self._keep = keep
        self._sums: defaultdict[StreamId, _Account] = defaultdict(_Account)
        self._epochs: defaultdict[StreamId, dict[int, _Account]] = defaultdict(dict)
        self._gone: deque[StreamId] = deque(maxlen=_LATE)

    def captured(self, stream: StreamId, n: int = 1, *, epoch: int = 0) -> None:
        self._enter(stream, epoch, Counts(captured=n))

    def stored(self, stream: StreamId, n: int = 1, *, epoch: int = 0) -> None:
        self._enter(stream, epoch, Counts(stored=n))

    def dropped(self, stream: StreamId, reason: str, n: int = 1, *, epoch: int = 0) -> None:
        self._enter(stream, epoch, Counts(dropped={reason: n}))

    def parked(self, stream: StreamId, reason: str, n: int = 1, *, epoch: int = 0) -> None:
        self._enter(stream, epoch, Counts(parked={reason: n}))

    def unheard(self, stream: StreamId, reason: str, microseconds: int, *, epoch: int = 0) -> None:
        """Sound that nobody will listen to."""
        self._enter(stream, epoch, Counts(unheard={reason: microseconds}))

    def counts(self, stream: StreamId) -> Counts:
        """Of all epochs together."""
        with self._lock:
            return self._sums[stream].counts() if stream in self._sums else Counts()

    def epochs(self, stream: StreamId) -> Mapping[int, Counts]:
        """Of each epoch whose account is still kept apart."""
        with self._lock:
            return {epoch: one.counts() for epoch, one in self._epochs.get(stream, {}).items()}

    def streams(self) -> tuple[StreamId, ...]:
        """Every stream that has an account."""
        with self._lock:
            return tuple(self._sums)

    def restore(self, stream: StreamId, before: Counts) -> None:
        """Go on from what was counted before a restart. What was under way then was lost with the process."""
        lost = max(0, before.in_flight)
        with self._lock:
            self._add(stream, before.plus(Counts(dropped={"restart": lost} if lost else {})))

    def forget(self, stream: StreamId) -> None:
        """The stream is removed; what is still under way of it counts no more."""
        with self._lock:
            self._gone.append(stream)
            self._sums.pop(stream, None)
            self._epochs.pop(stream, None)
            self._keep(stream, None)

    def _enter(self, stream: StreamId, epoch: int, entry: Counts) -> None:
        with self._lock:
            if stream in self._gone:
                return
            accounts = self._epochs[stream]
            if epoch not in accounts:
                _fold(accounts)
                accounts[epoch] = _Account()
            accounts[epoch].add(entry)
            self._add(stream, entry)

    def _add(self, stream: StreamId, entry: Counts) -> None:
        self._sums[stream].add(entry)
        self._keep(stream, self._sums[stream].counts())


def _fold(accounts: dict[int, _Account]) -> None:
    """A camera that comes and goes for a year begins a million epochs."""
    for epoch in sorted(accounts)[:-_EPOCHS]:
        if accounts[epoch].counts().in_flight == 0:
            del accounts[epoch]
