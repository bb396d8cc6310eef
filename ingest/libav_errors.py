"""Every way in which libav or PyAV fails -> our error family, with what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.errors import (
    BrokenVideo,
    DeadlineExceeded,
    HindsightError,
    NotFound,
    NotVideo,
    SourceRefused,
    SourceUnavailable,
    StorageFull,
    TooLarge,
    Transient,
    Unauthorised,
)

_LOGIN = "Check the user name and the password."
_NETWORK = "Check that the address is right and that the camera or server is switched on and reachable from here."
_FILE = "Check that the file plays in an ordinary player; convert it to MP4 with H.264 if it does."
_AGAIN = "Try again; if it happens again, report it with the log."

_BY_NAME: dict[str, tuple[type[HindsightError], str, str]] = {
    "ArgumentError": (NotVideo, "This is not video in a format that we read.", _FILE),
    "InvalidDataError": (NotVideo, "This is not video in a format that we read.", _FILE),
    "DemuxerNotFoundError": (NotVideo, "This is not video in a format that we read.", _FILE),
    "DecoderNotFoundError": (NotVideo, "There is no decoder for this video.", _FILE),
    "StreamNotFound": (NotVideo, "There is neither picture nor sound in it.", _FILE),
    "IndexError": (NotVideo, "There is neither picture nor sound in it.", _FILE),
    "UnicodeDecodeError": (NotVideo, "Its names and labels cannot be read.", _FILE),
    "EOFError": (BrokenVideo, "It ends before its first picture.", _FILE),
    "PatchWelcomeError": (NotVideo, "This kind of video is not supported.", _FILE),
    "NotImplementedError": (NotVideo, "This kind of video is not supported.", _FILE),
    "ExperimentalError": (NotVideo, "This kind of video is only experimentally supported.", _FILE),
    "InputChangedError": (BrokenVideo, "The video changed its kind in the middle.", _FILE),
    "OutputChangedError": (BrokenVideo, "The video changed its kind in the middle.", _FILE),
    "OverflowError": (BrokenVideo, "A number in it is impossible.", _FILE),
    "ValueError": (BrokenVideo, "A number in it is impossible.", _FILE),
    "MemoryError": (TooLarge, "Decoding it takes more memory than is allowed.", "Use a smaller picture."),
    "BufferTooSmallError": (TooLarge, "A part of it is larger than is allowed.", "Use a smaller picture."),
    "HTTPUnauthorizedError": (Unauthorised, "The server wants a user name and password, or other ones.", _LOGIN),
    "HTTPForbiddenError": (Unauthorised, "The server does not let us see this.", _LOGIN),
    "HTTPNotFoundError": (NotFound, "The server knows nothing at this address.", "Check the path of the URL."),
    "HTTPBadRequestError": (SourceUnavailable, "The server refused our request.", _NETWORK),
    "HTTPTooManyRequestsError": (SourceUnavailable, "The server has too many visitors.", "It is tried again."),
    "HTTPOtherClientError": (SourceUnavailable, "The server refused our request.", _NETWORK),
    "HTTPServerError": (
        SourceUnavailable,
        "The camera, or the server that it was asked of, says that it failed.",
        "Look whether it plays elsewhere, or try again later.",
    ),
    "TimeoutError": (DeadlineExceeded, "It did not answer in time.", _NETWORK),
    "ExitError": (DeadlineExceeded, "It did not answer in time.", _NETWORK),
    "ConnectionRefusedError": (SourceUnavailable, "Nothing listens at this address.", _NETWORK),
    "ConnectionResetError": (SourceUnavailable, "The connection was cut.", _NETWORK),
    "ConnectionAbortedError": (SourceUnavailable, "The connection was cut.", _NETWORK),
    "BrokenPipeError": (SourceUnavailable, "The connection was cut.", _NETWORK),
    "BlockingIOError": (SourceUnavailable, "It is not ready.", _NETWORK),
    "InterruptedError": (SourceUnavailable, "Reading was interrupted.", _AGAIN),
    "FileNotFoundError": (NotFound, "There is no such file or device.", "Check the path."),
    "NotADirectoryError": (NotFound, "There is no such file or device.", "Check the path."),
    "IsADirectoryError": (NotVideo, "This is a folder.", "Give the path of a file in it."),
    "PermissionError": (SourceRefused, "We may not read it.", "Give this user the right to read it."),
    "ProtocolNotFoundError": (SourceRefused, "It points to a place that is not allowed.", "Give the source itself."),
    "FileExistsError": (Transient, "The file exists already.", _AGAIN),
}
_CODEC = "avcodec_"
"""libav's functions that decode are named in the place of a file."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNREACHABLE = {100, 101, 112, 113}  # network or host down or unreachable


def translate(error: BaseException, *, started: bool = False) -> HindsightError:
    """Our error for one that libav, PyAV or Python raised while reading a source; total.

    `started`: pictures had come already, so what cannot be read is a broken video and not something else.
    "Invalid data" may also mean a peer that fell silent or too little memory: whoever holds a clock or a limit
    decides that before asking here.
    """
    if isinstance(error, HindsightError):
        return error
    kind, message, advice = _classify(error)
    if started and issubclass(kind, NotVideo):
        kind, message = BrokenVideo, "From here on it cannot be read."
    return kind(message, advice=advice)


def failures() -> tuple[type[Exception], ...]:
    """All that reading a source may raise, ours and theirs."""
    import av.error

    return av.error.FFmpegError, HindsightError, OSError, ValueError, LookupError, MemoryError


@contextmanager
def noting(first: BaseException) -> Iterator[None]:
    """What fails while `first` is handled becomes a note of it, in words: it must not be told in its place."""
    try:
        yield
    except failures() as second:
        first.add_note(f"Then: {translate(second).message}")


def camera_failure(error: BaseException, path: str) -> HindsightError:
    """Why a webcam cannot be used, in the words of someone who stands before it."""
    driver = isinstance(error, OSError) and not str(error.filename).startswith(_CODEC)
    number = error.errno if isinstance(error, OSError) and driver else None
    match number:
        case errno.EBUSY:
            return SourceUnavailable(
                f"The camera {path} is in use by another program.", advice="Close the other program; it is tried again."
            )
        case errno.EACCES | errno.EPERM:
            return SourceRefused(
                f"We may not use the camera {path}.",
                advice="Add the service's user to the group video, and log in anew.",
            )
        case errno.ENOTTY:
            return SourceRefused(f"{path} is no camera.", advice="`v4l2-ctl --list-devices` shows which one is.")
        case errno.ENODEV | errno.ENXIO | errno.EIO:
            return SourceUnavailable(f"The camera {path} does not answer.", advice="Plug it in again.")
    return translate(error)


def _classify(error: BaseException) -> tuple[type[HindsightError], str, str]:
    if isinstance(error, OSError) and str(error.filename).startswith(_CODEC) and not isinstance(error, MemoryError):
        # What a decoder calls "not permitted" or "no such device" is about the data and not about rights or devices.
        return BrokenVideo, "A part of it cannot be decoded.", _FILE
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageFull, "There is no space left on the disk.", "Free some space; nothing stored was harmed."
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return SourceUnavailable, "The network does not reach it.", _NETWORK
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_NAME:
            return _BY_NAME[kind.__name__]
    if isinstance(error, OSError):
        return SourceUnavailable, f"Reading it failed ({error.strerror or type(error).__name__}).", _NETWORK
    return BrokenVideo, f"The decoder gave up on it ({type(error).__name__}).", _FILE
