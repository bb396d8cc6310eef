"""Waiting between attempts: exponential, bounded, with jitter, for ever."""

from __future__ import annotations

import random

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
