"""HTTP over sockets that the guard dials: exchanges, and remote files that libav can read like local ones."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urljoin, urlsplit

from ingest.clock import SystemClock
from ingest.errors import DeadlineExceeded, NotFound, SourceRefused, SourceUnavailable, Unauthorised

if TYPE_CHECKING:
    from ingest.guard import Guard

REDIRECTS: Final = 3
_MOVED = (301, 302, 303, 307, 308)
_PRIVATE: Final = ("authorization", "cookie")
_LONGEST_LINE: Final = 1 << 20
_DIGITS: Final = 18
"""Of a size at most: libav counts in 63 bits."""
_SKIP: Final = 1 << 18
"""Bytes worth reading and throwing away rather than asking anew."""


class Credentials:
    """A user name and a password: said as they are until a server wants a digest of them, as most cameras do.

    Where they are not to be said `openly`, only a digest is.
    """

    def __init__(self, username: str, password: str, *, openly: bool = True) -> None:
        self._words, self._openly = (username, password), openly
        self._digest: Any = None

    def said(self, method: str, target: str) -> tuple[str, dict[str, str]]:
        """What to ask for, written as a digest has it, and the header that goes with it."""
        if self._digest is None:
            return target, basic(*self._words) if self._openly else {}
        request = _digested(method, target)
        next(self._digest.auth_flow(request))
        return request.url.raw_path.decode("ascii"), {"Authorization": request.headers["Authorization"]}

    def wanted(self, method: str, target: str, challenges: list[str]) -> bool:
        """Whether `challenges`, of an answer 401, ask for a digest: it is what is said from now on."""
        import httpx

        digest, request = httpx.DigestAuth(*self._words), _digested(method, target)
        flow = digest.auth_flow(request)
        next(flow)
        refused = httpx.Response(401, headers=[("WWW-Authenticate", one) for one in challenges], request=request)
        try:
            flow.send(refused)
        except (StopIteration, KeyError, httpx.ProtocolError):  # another way of asking, or none that is understood
            return False
        self._digest = digest
        return True


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask for. `login` and `certificate`, the SHA-256 of the only one that is accepted, are for this server.
    `led`: another server named this one, and no person did."""

    method: str
    url: str
    json: object | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10
    granted: bool = False
    body: bytes | None = None
    login: Credentials | None = None
    certificate: str = ""
    led: bool = False

    def to(self, url: str) -> Call:
        """The same asked of another address; what only this server is to know stays here."""
        there, here = urlsplit(url), urlsplit(self.url)
        if there[:2] == here[:2]:
            return replace(self, url=url)
        public = {name: value for name, value in self.headers.items() if name.lower() not in _PRIVATE}
        led = self.led or there.hostname != here.hostname
        return replace(self, url=url, headers=public, granted=False, login=None, certificate="", led=led)


class Exchange:
    """One answered request: its status, and its body while the connection lasts."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, call: Call) -> None:
        self._connection = connection
        self._response = response
        self._call = call
        self.status = response.status
        self.url = call.url

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def header(self, name: str) -> str:
        return self._response.getheader(name) or ""

    @property
    def challenges(self) -> list[str]:
        """In which ways the server wants to be told who asks."""
        return self._response.headers.get_all("WWW-Authenticate") or []

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, as soon as there are any; empty at the end. Raises when the body breaks off."""
        try:
            data = self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            _unreachable(self._call.url, error)
        if not data and self._response.length:
            raise SourceUnavailable(f"{_host(self.url)} broke off in the middle.", advice="It is tried again.")
        return data

    def read_at_most(self, limit: int) -> bytes:
        """The body, cut at `limit` bytes, within the call's time as a whole."""
        clock = SystemClock()
        end = clock.monotonic() + self._call.timeout_s
        parts: list[bytes] = []
        while limit > 0 and (part := self.read(limit)):
            parts.append(part)
            limit -= len(part)
            if clock.monotonic() > end:
                raise DeadlineExceeded(f"{_host(self.url)} is too slow.", advice="Try again later.")
        return b"".join(parts)

    def lines(self) -> Iterator[str]:
        rest = b""
        while part := self.read(1 << 16):
            *whole, rest = (rest + part).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise SourceUnavailable(f"{_host(self.url)} sent a line without end.", advice="Check the address.")
            yield from (line.decode("utf-8", "replace").rstrip("\r") for line in whole)
        if rest:
            yield rest.decode("utf-8", "replace")

    def expect_success(self) -> None:
        """Raise what a status that is no 2xx means; the exchange is over then."""
        if 200 <= self.status < 300:
            return
        self.close()
        host = _host(self.url)
        if self.status in (401, 403):
            raise Unauthorised(f"{host} wants other credentials.", advice="Check the user name and the password.")
        if self.status in (404, 410):
            raise NotFound(f"{host} has nothing at this address.", advice="Check the path of the URL.")
        raise SourceUnavailable(f"{host} answered {self.status}.", advice="Look at the server or try again later.")


def exchange(guard: Guard, call: Call) -> Exchange:
    """Ask, following at most `REDIRECTS` redirects, each of which the guard checks like the first address."""
    for _ in range(REDIRECTS + 1):
        answer = _known(guard, call)
        target = answer.header("Location")
        if answer.status not in _MOVED or not target:
            return answer
        answer.close()
        call = _redirected(call, urljoin(call.url, target))
    raise SourceRefused(f"{_host(call.url)} redirects too often.", advice="Use the final address.")


def _redirected(call: Call, url: str) -> Call:
    if urlsplit(url).scheme not in ("http", "https"):
        raise SourceRefused("The server redirects to something that is not HTTP.", advice="Use the final address.")
    return call.to(url)


def _known(guard: Guard, call: Call) -> Exchange:
    """Ask, and once more where the server wants to be told in another way who asks."""
    answer = _once(guard, call)
    if answer.status != 401 or call.login is None:
        return answer
    if not call.login.wanted(call.method, _target(call.url), answer.challenges):
        return answer
    answer.close()
    return _once(guard, call)


def _once(guard: Guard, call: Call) -> Exchange:
    parts = urlsplit(call.url)
    if parts.scheme not in ("http", "https"):
        raise SourceRefused(f"{parts.scheme}: is not HTTP.", advice="Use an http or https address.")
    pinned = guard.url(call.url, granted=call.granted, led=call.led)
    connection = http.client.HTTPConnection(pinned.host, pinned.port)
    connection.default_port = 443 if parts.scheme == "https" else 80
    connection.sock = guard.dial(pinned, timeout_s=call.timeout_s, certificate=call.certificate)
    body = call.body if call.json is None else json.dumps(call.json).encode()
    target = _target(call.url)
    target, login = call.login.said(call.method, target) if call.login is not None else (target, {})
    headers = {"User-Agent": "hindsight", "Accept-Encoding": "identity", **login, **call.headers}
    if call.json is not None:
        headers.setdefault("Content-Type", "application/json")
    try:
        with _in_time(connection.sock, call.timeout_s):
            connection.request(call.method, target, body, headers)
            response = connection.getresponse()
        return Exchange(connection, response, call)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        connection.close()
        _unreachable(call.url, error)


@contextmanager
def _in_time(connection: socket.socket, timeout_s: float) -> Iterator[None]:
    """A byte now and then is in time for the socket, and would keep whoever asks waiting for a head without end."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():  # a head that is cut may look whole
            raise TimeoutError


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _digested(method: str, target: str) -> Any:
    """A request that a digest can be made of; whose it is is no part of that."""
    import httpx

    return httpx.Request(method, httpx.URL("http://camera").copy_with(raw_path=target.encode("ascii", "replace")))


def _unreachable(url: str, error: Exception) -> NoReturn:
    if isinstance(error, TimeoutError):
        raise DeadlineExceeded(f"{_host(url)} did not answer in time.", advice="Try again later.") from error
    raise SourceUnavailable(f"{_host(url)} broke the connection.", advice="Look at the server or try again.") from error


def _host(url: str) -> str:
    return urlsplit(url).hostname or "The server"


def basic(username: str, password: str) -> dict[str, str]:
    """The header of HTTP basic authentication; nothing when there is no login."""
    if not username and not password:
        return {}
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


class RemoteFile(io.RawIOBase):
    """A file behind HTTP, read by byte ranges where the server has them, and mended when the connection breaks.

    `size` is None for a body without a stated length: a camera's endless stream. `kind` is what the server calls it.
    """

    def __init__(self, guard: Guard, call: Call) -> None:
        self.name = urlsplit(call.url).path.rpartition("/")[2] or "stream"
        self._guard = guard
        self._call = call
        self._at = 0
        self._mended = 0
        self._answer = self._ask(0)
        self.kind = self._answer.header("Content-Type").partition(";")[0].strip().lower()
        total = self._answer.header("Content-Range").rpartition("/")[2] or self._answer.header("Content-Length")
        self.size = int(total) if total.isdecimal() and len(total) <= _DIGITS else None
        self._ranges = self._answer.status == 206 and self.size is not None

    def _ask(self, start: int) -> Exchange:
        headers = {**self._call.headers, "Range": f"bytes={start}-"}
        answer = exchange(self._guard, replace(self._call, headers=headers))
        answer.expect_success()
        if start and answer.status != 206:
            answer.close()
            raise SourceUnavailable("The server does not continue where it stopped.", advice="Download the file.")
        return answer

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._ranges

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            raise io.UnsupportedOperation("remote files are read piece by piece")
        if self.size is not None and self._at >= self.size:
            return b""
        try:
            data = self._answer.read(size)
        except (SourceUnavailable, DeadlineExceeded):
            if not self._ranges or self._mended >= REDIRECTS:
                raise
            self._mended += 1
            self._reopen()
            return self.read(size)
        self._at += len(data)
        self._mended = 0 if data else self._mended
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self._ranges or self.size is None:
            raise io.UnsupportedOperation("this server has no byte ranges")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        target = max(0, base + offset)
        ahead = target - self._at
        self._at = target
        if 0 < ahead <= _SKIP and target < self.size:
            while ahead and (part := self._answer.read(ahead)):
                ahead -= len(part)
        elif ahead and target < self.size:
            self._reopen()
        return target

    def _reopen(self) -> None:
        self._answer.close()
        self._answer = self._ask(self._at)

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._answer.close()
        super().close()
