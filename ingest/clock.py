"""The only reader of wall and monotonic time."""

from __future__ import annotations

import time
from typing import Protocol

from ingest.records import Moment


class Clock(Protocol):
    """Wall time for labels, monotonic time for every timeout and interval."""

    def now(self) -> Moment:
        """The present moment, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> Moment:
        return Moment(time.time_ns() // 1000)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that moves only when told to, or when someone sleeps on it."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> Moment:
        return Moment(self._now)

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now += round(seconds * 1_000_000)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as NTP or an operator does."""
        self._now += round(seconds * 1_000_000)
