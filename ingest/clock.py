"""The only reader of wall and monotonic time, and of times as they are written."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from ingest.records import MICROSECONDS, Moment


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


def moment_of(text: str) -> Moment | None:
    """A time as ISO 8601 writes it, in UTC unless it says otherwise; None for what is none, or before 1970."""
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = written if written.tzinfo else written.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return Moment(round(since.total_seconds() * MICROSECONDS)) if since.days > 0 else None
