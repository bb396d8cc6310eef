"""What is said in RTSP, head by head, and only as it can be understood in one way.

libav forgives much: it ignores every carriage return, takes several blanks for one and any version for 1.0. What it and
we might read differently, it could be led by. So heads are passed on as we read them, and what is no RTSP is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_END: Final = re.compile(rb"\n\r*\n")
_FIRST: Final = re.compile(rb"RTSP/[12]\.\d (\d{3})(?: .*)?|[A-Z_]+ \S+ RTSP/[12]\.\d")
_LENGTH: Final = re.compile(rb"content-length:[ \t]*(\d{1,9})[ \t]*", re.IGNORECASE)
_LONGEST: Final = 1 << 16
_FRAME: Final = b"$"
_FRAME_HEAD: Final = 4


class NoRtsp(ValueError):
    """These bytes are none, or leave room for doubt."""


class Messages:
    """Bytes of an RTSP conversation in one direction; every head passes through `rewrite`, bodies as they are."""

    def __init__(self, rewrite: Callable[[bytes], bytes]) -> None:
        self._rewrite = rewrite
        self._held = b""
        self._body = 0
        """Bytes that are still to come of what passes as it is: a body, or a piece of a picture between two heads."""

    def feed(self, data: bytes) -> bytes:
        """What may be passed on by now. Raises `NoRtsp`, and what `rewrite` raises."""
        self._held += data
        ready = b""
        while self._held:
            if self._body:
                part, self._held = self._held[: self._body], self._held[self._body :]
                self._body -= len(part)
                ready += part
            elif self._held[:1] == _FRAME:
                if len(self._held) < _FRAME_HEAD:
                    break
                self._body = _FRAME_HEAD + int.from_bytes(self._held[2:_FRAME_HEAD])
            elif (head := self._head()) is not None:
                ready += self._rewrite(head) + b"\r\n\r\n"
            else:
                break
        return ready

    def rest(self) -> bytes:
        """What was kept back so far."""
        held, self._held = self._held, b""
        return held

    def _head(self) -> bytes | None:
        """The next head, its lines joined by CR LF; None when its end has not come."""
        self._held = self._held.lstrip(b"\r\n")
        end = _END.search(self._held)
        if end is None:
            if len(self._held) > _LONGEST:
                raise NoRtsp("a head without an end")
            return None
        lines = self._held[: end.start()].replace(b"\r", b"").split(b"\n")
        self._held = self._held[end.end() :]
        if _FIRST.fullmatch(lines[0]) is None or any(b"\0" in line for line in lines):
            raise NoRtsp("a head that does not begin like one")
        self._body = _length(lines)
        return b"\r\n".join(lines)


def status(head: bytes) -> int:
    """The number with which an answer begins; 0 for a request."""
    first = _FIRST.match(head)
    return int(first[1]) if first is not None and first[1] else 0


def _length(lines: list[bytes]) -> int:
    told = [line for line in lines if line.lower().startswith(b"content-length")]
    sizes = {int(found[1]) if (found := _LENGTH.fullmatch(line)) else -1 for line in told}
    if len(sizes) > 1 or -1 in sizes:
        raise NoRtsp("a body of no certain length")
    return sizes.pop() if sizes else 0
