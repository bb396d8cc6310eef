"""RTSP over UDP through a relay: both sides hear of our ports alone, and datagrams from elsewhere go nowhere.

libav says at which ports it listens, the camera says from which it sends. Both hear of a pair of ports of ours instead,
so that libav reaches nothing but loopback, and a datagram that is not from the checked address is thrown away.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_CLIENT: Final = re.compile(rb"client_port=(\d+)(?:-(\d+))?", re.IGNORECASE)
_SERVER: Final = re.compile(rb"server_port=(\d+)(?:-(\d+))?", re.IGNORECASE)
_LONGEST: Final = 1 << 16
_LAST_PORT: Final = 65_535
_TRIES: Final = 50
_LOOK_S: Final = 0.2
"""How often a track that is silent looks whether it is over."""

Sockets = tuple[socket.socket, socket.socket]
Ports = tuple[int, int]


@dataclass(slots=True)
class _Track:
    """One track's ports: where libav listens, ours towards it, ours towards the camera, the camera's."""

    near: Ports
    outer: Sockets
    inner: Sockets | None = None
    far: Ports | None = None


class Datagrams:
    """The ports of one conversation with the camera at `address`; `heard` is called for each of its datagrams."""

    def __init__(self, address: str, heard: Callable[[], None]) -> None:
        self._address, self._heard = address, heard
        self._threads: list[threading.Thread] = []
        self._asked: _Track | None = None
        self._closed = threading.Event()

    def request(self, head: bytes) -> bytes:
        """A request of libav's: the camera is told of our ports."""
        others, way = _apart(head)
        ports = _ports(_CLIENT.search(way))
        if ports is None or not head.startswith(b"SETUP"):
            return head
        if self._asked is not None:  # the one before was not granted
            for one in self._asked.outer:
                one.close()
        self._asked = _Track(ports, _pair("" if ":" not in self._address else "::"))
        return _with(others, _named(b"client_port", _numbers(self._asked.outer)))

    def answer(self, head: bytes) -> bytes:
        """An answer of the camera's: libav is told of our ports, and of nothing else about the way."""
        others, way = _apart(head)
        track, ports = self._asked, _ports(_SERVER.search(way))
        if track is None or ports is None:
            return others
        self._asked, track.far, track.inner = None, ports, _pair("127.0.0.1")
        thread = threading.Thread(target=self._carry, args=(track, track.inner), daemon=True, name="relay")
        self._threads.append(thread)
        thread.start()
        return _with(others, _named(b"client_port", track.near), _named(b"server_port", _numbers(track.inner)))

    def close(self) -> None:
        """End every track; returns when its ports are free."""
        self._closed.set()
        if self._asked is not None:
            for one in self._asked.outer:
                one.close()
        for thread in self._threads:
            thread.join(2 * _LOOK_S)

    def _carry(self, track: _Track, inner: Sockets) -> None:
        assert track.far is not None
        inward = {track.outer[n]: (inner[n], ("127.0.0.1", track.near[n])) for n in range(2)}
        outward = {inner[n]: (track.outer[n], (self._address, track.far[n])) for n in range(2)}
        everyone = [*inward, *outward]
        try:
            while not self._closed.is_set():
                for ready in select.select(everyone, [], [], _LOOK_S)[0]:
                    data, (sender, *_) = ready.recvfrom(_LONGEST)
                    if ready in outward:
                        through, to = outward[ready]
                    elif sender == self._address:
                        self._heard()
                        through, to = inward[ready]
                    else:
                        continue
                    through.sendto(data, to)
        except OSError:
            return
        finally:
            for one in everyone:
                one.close()


def _pair(host: str) -> Sockets:
    """An even port and the odd one behind it, as RTP and RTCP want them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(_TRIES):
        first = socket.socket(family, socket.SOCK_DGRAM)
        second = socket.socket(family, socket.SOCK_DGRAM)
        try:
            first.bind((host, 0))
            port = first.getsockname()[1]
            second.bind((host, port + 1 if port % 2 == 0 else port - 1))
        except OSError:
            first.close()
            second.close()
            continue
        for one in (first, second):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return (first, second) if port % 2 == 0 else (second, first)
    raise OSError("no two neighbouring ports are free")


def _numbers(sockets: Sockets) -> Ports:
    return sockets[0].getsockname()[1], sockets[1].getsockname()[1]


def _apart(head: bytes) -> tuple[bytes, bytes]:
    """A head without what it says of transport, and that: what stands elsewhere, as in a URL, means nothing here."""
    lines = head.split(b"\r\n")
    way = [line for line in lines if line.lower().startswith(b"transport:")]
    return b"\r\n".join(line for line in lines if line not in way), b"".join(way)


def _with(head: bytes, *ways: bytes) -> bytes:
    return head + b"\r\nTransport: " + b";".join((b"RTP/AVP/UDP;unicast", *ways))


def _ports(found: re.Match[bytes] | None) -> Ports | None:
    if found is None:
        return None
    first = int(found[1])
    second = int(found[2]) if found[2] else first + 1
    return (first, second) if max(first, second) <= _LAST_PORT else None


def _named(name: bytes, ports: Ports) -> bytes:
    return b"%s=%d-%d" % (name, *ports)
