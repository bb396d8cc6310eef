"""Source text as people write it -> `SourceSpec`, with credentials apart and masked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from ingest.errors import Invalid, SourceRefused
from ingest.records import StreamKind

MASK: Final = "•••"
SCHEMES: Final = ("http", "https", "rtsp", "rtsps", "rtmp", "srt")
_DEVICE = re.compile(r"/dev/video\d{1,3}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_FILE_SUFFIX = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|m?2?ts|mpe?g|flv|og[vg]|3gp|wav|mp3|m4a|flac|opus|aac)", re.IGNORECASE
)
_SECRET_FIELDS = re.compile(r"((?:^|&)[^=&]*(?:pass|pwd|token|key|secret|auth|sig)[^=&]*=)[^&]*", re.IGNORECASE)


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
    """Where video comes from. `location` is a path, or a URL without its credentials."""

    kind: StreamKind
    scheme: str
    location: str
    username: str = ""
    password: Secret = field(default_factory=Secret)

    @property
    def masked(self) -> str:
        """The source as it may be shown: no password, no secret in the query."""
        if self.scheme in ("file", "device"):
            return self.location
        parts = urlsplit(self.location)
        login = f"{self.username}:{MASK}@" if self.password else f"{self.username}@" if self.username else ""
        query = _SECRET_FIELDS.sub(rf"\1{MASK}", parts.query)
        return urlunsplit((parts.scheme, login + parts.netloc, parts.path, query, ""))


def parse(text: str) -> SourceSpec:
    """Read a path, a `file://` URL, `/dev/videoN`, or a URL of one of `SCHEMES`.

    Raises `Invalid` for what is no source at all, `SourceRefused` for schemes that are not allowed.
    """
    text = text.strip()
    if not text or any(ord(character) < 32 for character in text):
        raise Invalid("The source is empty or has control characters in it.", advice="Give a path or a URL.")
    if _DEVICE.fullmatch(text):
        return SourceSpec("live", "device", text)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return SourceSpec("file", "file", str(Path(text).expanduser()))
    name = scheme[1].lower()
    if name == "file":
        return _file_url(text)
    if name not in SCHEMES:
        if Path(text).exists():
            return SourceSpec("file", "file", str(Path(text).absolute()))
        raise SourceRefused(
            f"Sources of the kind “{name}:” are not allowed.",
            advice=f"Use a file path, /dev/videoN, or a URL starting with {', '.join(SCHEMES)}.",
        )
    return _url(name, text)


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
        raise Invalid(f"Not a readable URL: {error}.", advice="Check the address and the port.") from error
    if not host:
        raise Invalid("The URL names no host.", advice=f"Write {scheme}://host/path.")
    host = f"[{host}]" if ":" in host else host
    bare = SplitResult(scheme, host if port is None else f"{host}:{port}", parts.path, parts.query, "")
    return SourceSpec(
        kind=_kind(scheme, parts.path),
        scheme=scheme,
        location=urlunsplit(bare),
        username=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
    )


def _kind(scheme: str, path: str) -> StreamKind:
    """A URL of a media file is read like a file; every other URL is a camera until it says that it ends."""
    ends = scheme in ("http", "https") and _FILE_SUFFIX.fullmatch(Path(path).suffix)
    return "file" if ends else "live"
