"""Waiting before an attempt: exponential, bounded, with jitter, for ever; and in turn with everyone else."""

from __future__ import annotations

import random
import threading

from ingest.clock import Clock
from ingest.limits import Limits


class Backoff:
    """Each `next` is twice the last, up to the limit, give or take a fifth: a hundred cameras do not come at once."""

    def __init__(self, limits: Limits) -> None:
        self._first, self._most = limits.backoff_first_s, limits.backoff_most_s
        self._wait = self._first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        wait, self._wait = self._wait, min(2 * self._wait, self._most)
        return wait * random.uniform(0.8, 1.2)

    def reset(self) -> None:
        self._wait = self._first


class Turnstile:
    """Lets the streams of a fleet through one by one, at most `connects_per_s` in a second. Thread-safe."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._apart, self._clock = 1 / limits.connects_per_s, clock
        self._lock = threading.Lock()
        self._next = clock.monotonic()

    def turn(self) -> float:
        """Seconds until it is the caller's turn, which is thereby taken."""
        with self._lock:
            now = self._clock.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._apart
            return mine - now
