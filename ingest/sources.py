"""Source text as people write it -> `SourceSpec`, with credentials apart and masked."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from ingest.errors import Invalid, SourceRefused
from ingest.guard import PORTS, unreadable
from ingest.records import StreamKind

MASK: Final = "•••"
SCHEMES: Final = ("http", "https", "rtsp", "rtsps", "rtmp", "srt")
_DEVICE = re.compile(r"/dev/video\d{1,3}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_FILE_SUFFIX = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|m?2?ts|mpe?g|flv|og[vg]|3gp|wav|mp3|m4a|flac|opus|aac)", re.IGNORECASE
)
_TELLING: Final = "pas|pwd|psw|token|key|secret|auth|sig"
_SECRET_FIELDS = re.compile(rf"((?:^|&)(?:[^=&]*(?:{_TELLING})[^=&]*|pw?|streamid)=)[^&]*", re.IGNORECASE)
_SECRET_STEPS = re.compile(rf"([^=/&]*(?:{_TELLING})[^=/&_]*=).*?(?=_[a-z]+=|[/&]|$)", re.IGNORECASE)
"""Cameras that want `/user=admin_password=…_channel=1` are many."""
_KEYS: Final = re.compile(
    r"(?<=/)(?:(?![a-z]+(?:[/.]|$))[A-Za-z0-9]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4,12}){4})(?=/|\.m3u8$|$)"
)
_STREAM_KEY: Final = re.compile(r"(?<=/)(?![a-z_-]+$)[\w-]{16,}$")
"""What nobody would call a camera, in any path and at the end of RTMP's: a key, as UniFi's are."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Secret:
    """A string that masks itself wherever it is printed; `reveal` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return MASK if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where video comes from. `location` is a path, or a URL without its credentials.

    `transport`: "udp" for RTSP that should not come over TCP. `certificate`: the SHA-256 of the one certificate that a
    camera may show, in place of the authorities that browsers trust.
    """

    kind: StreamKind
    scheme: str
    location: str
    username: str = ""
    password: Secret = field(default_factory=Secret)
    transport: str = ""
    certificate: str = ""

    def __repr__(self) -> str:
        return f"SourceSpec({self.masked!r})"

    @property
    def masked(self) -> str:
        """The source as it may be shown: no password, no secret in the query."""
        if not self.remote:
            return self.bare
        login = f"{self.username}:{MASK}@" if self.password else f"{self.username}@" if self.username else ""
        parts = urlsplit(self.bare)
        return urlunsplit(parts._replace(netloc=login + parts.netloc))

    @property
    def remote(self) -> bool:
        return self.scheme in SCHEMES

    @property
    def place(self) -> tuple[str, str, int]:
        """Of an address, whom it asks and how: scheme, host and port."""
        parts = urlsplit(self.location if self.remote else "")
        return self.scheme, parts.hostname or "", parts.port or PORTS.get(self.scheme, 0)

    @property
    def bare(self) -> str:
        """The source without its login, and with the secrets of its address masked: what may be kept in the clear."""
        if not self.remote:
            return f"folder:{self.location}" if self.scheme == "folder" else self.location
        parts = self._masked_parts()
        chosen = (("transport", self.transport), ("sha256", self.certificate))
        behind = "&".join(f"{name}={value}" for name, value in chosen if value)
        return urlunsplit(parts._replace(fragment=behind))

    def _masked_parts(self) -> SplitResult:
        parts = urlsplit(self.location)
        path = _KEYS.sub(MASK, _SECRET_STEPS.sub(rf"\1{MASK}", parts.path))
        path = _STREAM_KEY.sub(MASK, path) if self.scheme == "rtmp" else path
        return parts._replace(path=path, query=_SECRET_FIELDS.sub(rf"\1{MASK}", parts.query))

    def secrets(self) -> str:
        """What `bare` leaves out, as text to be sealed; empty when it leaves out nothing."""
        if not self.remote:
            return ""
        whole, masked = urlsplit(self.location), self._masked_parts()
        hidden = [whole.query if whole.query != masked.query else ""]
        hidden += [whole.path] if whole.path != masked.path else []
        if not (self.username or self.password or any(hidden)):
            return ""
        return json.dumps([self.username, self.password.reveal(), *hidden])

    def with_secrets(self, text: str) -> SourceSpec:
        """Whole again, of `bare` parsed and of what `secrets` gave."""
        if not text:
            return self
        username, password, query, *path = json.loads(text)
        hidden = {name: part for name, part in (("query", query), ("path", "".join(path))) if part}
        location = urlunsplit(urlsplit(self.location)._replace(**hidden)) if hidden else self.location
        return replace(self, location=location, username=username, password=Secret(password))


def parse(text: str) -> SourceSpec:
    """Read a path of a file or a folder, a `file://` URL, `/dev/videoN`, or a URL of one of `SCHEMES`.

    Behind a URL's `#` may stand `transport=udp` for RTSP, and `sha256=…` of a certificate for RTSPS and HTTPS.

    Raises `Invalid` for what is no source at all, `SourceRefused` for schemes that are not allowed.
    """
    text = text.strip()
    if not text or any(ord(character) < 32 for character in text):
        raise Invalid("The source is empty or has control characters in it.", advice="Give a path or a URL.")
    if _DEVICE.fullmatch(text):
        return SourceSpec("live", "device", text)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _path(Path(text).expanduser())
    name = scheme[1].lower()
    if name == "folder":
        return SourceSpec("live", "folder", str(Path(text[len("folder:") :]).expanduser().absolute()))
    if name == "file":
        return _file_url(text)
    if name not in SCHEMES:
        with suppress(OSError):  # no file has so long a name
            if Path(text).exists():
                return SourceSpec("file", "file", str(Path(text).absolute()))
        raise SourceRefused(
            f"Sources of the kind “{name}:” are not allowed.",
            advice=f"Use a file path, /dev/videoN, or a URL starting with {', '.join(SCHEMES)}.",
        )
    return _url(name, text)


def _path(path: Path) -> SourceSpec:
    """A folder is watched for as long as it is a stream; a file is read once."""
    try:
        folder = path.is_dir()
    except OSError:  # nobody may look there, or no name is so long: opening it says so
        folder = False
    return SourceSpec("live", "folder", str(path.absolute())) if folder else SourceSpec("file", "file", str(path))


def is_media(path: Path) -> bool:
    """Whether a file's name says that it is video or sound."""
    return _FILE_SUFFIX.fullmatch(path.suffix) is not None


def _file_url(text: str) -> SourceSpec:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise Invalid(
            f"{text} is not a file on this machine.", advice="Write file:///folder/name.mp4 or the path itself."
        )
    return SourceSpec("file", "file", unquote(parts.path))


def _url(scheme: str, text: str) -> SourceSpec:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise unreadable(error) from error
    if not host:
        raise Invalid("The URL names no host.", advice=f"Write {scheme}://host/path.")
    host = f"[{host}]" if ":" in host else host
    bare = SplitResult(scheme, host if port is None else f"{host}:{port}", parts.path, parts.query, "")
    transport, certificate = _chosen(scheme, parts.fragment)
    return SourceSpec(
        kind=_kind(scheme, parts.path),
        scheme=scheme,
        location=urlunsplit(bare),
        username=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
        transport=transport,
        certificate=certificate,
    )


def _chosen(scheme: str, fragment: str) -> tuple[str, str]:
    """How to connect, as it is written behind the `#`: transport and certificate."""
    chosen = dict(parse_qsl(fragment, keep_blank_values=True))
    transport, certificate = chosen.pop("transport", ""), chosen.pop("sha256", "").replace(":", "").lower()
    if chosen or (fragment and not (transport or certificate)):
        raise Invalid(f"“#{fragment}” says nothing to us.", advice="Write #transport=udp, or #sha256=… .")
    if transport not in ("", "tcp", "udp") or (transport and scheme != "rtsp"):
        raise Invalid("Only rtsp: has a choice of transport, tcp or udp.", advice="Leave it out.")
    if certificate and (scheme not in ("rtsps", "https") or not _SHA256.fullmatch(certificate)):
        raise Invalid(
            "sha256= is for rtsps: and https:, and has 64 hexadecimal digits.", advice="The error of a camera tells it."
        )
    return "" if transport == "tcp" else transport, certificate


def _kind(scheme: str, path: str) -> StreamKind:
    """A URL of a media file is read like a file; every other URL is a camera until it says that it ends."""
    ends = scheme in ("http", "https") and _FILE_SUFFIX.fullmatch(Path(path).suffix)
    return "file" if ends else "live"
