"""Who may call, and what browsers may do: the middleware in front of every route.

Pure ASGI, so that streams of events are not buffered. In order: the Host header (DNS rebinding), the origin of requests
that change something (cross-site forgery), the key, the size of the body; then security headers on the way out.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import KeyWanted, problem, respond
from ingest.errors import Denied, HindsightError, TooLarge

COOKIE = "hindsight"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Border:
    """What the middleware enforces. Bodies over `body_limit` bytes are refused, except chunks of uploads."""

    key: str = ""
    hosts: Sequence[str] = ()
    body_limit: int = 16 * 1024 * 1024
    chunk_limit: int = 64 * 1024 * 1024

    @property
    def cookie(self) -> str:
        """What the page's cookie holds: proof of the key that does not reveal it."""
        return hmac.new(self.key.encode(), b"the page's cookie", hashlib.sha256).hexdigest()

    def limit(self, path: str) -> int:
        return self.chunk_limit if path.startswith("/v1/uploads/") else self.body_limit


class Guarded:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, border: Border) -> None:
        self._app = app
        self._border = border

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        secured = _with_headers(send)
        response = self._exchange(scope)
        try:
            if response is None:
                check_host(headers.get("host", ""), self._border.hosts)
                check_origin(scope["method"], headers)
                self._check_key(headers)
                limit = self._border.limit(scope["path"])
                check_length(headers.get("content-length"), limit)
                receive = _limited(receive, limit)
        except HindsightError as error:
            response = respond(problem(error))
        await (response or self._app)(scope, receive, secured)

    def _exchange(self, scope: Scope) -> Response | None:
        """`/?key=…`, opened once in a browser, becomes a cookie, and the key leaves the address bar."""
        offered = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
        if scope["path"] != "/" or not offered or not self._border.key or not same(offered, self._border.key):
            return None
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, self._border.cookie, httponly=True, samesite="strict", max_age=30 * 86400)
        return response

    def _check_key(self, headers: Headers) -> None:
        if not self._border.key:
            return
        scheme, _, offered = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(offered.strip(), self._border.key):
            return
        if same(_cookie(headers.get("cookie", "")), self._border.cookie):
            return
        raise KeyWanted(
            "This service wants its key.",
            advice="Send it as `Authorization: Bearer KEY`, set HINDSIGHT_KEY for the command line, or open /?key=KEY.",
        )


def same(offered: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(offered.encode(), expected.encode())


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        raise Denied("The request says it is for, or comes from, no address.", advice="Use a browser.") from None


def check_host(host: str, allowed: Sequence[str]) -> None:
    """A page of another site that made its own name point here would send that name: refuse all but ours."""
    name = _parts(f"//{host}").hostname or "" if host else ""
    if name == "localhost" or name.endswith(".localhost") or name in {other.lower() for other in allowed}:
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Denied(
            f'This service does not answer to the name "{name}".', advice="Add it to HINDSIGHT_ALLOWED_HOSTS."
        ) from None


def check_origin(method: str, headers: Headers) -> None:
    """A request that changes something must not come from a page of another site."""
    if method in _SAFE:
        return
    origin = headers.get("origin")
    foreign = origin is not None and _parts(origin).netloc != headers.get("host", "")
    if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Denied("Pages of other sites may not change anything here.", advice="Use this service's own page.")


def check_length(announced: str | None, limit: int) -> None:
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over the limit of {limit} bytes.", advice="Send large files as an upload, in pieces.")


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _limited(receive: Receive, limit: int) -> Receive:
    """Counts what really arrives: a chunked body announces no length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return secured
