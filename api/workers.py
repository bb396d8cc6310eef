"""The service's threads: started together, stopped together, and known by name to the health check."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingest.clock import Clock
from ingest.errors import HindsightError


class Workers:
    """Threads that end together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stop = threading.Event()
        self.threads: dict[str, threading.Thread] = {}
        self.waiting: dict[str, str] = {}
        """What each waits for, in words; nothing while all is well."""

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Runs `work` once in a thread of its own; it watches `stop` itself."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        self.threads[name] = thread
        thread.start()

    def waits(self, name: str, why: str) -> None:
        """Of a worker: what it waits for, empty when that came."""
        if why:
            self.waiting[name] = why
        else:
            self.waiting.pop(name, None)

    def every(self, seconds: float, name: str, work: Callable[[], object]) -> None:
        """Runs `work` now and again every `seconds`. What fails is logged and tried at the next turn."""

        def again() -> None:
            while True:
                try:
                    work()
                except HindsightError as error:
                    logging.getLogger("hindsight").warning("%s: %s", name, error)
                if self.stop.wait(seconds):
                    return

        self.run(name, again)

    def close(self, within_s: float) -> list[str]:
        """Ends all of them; the names of those that are still at work after `within_s` for all together."""
        self.stop.set()
        end = self._clock.monotonic() + within_s
        for thread in self.threads.values():
            thread.join(max(0.0, end - self._clock.monotonic()))
        return [name for name, thread in self.threads.items() if thread.is_alive()]
