"""The parent's side of a decoder child: start it, read what it says under a deadline, end it.

A stranger's bytes are only ever decoded in such a child. It gets its job (credentials too) through a pipe and no
environment, and may be killed at any moment.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, NoReturn

from ingest import wire
from ingest.clock import Clock, SystemClock
from ingest.errors import BrokenVideo, DeadlineExceeded, by_code
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.sources import SourceSpec

_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Pictures come and go all the time: their memory is kept, in large pages where the kernel gives them, since asking the
kernel for it again costs more than it does to make a picture small."""
_PIPE: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031

Message = Any
"""A record, or a tuple of a tag and its details."""


class DecoderDied(BrokenVideo):
    """The decoder child was killed by what it decoded, or by a limit."""

    code = "decoder-died"


class Decoder:
    """One child doing one job. Use as a context manager: leaving ends the child, whatever it does."""

    def __init__(
        self,
        job: str,
        details: Mapping[str, Any],
        limits: Limits,
        clock: Clock | None = None,
        memory: wire.Memory | None = None,
    ) -> None:
        """`memory`: what pictures are read to, where several children share it."""
        self._clock = clock or SystemClock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ingest.decode"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe = _DeadlinePipe(self._process.stdout.fileno(), self._clock)
        _widen(self._process.stdout.fileno())
        self._memory = memory or wire.Memory()
        order = {"job": job, "details": dict(details), "limits": asdict(limits), "parent": os.getpid()}
        try:
            wire.write(self._process.stdin.fileno(), order)
        except BrokenPipeError:
            self._raise_death()

    @property
    def pid(self) -> int:
        return self._process.pid

    def receive(self, timeout_s: float) -> Message:
        """The next message. Raises what the child reports, `DeadlineExceeded` on silence, `DecoderDied`."""
        self._pipe.until(self._clock.monotonic() + timeout_s)
        try:
            message = wire.read(self._pipe, self._memory)
        except EOFError:
            self._raise_death()
        if isinstance(message, tuple) and message[0] == "error":
            _, code, text, advice = message
            raise by_code(code)(text, advice=advice)
        return message

    def result(self, timeout_s: float, on_message: Callable[[Message], None] | None = None) -> Any:
        """What the job came to, with `timeout_s` for all of it."""
        end = self._clock.monotonic() + timeout_s
        while True:
            message = self.receive(max(0.0, end - self._clock.monotonic()))
            if isinstance(message, tuple) and message[0] == "done":
                return message[1]
            if on_message is not None:
                on_message(message)

    def tell(self, word: bytes) -> None:
        """Give the child of a live stream one of `ingest.orders`. From any thread."""
        if self._process.stdin is not None:
            with suppress(OSError, ValueError):  # it is ending, or was asked to
                self._process.stdin.write(word)

    def finish(self) -> None:
        """Ask the child to end in good order: to say what it still holds, then that it is done."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """End the child; whoever is receiving learns of it. May be called from any thread."""
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise_death(self) -> NoReturn:
        code = self._process.wait()
        raise DecoderDied(
            f"The decoder was ended by it ({'signal' if code < 0 else 'exit'} {abs(code)}).",
            advice="The stretch is tried again and then skipped; the rest is read.",
        )


class _DeadlinePipe:
    """The reading end of a pipe as `wire.read` wants it, which gives up at a moment of the monotonic clock."""

    def __init__(self, handle: int, clock: Clock) -> None:
        os.set_blocking(handle, False)
        self._handle = handle
        self._clock = clock
        self._end = 0.0

    def until(self, end: float) -> None:
        self._end = end

    def readinto(self, memory: memoryview) -> int:
        with suppress(BlockingIOError):  # behind its lengths a message is mostly there
            return os.readv(self._handle, [memory])
        ready, _, _ = select.select([self._handle], [], [], max(0.0, self._end - self._clock.monotonic()))
        if not ready:
            raise DeadlineExceeded("It did not answer in time.", advice="Check the source, or try again later.")
        return os.readv(self._handle, [memory])


def source_details(spec: SourceSpec, guard: Guard) -> dict[str, Any]:
    """A source as a job's details, with what `guard` grants: the one place where a secret leaves for a child."""
    return {
        "kind": spec.kind,
        "scheme": spec.scheme,
        "location": spec.location,
        "username": spec.username,
        "password": spec.password.reveal(),
        "transport": spec.transport,
        "certificate": spec.certificate,
        "networks": list(guard.networks),
        "private": guard.private,
    }


def _widen(handle: int) -> None:
    """A pipe that holds a picture saves two context switches for every 64 kB of it; not all kernels allow it."""
    import fcntl

    try:
        fcntl.fcntl(handle, _F_SETPIPE_SZ, _PIPE)
    except OSError:
        return
