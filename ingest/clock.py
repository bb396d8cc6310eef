"""The only reader of wall and monotonic time, and of times as they are written."""

from __future__ import annotations

import ctypes
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import ClassVar, Final, Protocol

from ingest.records import MICROSECONDS, Moment, seconds

_UNSYNCHRONISED: Final = 0x40
"""STA_UNSYNC, of the status that adjtimex(2) gives."""
_LOOKS: Final = 5
_AT_ONCE_S: Final = 0.01
_TOO_FAR: Final = 16_000_000
"""Microseconds by which the clock may be wrong, as the kernel itself reckons when nobody keeps it right."""


class Clock(Protocol):
    """Wall time for labels, monotonic time for every timeout and interval."""

    def now(self) -> Moment:
        """The present moment, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def sleep(self, seconds: float) -> None: ...


def together(clock: Clock) -> tuple[Moment, int]:
    """Wall and monotonic time, microseconds, of one instant: whoever is made to wait between the two looks again."""
    before, now = clock.monotonic(), clock.now()
    for _ in range(_LOOKS):
        if clock.monotonic() - before < _AT_ONCE_S:
            break
        before, now = clock.monotonic(), clock.now()
    return now, seconds(before)


class SystemClock:
    def now(self) -> Moment:
        return Moment(time.time_ns() // 1000)

    monotonic = staticmethod(time.monotonic)

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


class _Timex(ctypes.Structure):
    """The beginning of adjtimex's `struct timex`, and room for the rest."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def synchronised() -> bool | None:
    """Whether something, such as NTP, keeps this machine's clock right, as the kernel says; None where it does not say.

    Nothing is set: `modes` is 0. Some daemons tell the kernel by how much the clock may be wrong, and no more.
    """
    asked = _Timex()
    with suppress(OSError, AttributeError):  # no such call in this libc
        if ctypes.CDLL(None).adjtimex(ctypes.byref(asked)) >= 0:
            return not asked.status & _UNSYNCHRONISED or asked.maxerror < _TOO_FAR
    return None


def moment_of(text: str) -> Moment | None:
    """A time as ISO 8601 writes it, in UTC unless it says otherwise; None for what is none, or before 1970."""
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = written if written.tzinfo else written.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return Moment(round(since.total_seconds() * MICROSECONDS)) if since.days > 0 else None
