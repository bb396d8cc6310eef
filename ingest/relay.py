"""A door on loopback through which libav reaches exactly one checked address.

libav dials by itself, resolves by itself and follows RTSP redirects whatever `max_redirects` says. So it is given this
door's address instead of the camera's: every connection to it goes to the address that the guard allowed, TLS is
checked under the camera's name, and a redirect ends the connection.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from ingest.clock import SystemClock
from ingest.errors import HindsightError, SourceRefused, SourceUnavailable
from ingest.relay_rtsp import Messages, NoRtsp, status
from ingest.relay_udp import Datagrams

if TYPE_CHECKING:
    from ingest.guard import Guard, PinnedUrl

_CHUNK: Final = 1 << 16
_PLAY: Final = b"PLAY "
"""libav's last request before there are pictures: it follows no redirect from then on."""


class Relay:
    """Open while the source is read; `port` is on 127.0.0.1."""

    def __init__(
        self, guard: Guard, pinned: PinnedUrl, *, timeout_s: float, certificate: str = "", udp: bool = False
    ) -> None:
        """`certificate`: SHA-256 of the only one that is accepted. `udp`: the pictures of RTSP come as datagrams."""
        self._guard, self._pinned, self._timeout = guard, pinned, timeout_s
        self._certificate, self._udp = certificate, udp
        self._clock = SystemClock()
        self._heard = self._clock.monotonic()
        self.failure: HindsightError | None = None
        """Why the door was shut, when it was."""
        self.ended = False
        """Whether the other side ended the connection."""
        first = self._dial()
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

    def _dial(self) -> socket.socket:
        return self._guard.dial(self._pinned, timeout_s=self._timeout, certificate=self._certificate)

    def _hear(self) -> None:
        self._heard = self._clock.monotonic()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = self._waiting.pop() if self._waiting else self._dial()
            except HindsightError as error:
                self.failure = error
                near.close()
                return
            self._heard = self._clock.monotonic()
            threading.Thread(target=self._carry, args=(near, far), daemon=True, name="relay").start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        """Bytes both ways until either side closes."""
        datagrams = Datagrams(far.getpeername()[0], self._hear) if self._udp else None
        asking = Messages(datagrams.request) if datagrams else None
        answering = Messages(partial(self._answer, datagrams)) if self._pinned.scheme.startswith("rtsp") else None
        far.settimeout(self._timeout)
        with near, far, closing(datagrams) if datagrams else nullcontext():
            try:
                while True:
                    ready, _, _ = select.select([near, far], [], [])
                    if near in ready:
                        if not (data := near.recv(_CHUNK)):
                            return
                        if answering and not datagrams and data.startswith(_PLAY):
                            near.sendall(answering.rest())
                            answering = None
                        self._tell(far, asking.feed(data) if asking else data)
                    if far in ready:
                        if not (data := self._listen(far)):
                            return
                        self._hear()
                        near.sendall(answering.feed(data) if answering else data)
            except HindsightError as error:
                self.failure = error
            except NoRtsp:
                self.failure = SourceUnavailable(
                    f"{self._pinned.host} does not speak RTSP as it should.", advice="Check the address and the port."
                )
            except OSError:
                return

    def _tell(self, far: socket.socket, data: bytes) -> None:
        try:
            far.sendall(data)
        except OSError:
            self.ended = True
            raise

    def _listen(self, far: socket.socket) -> bytes:
        """Nothing when the other side has ended the connection, in good order or not."""
        try:
            data = far.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self.ended = True
        return data

    def _answer(self, datagrams: Datagrams | None, head: bytes) -> bytes:
        """What libav may hear of an answer's head. Raises `SourceRefused` at one that sends us elsewhere."""
        if 300 <= status(head) < 400:
            raise SourceRefused(
                f"{self._pinned.host} sends us to another address.", advice="Add the camera under its final address."
            )
        return datagrams.answer(head) if datagrams else head
