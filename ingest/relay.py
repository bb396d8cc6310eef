"""A door on loopback through which libav reaches exactly one checked address.

libav dials by itself, resolves by itself and follows RTSP redirects whatever `max_redirects` says. So it is given this
door's address instead of the camera's: every connection to it goes to the address that the guard allowed, TLS is
checked under the camera's name, and a redirect ends the connection.
"""

from __future__ import annotations

import select
import socket
import threading
from typing import TYPE_CHECKING, Final

from ingest.clock import SystemClock
from ingest.errors import HindsightError, SourceRefused

if TYPE_CHECKING:
    from ingest.guard import Guard, PinnedUrl

_REDIRECT: Final = b"RTSP/1.0 3"
_CHUNK: Final = 1 << 16


class Relay:
    """Open while the source is read; `port` is on 127.0.0.1."""

    def __init__(self, guard: Guard, pinned: PinnedUrl, *, timeout_s: float) -> None:
        self._guard, self._pinned, self._timeout = guard, pinned, timeout_s
        self._clock = SystemClock()
        self._heard = self._clock.monotonic()
        self.failure: HindsightError | None = None
        """Why the door was shut, when it was."""
        first = guard.dial(pinned, timeout_s=timeout_s)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._waiting: list[socket.socket] = [first]
        threading.Thread(target=self._accept, daemon=True, name="relay").start()

    @property
    def silent_s(self) -> float:
        """How long the other side has said nothing."""
        return self._clock.monotonic() - self._heard

    def close(self) -> None:
        self._listener.close()
        for upstream in self._waiting:
            upstream.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = self._waiting.pop() if self._waiting else self._guard.dial(self._pinned, timeout_s=self._timeout)
            except HindsightError as error:
                self.failure = error
                return
            except OSError:
                return
            self._heard = self._clock.monotonic()
            threading.Thread(target=self._carry, args=(near, far), daemon=True, name="relay").start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        """Bytes both ways until either side closes."""
        tail = b""
        far.settimeout(self._timeout)
        with near, far:
            try:
                while True:
                    ready, _, _ = select.select([near, far], [], [])
                    if near in ready:
                        if not (data := near.recv(_CHUNK)):
                            return
                        far.sendall(data)
                    if far in ready:
                        if not (data := far.recv(_CHUNK)):
                            return
                        self._heard = self._clock.monotonic()
                        if _REDIRECT in tail + data[: len(_REDIRECT)] or _REDIRECT in data:
                            self._refuse()
                            return
                        tail = data[-len(_REDIRECT) :]
                        near.sendall(data)
            except OSError:
                return

    def _refuse(self) -> None:
        self.failure = SourceRefused(
            f"{self._pinned.host} sends us to another address.", advice="Add the camera under its final address."
        )
