"""The service as seen from the command line: HTTP in, our own errors out."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from ingest.errors import (
    DeadlineExceeded,
    HindsightError,
    SourceUnavailable,
    Transient,
    Unauthorised,
    by_code,
)

if TYPE_CHECKING:
    import httpx

FOLLOWED_SILENCE_S = 45.0
"""The service says that it is still there three times as often."""
AGAIN_S = 1.0
Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event. `identity` is where to continue from; without a name it says only that."""

    name: str
    data: Any
    identity: str


class Client:
    """Talks to the service at the configured address, with the configured key."""

    def __init__(self, *, timeout_s: float = 120, address: str = "", key: str = "") -> None:
        import httpx

        if not address:
            from api import settings

            found = settings.load()
            address, key = found.address, found.key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.address = address
        self._http = httpx.Client(
            base_url=address, headers=headers, timeout=httpx.Timeout(timeout_s, connect=5), trust_env=False
        )
        weakref.finalize(self, self._http.close)  # whoever made it need not think of it

    def get(self, path: str, **params: object) -> Any:
        return self._json("GET", path, params=_given(params))

    def post(self, path: str, body: object | None = None, **params: object) -> Any:
        return self._json("POST", path, json=body, params=_given(params))

    def patch(self, path: str, body: object) -> Any:
        return self._json("PATCH", path, json=body)

    def put(self, path: str, content: bytes, **params: object) -> Any:
        return self._json("PUT", path, params=_given(params), content=content)

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path)

    def send_form(self, path: str, fields: dict[str, object], picture: bytes | None = None) -> Any:
        files = {"image": ("picture", picture)} if picture is not None else None
        return self._json("POST", path, files=files, data=_given(fields))

    def events(
        self, method: str, path: str, body: object | None = None, *, silence_s: float | None = None, **params: object
    ) -> Iterator[Event]:
        """Server-sent events; an event `problem` is raised. `silence_s`: the longest wait, keep-alives included."""
        import httpx

        with self._speaking():
            patience = httpx.Timeout(silence_s, connect=5)
            with self._http.stream(method, path, json=body, params=_given(params), timeout=patience) as answer:
                _check(answer)
                name = identity = ""
                for line in answer.iter_lines():
                    field, _, value = line.partition(": ")
                    if field == "event":
                        name = value
                    elif field == "id":
                        identity = value
                    elif field == "data":
                        data = json.loads(value)
                        if name == "problem":
                            raise _error(data)
                        yield Event(name, data, identity)
                    elif not line and not name:
                        yield Event("", None, identity)  # where the stream begins
                    name = name if line else ""

    def follow(self, path: str, told: Callable[[str], None]) -> Iterator[Event]:
        """Events without end: a connection that was lost is made again, and goes on behind the last event. `told`
        hears when it is lost and when it is back. Raises when there was none from the first."""
        import time

        last: str | None = None
        while True:
            lost = last is not None
            try:
                for event in self.events("GET", path, silence_s=FOLLOWED_SILENCE_S, since=last):
                    if lost:
                        told("The service is back.")
                    lost, last = False, event.identity
                    if event.name:
                        yield event
            except Transient:
                if last is None:
                    raise
            if not lost:
                told("The service stopped; waiting until it is back.")
            time.sleep(AGAIN_S)

    def download(self, path: str, out: IO[bytes], progress: Callable[[int, int], None], **params: object) -> Headers:
        """Writes the body to `out`; the headers. `progress` hears the bytes that came, and how many there are."""
        with self._speaking(), self._http.stream("GET", path, params=_given(params)) as answer:
            _check(answer)
            came, size = 0, int(answer.headers.get("content-length", 0))
            for piece in answer.iter_bytes(1 << 16):
                came += out.write(piece)
                progress(came, size)
            return dict(answer.headers)

    def _json(self, method: str, path: str, **request: Any) -> Any:
        with self._speaking():
            answer = self._http.request(method, path, **request)
            _check(answer)
            return answer.json() if answer.content else None

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(
                f"The service at {self.address} took too long.", advice="Look at `hindsight health`."
            ) from error
        except httpx.TransportError as error:
            raise SourceUnavailable(
                f"No service answers at {self.address}.",
                advice="Start it with `hindsight serve`, or set HINDSIGHT_HOST and HINDSIGHT_PORT.",
            ) from error


def named(name: str) -> str:
    """A name as part of a path."""
    return quote(name, safe="")


def where(stream: Sequence[str] | None, start: str | None, end: str | None) -> dict[str, object]:
    return {"streams": list(stream or ()), "from": start, "to": end}


def _given(params: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _check(answer: httpx.Response) -> None:
    if answer.status_code < 400 or answer.headers.get("content-type") == "application/json":
        return  # of a sick service, too, the health report is an answer
    answer.read()
    try:
        raise _error(answer.json())
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise HindsightError(
            f"The service answered {answer.status_code}.", advice="Is it Hindsight at this address?"
        ) from error


def _error(problem: dict[str, Any]) -> HindsightError:
    kind = by_code(str(problem["type"]).removeprefix("urn:hindsight:"))
    kind = Unauthorised if problem["status"] == 401 else kind
    return kind(str(problem["detail"]), advice=str(problem.get("advice", "")))
