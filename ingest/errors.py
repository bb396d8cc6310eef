"""The error family.

    HindsightError
    ├── Transient                try again later, nothing is wrong with the input
    │   ├── SourceUnavailable    (ConnectionError)  the camera or server does not answer
    │   │   └── Unreachable                         nothing is there that could answer: it is off, or elsewhere
    │   ├── DeadlineExceeded     (TimeoutError)     it took longer than it was given
    │   ├── StorageFull          (OSError)          no space left where we write
    │   ├── Busy                                    queue full, database locked, model restarting
    │   └── StillRecording                          it is being written and can be had in some seconds
    ├── Poison                   this input will never work; it is set aside
    │   ├── NotVideo             (ValueError)       no readable video in it
    │   ├── BrokenVideo          (ValueError)       it starts well and then cannot be read
    │   └── TooLarge             (ValueError)       over a stated limit of pixels, bytes, duration
    ├── Denied                   policy says no
    │   ├── SourceRefused        (PermissionError)  scheme, path, address or format not allowed
    │   └── Unauthorised         (PermissionError)  the camera or this service wants other credentials
    ├── Invalid                  (ValueError)       the request makes no sense: bad time range, bad name
    ├── NotFound                 (LookupError)      no such stream, rule, file, or nothing at that time
    ├── Conflict                                    it exists already
    └── Fatal                    the process cannot go on
        └── StoreCorrupt                            the database or a chapter fails its checksum

Callers choose by the first level. Every error says in `advice` what the reader can do about it.
"""

from __future__ import annotations

from typing import ClassVar


class HindsightError(Exception):
    """Base of all our errors: `message` says what happened, `advice` what to do, `code` is stable for programs."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".rstrip()


class Transient(HindsightError):
    code = "try-again"


class SourceUnavailable(Transient, ConnectionError):
    code = "source-unavailable"


class Unreachable(SourceUnavailable):
    code = "unreachable"


class DeadlineExceeded(Transient, TimeoutError):
    code = "deadline-exceeded"


class StorageFull(Transient, OSError):
    code = "storage-full"


class Busy(Transient):
    code = "busy"


class StillRecording(Transient):
    code = "still-recording"


class Poison(HindsightError):
    code = "unusable-input"


class NotVideo(Poison, ValueError):
    code = "not-video"


class BrokenVideo(Poison, ValueError):
    code = "broken-video"


class TooLarge(Poison, ValueError):
    code = "too-large"


class Denied(HindsightError):
    code = "denied"


class SourceRefused(Denied, PermissionError):
    code = "source-refused"


class Unauthorised(Denied, PermissionError):
    code = "unauthorised"


class Invalid(HindsightError, ValueError):
    code = "invalid"


class NotFound(HindsightError, LookupError):
    code = "not-found"


class Conflict(HindsightError):
    code = "conflict"


class Fatal(HindsightError):
    code = "fatal"


class StoreCorrupt(Fatal):
    code = "store-corrupt"


def _leaves(root: type[HindsightError]) -> list[type[HindsightError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _leaves(child))]


def by_code(code: str) -> type[HindsightError]:
    """The class with that `code`: how an error crosses a process boundary. Unknown codes give the base."""
    return next((kind for kind in _leaves(HindsightError) if kind.code == code), HindsightError)
