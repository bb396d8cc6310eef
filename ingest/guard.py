"""The only opener of outbound sockets and of paths that users name.

An address is resolved once, every answer is checked, and the checked address is dialled under its original name, so a
name that changes its meaning between the check and the call (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Final, Literal
from urllib.parse import urlsplit

from ingest.errors import Invalid, NotFound, SourceRefused, SourceUnavailable, Unreachable

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port -> every address of the host."""
Private = Literal["named", "granted"]
"""When a private address (RFC 1918, ULA) is reached: where a person named its host, or only in a granted network."""

PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "srt": 9000}
_TLS = ("https", "rtsps")
_PRIVATE = tuple(ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_NEVER = tuple(ip_network(n) for n in ("fd00:ec2::/32", "fd20:ce::/32", "168.63.129.16/32", "192.0.0.0/24", "2002::/16",
                                       "2001::/32"))  # fmt: skip
"""Metadata services inside the private and the public ranges, and tunnels that hide another address."""
_NAT64 = ip_network("64:ff9b::/96")
_DEVICE = re.compile(r"/dev/video\d{1,3}")
_TRIED: Final = 4
"""Of a host's addresses, how many are dialled at most."""


@dataclass(frozen=True, slots=True)
class PinnedUrl:
    """A URL whose host has been looked up and allowed: `address` is what may be dialled, `host` what it is called;
    `others` are dialled where `address` does not answer."""

    url: str
    address: str
    host: str
    port: int
    others: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered; `body` is cut at 64 kB."""

    status: int
    body: bytes


class Guard:
    """Files must lie in one of `roots`; addresses must be public, private as `private` says, or within `networks`.

    Loopback, link-local, cloud metadata, multicast and reserved addresses are refused unless listed in `networks`.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        networks: Sequence[str] = (),
        resolver: Resolver | None = None,
        *,
        private: Private = "named",
    ) -> None:
        self._roots = tuple(Path(root).resolve() for root in roots)
        self.networks = tuple(str(network) for network in networks)
        self.private: Private = private
        self._granted = tuple(ip_network(network, strict=False) for network in networks)
        self._resolver = resolver or resolve

    # --- paths -------------------------------------------------------------------------------------------------

    def path(self, path: Path | str) -> Path:
        """The real path of a regular file inside a root. Raises `SourceRefused`, `NotFound`, `Invalid`."""
        real, mode = self._inside(path)
        if not mode:
            raise NotFound(f"There is no file {path}.", advice="Check the path.")
        if not stat.S_ISREG(mode):
            raise SourceRefused(f"{path} is not an ordinary file.", advice="Give the path of a video file.")
        return real

    def folder(self, path: Path | str) -> Path:
        """The real path of a folder inside a root. Raises `SourceRefused`, `NotFound`, `Invalid`."""
        real, mode = self._inside(path)
        if not stat.S_ISDIR(mode):
            raise NotFound(f"There is no folder {path}.", advice="Check the path, and that its disk is there.")
        return real

    def _inside(self, path: Path | str) -> tuple[Path, int]:
        """What `path` really leads to inside a root, and its mode; 0 when nothing is there."""
        try:
            real = Path(path).expanduser().resolve()
            inside = any(real.is_relative_to(root) for root in self._roots)
            mode = 0
            with suppress(FileNotFoundError):
                mode = real.stat().st_mode if inside else 0
        except (OSError, ValueError, RuntimeError) as error:
            raise Invalid(f"{str(path)[:200]!r} is not a usable path.", advice="Check the path.") from error
        if not inside:
            raise SourceRefused(
                f"{path} is outside the folders that may be read.",
                advice="Move it into one of them, add its folder to HINDSIGHT_ROOTS, or upload it.",
            )
        return real, mode

    def open(self, path: Path | str) -> BinaryIO:
        """Open a file that `path` allows, without following a link that was put there since."""
        real = self.path(path)
        try:
            handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {path}.", advice="Check the path.") from error
        except OSError as error:
            raise SourceRefused(f"{path} cannot be opened ({error.strerror}).", advice="Check its rights.") from error
        if Path(f"/proc/self/fd/{handle}").readlink() != real or not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise SourceRefused(f"{path} changed while it was opened.", advice="Try again.")
        return os.fdopen(handle, "rb", buffering=0)

    def device(self, path: str) -> str:
        """A camera of this machine: `/dev/videoN`, a character device."""
        if not _DEVICE.fullmatch(path):
            raise SourceRefused(f"{path} is not a camera.", advice="Use /dev/video0 or another number.")
        try:
            mode = Path(path).stat().st_mode
        except OSError as error:
            raise NotFound(f"There is no camera {path}.", advice="Check that it is plugged in.") from error
        if not stat.S_ISCHR(mode):
            raise SourceRefused(f"{path} is not a camera.", advice="Use /dev/video0 or another number.")
        return path

    # --- addresses ---------------------------------------------------------------------------------------------

    def url(self, url: str, *, granted: bool = False, led: bool = False) -> PinnedUrl:
        """Resolve and check. `granted` is for addresses that the operator configured: any address will do. `led`: it
        was named by a server, and by no person; a private one will not do then."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise unreadable(error) from error
        if parts.scheme not in PORTS or not host:
            raise SourceRefused(f"URLs like {parts.scheme}: are not allowed.", advice=f"Allowed: {', '.join(PORTS)}.")
        port = port or PORTS[parts.scheme]
        try:
            addresses = [ip_address(text) for text in self._resolver(host, port)]
        except (OSError, ValueError) as error:
            raise Unreachable(f"The name {host} is not known.", advice="Check it and the network.") from error
        if not addresses:
            raise Unreachable(f"The name {host} has no address.", advice="Check it and the network.")
        if not granted and not all(self._allowed(address, led=led) for address in addresses):
            raise SourceRefused(
                f"{host} is at an address that may not be reached from here{', where a server led' if led else ''}.",
                advice="If it is meant, add its network to HINDSIGHT_NETWORKS, written like '[\"192.168.1.0/24\"]'.",
            )
        first, *others = _in_turn(addresses)
        return PinnedUrl(url, first, host, port, tuple(others))

    def _allowed(self, address: IPv4Address | IPv6Address, *, led: bool) -> bool:
        inner = _unwrapped(address)
        if any(inner in network for network in self._granted):
            return True
        if any(inner in network for network in _NEVER):
            return False
        if any(inner in network for network in _PRIVATE):
            return self.private == "named" and not led
        return inner.is_global and not inner.is_multicast and not inner.is_reserved

    def dial(self, pinned: PinnedUrl, *, timeout_s: float, certificate: str = "") -> socket.socket:
        """A connected socket, with TLS under the original name where the scheme asks for it.

        `certificate`: the SHA-256 of the one certificate that is accepted, whoever signed it.
        """
        where = f"{pinned.host}:{pinned.port}"
        plain = _connected(pinned, timeout_s)
        if pinned.scheme not in _TLS:
            return plain
        try:
            if not certificate:
                return ssl.create_default_context().wrap_socket(plain, server_hostname=pinned.host)
            shown, found = _unverified(plain, pinned.host)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise self._unknown_certificate(pinned, timeout_s, error) from error
        except (OSError, ValueError) as error:
            plain.close()
            raise SourceUnavailable(
                f"{where} does not speak TLS as it should ({error}).", advice="Check its certificate and its clock."
            ) from error
        if found != certificate:
            shown.close()
            raise SourceRefused(
                f"{where} shows another certificate than the one that was named.",
                advice=f"If it was renewed, name the new one: #sha256={found}",
            )
        return shown

    def _unknown_certificate(
        self, pinned: PinnedUrl, timeout_s: float, error: ssl.SSLCertVerificationError
    ) -> SourceUnavailable:
        """Most cameras sign their own certificate: say what it is, so that a person can compare and name it."""
        advice = "Check its certificate and its clock."
        try:
            with _connected(pinned, timeout_s) as plain:
                shown, found = _unverified(plain, pinned.host)
                shown.close()
            advice = f"If its certificate is this one, put it behind the address: #sha256={found}"
        except (OSError, ValueError, SourceUnavailable):
            pass  # the advice stays general
        where = f"{pinned.host}:{pinned.port}"
        return SourceUnavailable(f"Nobody known vouches for {where} ({error.verify_message}).", advice=advice)

    # --- HTTP --------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        url: str,
        *,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10,
        granted: bool = False,
    ) -> Response:
        """One HTTP exchange, at most three redirects, each checked again."""
        from ingest.fetch import Call, exchange

        with exchange(self, Call(method, url, json, headers or {}, timeout_s, granted)) as answer:
            return Response(answer.status, answer.read_at_most(64 * 1024))

    def stream_lines(
        self,
        method: str,
        url: str,
        *,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
        granted: bool = False,
    ) -> Iterator[str]:
        """The lines of an answer as they come; `timeout_s` is for each wait. Raises when the status is no 2xx."""
        from ingest.fetch import Call, exchange

        with exchange(self, Call(method, url, json, headers or {}, timeout_s, granted)) as answer:
            answer.expect_success()
            yield from answer.lines()


def unreadable(error: ValueError) -> Invalid:
    """What is wrong with a URL, without the piece of it that the error quotes: it may be of a password."""
    why = re.sub(r"""(['"]).*\1""", "…", str(error), flags=re.DOTALL)
    return Invalid(f"Not a readable URL: {why}.", advice="Check the address and the port.")


def resolve(host: str, port: int) -> list[str]:
    """Every address of `host`, asked of the system."""
    return [str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _in_turn(addresses: Sequence[IPv4Address | IPv6Address]) -> list[str]:
    """A few of them, IPv6 and IPv4 by turns, as the system would have them: often the one kind leads nowhere."""
    kinds = [[str(one) for one in dict.fromkeys(addresses) if one.version == version] for version in (4, 6)]
    kinds.sort(key=lambda kind: str(addresses[0]) not in kind)
    return [one for turn in zip_longest(*kinds) for one in turn if one is not None][:_TRIED]


def _connected(pinned: PinnedUrl, timeout_s: float) -> socket.socket:
    """The first of its addresses that answers; together they have `timeout_s`. Raises `Unreachable`."""
    addresses = (pinned.address, *pinned.others)
    why: OSError | None = None
    for address in addresses:
        try:
            plain = socket.create_connection((address, pinned.port), timeout=timeout_s / len(addresses))
        except OSError as error:
            why = why or error
        else:
            plain.settimeout(timeout_s)
            return plain
    told = why.strerror if why is not None else None
    raise Unreachable(
        f"{pinned.host}:{pinned.port} does not answer ({told or 'no answer in time'}).",
        advice="Check that the address is right and that the camera or server is on and reachable from here.",
    ) from why


def _unverified(plain: socket.socket, host: str) -> tuple[ssl.SSLSocket, str]:
    """TLS with whoever answers, and the SHA-256 of the certificate that was shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    shown = context.wrap_socket(plain, server_hostname=host)
    return shown, hashlib.sha256(shown.getpeercert(binary_form=True) or b"").hexdigest()


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
