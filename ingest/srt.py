"""SRT through the ffmpeg program, where it is installed: PyAV's own libav is built without it.

The program dials the checked addresses, one after the other until one answers, takes MPEG-TS and nothing else, and
hands it on undecoded: decoding stays here. What it is to open it reads from a pipe, so that no passphrase stands on a
command line for everyone to see.
"""

from __future__ import annotations

import io
import os
import resource
import select
import shutil
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from ingest.errors import DeadlineExceeded, HindsightError, Invalid, NotVideo, SourceRefused, Unreachable

if TYPE_CHECKING:
    from ingest.guard import PinnedUrl

_KNOWN: Final = ("streamid", "passphrase", "pbkeylen", "latency")
"""What a person may say behind the `?`. Everything else is decided here: we call, and never listen."""
_ADVICE: Final = "Check the address, the passphrase, and that the other side listens."
_MOST_TOLD: Final = 4096


class SrtStream(io.RawIOBase):
    """The bytes that come over SRT. Ends with the connection; closing it ends the program."""

    def __init__(self, pinned: PinnedUrl, *, timeout_s: float) -> None:
        self.name = "stream"
        self._timeout = timeout_s
        self._pinned = pinned
        self._addresses = [pinned.address, *pinned.others]
        """Those that were not dialled yet; together they have `timeout_s` to answer."""
        self._patience = timeout_s / len(self._addresses)
        self._begun = False
        self._dial()

    def _dial(self) -> None:
        """Call the next address."""
        program, tied = shutil.which("ffmpeg"), shutil.which("setpriv")
        if program is None or tied is None:
            raise SourceRefused("SRT needs the ffmpeg program.", advice="Install it, or use RTSP or RTMP.")
        wish = order(replace(self._pinned, address=self._addresses.pop(0)), self._patience).encode()
        reading = ["-f", "concat", "-safe", "0", "-protocol_whitelist", "pipe,srt,udp", "-i", "pipe:0"]
        writing = ["-map", "0", "-c", "copy", "-f", "mpegts", "-flush_packets", "1", "pipe:1"]
        self._process = subprocess.Popen(
            [tied, "--pdeathsig", "KILL", program, "-nostats", "-v", "error", *reading, *writing],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self._process.pid, resource.RLIMIT_CPU, endless)  # ours is renewed, its own would run out
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(wish)
        self._told = b""
        """The beginning of what the program complained of."""
        self._listener = threading.Thread(target=self._listen, daemon=True, name="srt complaints")
        self._listener.start()

    def _listen(self) -> None:
        """Take everything it says: a program whose complaints nobody reads stops when the pipe is full."""
        assert self._process.stderr is not None
        with suppress(OSError, ValueError):  # closed meanwhile
            while part := os.read(self._process.stderr.fileno(), _MOST_TOLD):
                self._told = (self._told + part)[:_MOST_TOLD]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        while True:
            pipe = self._process.stdout
            assert pipe is not None
            if not select.select([pipe], [], [], self._timeout if self._begun else 2 * self._timeout)[0]:
                raise DeadlineExceeded("It did not answer in time.", advice=_ADVICE)
            data: bytes = pipe.read1(size)  # type: ignore[attr-defined]  # a BufferedReader, which the types do not say
            self._begun |= bool(data)
            if self._begun:
                return data
            failure = self._failure()
            if not (self._addresses and isinstance(failure, Unreachable)):
                raise failure
            self._hang_up()
            self._dial()

    def _failure(self) -> HindsightError:
        self._listener.join(self._timeout)  # its words end with its pictures
        told = self._told.decode("utf-8", "replace")
        if "Format not on whitelist" in told:
            return NotVideo("What comes over SRT is not MPEG-TS.", advice="Have it sent so (ffmpeg: -f mpegts).")
        if "Protocol not found" in told or "not on whitelist" in told:
            return SourceRefused("The installed ffmpeg was built without SRT.", advice="Use RTSP or RTMP.")
        if "unknown keyword" in told:
            return SourceRefused("The installed ffmpeg is too old for that.", advice="Install ffmpeg 5 or newer.")
        return Unreachable("Nobody answers over SRT, or not with this passphrase.", advice=_ADVICE)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join(self._timeout)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def order(pinned: PinnedUrl, timeout_s: float) -> str:
    """What ffmpeg is to open: the checked address, for MPEG-TS alone, and of the query only what is known.

    Apart from the address, because ffmpeg takes a stream id and a passphrase in a URL as they stand, `%` and all.
    """
    chosen = parse_qsl(urlsplit(pinned.url).query)
    strange = [name for name, _ in chosen if name not in _KNOWN]
    if strange:
        raise Invalid(f"“{strange[0]}” is not for SRT.", advice=f"Known are {', '.join(_KNOWN)}.")
    if not all(value.isprintable() for _, value in chosen):
        raise Invalid("The address has characters in it that nobody can see.", advice="Write them anew.")
    address = f"[{pinned.address}]" if ":" in pinned.address else pinned.address
    ours = f"mode=caller&connect_timeout={round(timeout_s * 1000)}"
    options = "".join(f"option {name} {_quoted(value)}\n" for name, value in chosen)
    file = _quoted(f"srt://{address}:{pinned.port}?{ours}")
    return f"ffconcat version 1.0\nfile {file}\noption format_whitelist mpegts\n{options}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
