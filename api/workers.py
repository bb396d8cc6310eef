"""The service's threads: started together, stopped together, and known by name to the health check."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingest.errors import HindsightError

JOIN_S = 10.0


class Workers:
    """Threads that end together."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.threads: dict[str, threading.Thread] = {}

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Runs `work` once in a thread of its own; it watches `stop` itself."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        self.threads[name] = thread
        thread.start()

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

    def close(self) -> None:
        self.stop.set()
        for thread in self.threads.values():
            thread.join(JOIN_S)
