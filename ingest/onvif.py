"""ONVIF: which cameras answer on this network, and which streams one has. Needs the extra `onvif`.

The SOAP is zeep's and the descriptions of the services come with onvif-zeep-async; what is sent goes through the guard
like everything else, and nothing but the descriptions on this disk is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from ingest.errors import DeadlineExceeded, Invalid, SourceRefused, SourceUnavailable, Unauthorised
from ingest.fetch import Call, Credentials, exchange
from ingest.guard import Guard
from ingest.sources import Secret

_LOG = logging.getLogger(__name__)
_MOST: Final = 1 << 20
"""Bytes of an answer at most."""
_MOST_PROFILES: Final = 64
"""Each costs a question, and a camera may name as many as fit in an answer."""
_MOST_ANSWERING: Final = 256
_AT_ONCE: Final = 16
"""Left alone, wsdiscovery takes ten answers a second."""
_LONGEST: Final = 200
"""Characters of an address at most, and of a name."""
_DEVICE: Final = "/onvif/device_service"
_NAMES: Final = "http://www.onvif.org/ver10"
_VIDEO: Final = ("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")


@dataclass(frozen=True, slots=True)
class Answering:
    """A camera that answered on this network; `address` is what `streams` takes."""

    address: str
    name: str
    hardware: str


@dataclass(frozen=True, slots=True)
class CameraStream:
    """One of a camera's streams; `source` is its URL without a login."""

    name: str
    source: str
    codec: str
    width: int
    height: int
    fps: float


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks a camera; nobody when empty."""

    username: str = ""
    password: Secret = field(default_factory=Secret)


def discover(guard: Guard, timeout_s: float = 3.0) -> list[Answering]:
    """Every camera that answers WS-Discovery within `timeout_s`, by address; a few hundred at most.

    Anyone on this network may answer, with anything: see `answering`. Nothing is sent to who answers. Raises
    `SourceRefused` where all who answered may not be reached.
    """
    _extra("wsdiscovery")
    from wsdiscovery import QName
    from wsdiscovery.discovery import ThreadedWSDiscovery

    found: dict[str, Answering] = {}
    refused = set[str]()

    class Search(ThreadedWSDiscovery):  # type: ignore[misc]  # wsdiscovery has no types
        """Hears answers alone: greetings, farewells and proxies would have it ask elsewhere, or forget."""

        def envReceived(self, env: Any, addr: tuple[str, int]) -> None:  # noqa: N802  # its name for it
            for match in env.getProbeResolveMatches():
                if _VIDEO in [(kind.getNamespace(), kind.getLocalname()) for kind in match.getTypes()]:
                    scopes = [str(scope.getValue()) for scope in match.getScopes()]
                    try:
                        one = answering(guard, addr[0], match.getXAddrs(), scopes)
                    except SourceRefused:
                        refused.add(addr[0])
                        continue
                    if one is not None and len(found) < _MOST_ANSWERING:
                        found.setdefault(one.address, one)

    search = Search()
    search.start()
    for thread in filter(None, (search._networkingThread_v4, search._networkingThread_v6)):  # noqa: SLF001
        thread._recvMessages = _undaunted(thread._recvMessages)  # noqa: SLF001  # there is no other way in
    try:
        search.searchServices(types=[QName(*_VIDEO)], timeout=timeout_s)
    finally:
        search.stop()
    if refused and not found:
        raise SourceRefused(
            f"What answered, {len(refused)} in all, is at addresses that may not be reached from here.",
            advice="If it is your cameras, add their network to HINDSIGHT_NETWORKS.",
        )
    return [found[address] for address in sorted(found)]


def _undaunted(receive: Callable[[], None]) -> Callable[[], None]:
    """`receive`, which takes one answer and then rests, for several; others are heard also where one sent what
    wsdiscovery does not survive."""

    def received() -> None:
        for _ in range(_AT_ONCE):
            try:
                receive()
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # as it parses
                _LOG.debug("An answer to the search for cameras was nonsense: %r", error)

    return received


def answering(guard: Guard, source: str, told: Iterable[str], scopes: Sequence[str]) -> Answering | None:
    """Who answered from the address `source`: at the first address that it `told` that is just that.

    None, where it told no such address: a neighbour who names someone else is not listed, and no login is asked for in
    that name. Raises `SourceRefused` where its own may not be reached.
    """
    for address in told:
        with suppress(ValueError, Invalid):
            parts = urlsplit(address)
            own = ip_address(parts.hostname or "") == ip_address(source)
            if own and parts.scheme in ("http", "https") and "@" not in parts.netloc and len(address) <= _LONGEST:
                guard.url(address)
                return Answering(address, _scope(scopes, "name"), _scope(scopes, "hardware"))
    return None


def streams(address: str, login: Login, guard: Guard, *, timeout_s: float = 10.0) -> list[CameraStream]:
    """The streams of the camera at `address`: a host, host:port, or the address of its device service.

    Raises `Unauthorised`, `SourceRefused`, `SourceUnavailable`, `DeadlineExceeded`.
    """
    _extra("zeep")
    _extra("onvif")
    device = address if "://" in address else f"http://{address}{_DEVICE}"
    with _understood(device):
        camera = _Camera(device, login, guard, timeout_s)
        media = camera.service("media", "Media", camera.media())
        told = [profile for profile in media.GetProfiles() if profile.VideoEncoderConfiguration]
        return [_stream(media, profile) for profile in told[:_MOST_PROFILES]]


class _Camera:
    """One camera's services, asked with its own clock: a login is only good for a few seconds of that."""

    def __init__(self, device: str, login: Login, guard: Guard, timeout_s: float) -> None:
        self._device, self._login = device, login
        words = login.username, login.password.reveal()
        self._transport = _transport(guard, timeout_s, Credentials(*words, openly=False) if login.username else None)
        self._now = _camera_time(self.service("devicemgmt", "Device", device).GetSystemDateAndTime())

    def media(self) -> str:
        """Where the media service is: the path that the camera tells, at the address where it answered."""
        told = self.service("devicemgmt", "Device", self._device).GetCapabilities(Category=["Media"])
        path = urlsplit(told.Media.XAddr).path
        return urlunsplit(urlsplit(self._device)._replace(path=path, query=""))

    def service(self, description: str, name: str, address: str) -> Any:
        from zeep import Client, Settings
        from zeep.wsse.username import UsernameToken

        token = None
        if self._login.username and hasattr(self, "_now"):
            words = self._login.username, self._login.password.reveal()
            token = UsernameToken(*words, use_digest=True, created=self._now)
        settings = Settings(strict=False, forbid_dtd=True)
        wsdl = _descriptions() / f"{description}.wsdl"
        client = Client(str(wsdl), wsse=token, transport=self._transport, settings=settings)
        spoken = "device" if name == "Device" else name.lower()
        return client.create_service(f"{{{_NAMES}/{spoken}/wsdl}}{name}Binding", address)


def _transport(guard: Guard, timeout_s: float, credentials: Credentials | None) -> Any:
    from requests import Response
    from zeep.transports import Transport

    class Guarded(Transport):  # type: ignore[misc]  # zeep has no types
        """Sends through the guard; loads files alone."""

        def post(self, address: str, message: bytes, headers: dict[str, str]) -> Response:
            call = Call("POST", address, body=message, headers=headers, timeout_s=timeout_s, login=credentials)
            with exchange(guard, call) as answer:
                told = Response()
                told.status_code = answer.status
                told.headers["Content-Type"] = answer.header("Content-Type")
                told._content = answer.read_at_most(_MOST)  # noqa: SLF001  # there is no other way to make one
            if told.status_code == 401:
                raise Unauthorised("The camera wants another login.", advice="Check the user name and the password.")
            return told

        def _load_remote_data(self, url: str) -> bytes:
            raise SourceRefused(f"A camera's answer points to {url}.", advice="Give the address of its stream.")

    return Guarded(timeout=timeout_s)


@contextmanager
def _understood(device: str) -> Iterator[None]:
    """What zeep, or the camera through it, complains of, as ours."""
    from lxml.etree import LxmlError
    from zeep.exceptions import Error, Fault

    host = urlsplit(device).hostname
    try:
        yield
    except Fault as error:
        codes = " ".join(str(code) for code in (error.code, *(error.subcodes or ())))
        if "NotAuthorized" in codes or "FailedAuthentication" in codes or "not authorized" in str(error).lower():
            raise Unauthorised(f"{host} wants another login.", advice="Check its ONVIF user and password.") from error
        raise SourceUnavailable(f"{host} refused: {error.message}.", advice="Look at its ONVIF settings.") from error
    except TimeoutError as error:
        raise DeadlineExceeded(f"{host} does not answer.", advice="Check that ONVIF is switched on.") from error
    except (Error, LxmlError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SourceUnavailable(f"{host} does not speak ONVIF.", advice="Give the address of its stream.") from error


def _stream(media: Any, profile: Any) -> CameraStream:
    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    told = media.GetStreamUri(StreamSetup=setup, ProfileToken=profile.token)
    video = profile.VideoEncoderConfiguration
    parts = urlsplit(told.Uri)
    host = parts.netloc.rpartition("@")[2]
    return CameraStream(
        name=str(profile.Name),
        source=urlunsplit(parts._replace(netloc=host)),
        codec=str(video.Encoding),
        width=int(video.Resolution.Width),
        height=int(video.Resolution.Height),
        fps=float(video.RateControl.FrameRateLimit) if video.RateControl else 0.0,
    )


def _camera_time(told: Any) -> datetime | None:
    """What the camera takes the time for; None: it does not say, and ours must do."""
    utc = getattr(told, "UTCDateTime", None)
    if utc is None:
        return None
    date, time = utc.Date, utc.Time
    return datetime(date.Year, date.Month, date.Day, time.Hour, time.Minute, time.Second, tzinfo=UTC)


def _scope(scopes: Sequence[str], name: str) -> str:
    mark = f"/{name}/"
    told = next((unquote(scope.partition(mark)[2]) for scope in scopes if mark in scope), "")
    return "".join(letter for letter in told if letter.isprintable())[:_LONGEST]


def _descriptions() -> Path:
    found = find_spec("onvif")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "wsdl"


def _extra(module: str) -> None:
    if find_spec(module) is None:
        how = "pip install -c constraints.txt -e '.[onvif]'"
        raise Invalid("ONVIF is not installed.", advice=f"In Hindsight's folder: {how}")
