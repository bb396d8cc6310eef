"""The decoder child: `python -m ingest.decode`, a job on standard input, messages on standard output.

It bounds itself before it touches a byte of the source, and it ends with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ingest import wire
from ingest.errors import BrokenVideo, HindsightError, NotVideo, TooLarge
from ingest.limits import Limits
from ingest.sources import SCHEMES

Emit = Callable[[Any], None]
_PR_SET_PDEATHSIG: Final = 1
_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWNET: Final = 0x4000_0000
_FILE_SIZE: Final = 8 << 30


def main() -> None:
    """Read the job, do it, say what came of it."""
    output = _take_output()
    order = wire.read(io.FileIO(0, closefd=False))
    if not _reaches_out(order["details"]):
        leave_network()
    _end_with_parent(order["parent"])
    limits = Limits(**order["limits"])
    _confine(limits)

    def emit(message: Any) -> None:
        wire.write(output, message)
        _allow_cpu(limits.cpu_s)

    try:
        job = _jobs()[order["job"]]
        gc.freeze()  # what is loaded stays: it is not searched again and again for what might go
        result = job(order["details"], limits, emit)
        emit(("done", result))
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # the border to the parent: whatever went wrong travels there as ours
        emit(("error", *_told(error, limits)))
    finally:
        sys.stdout.flush()
    os._exit(0)  # libav's threads may hang in a dead connection


def _jobs() -> Mapping[str, Callable[[dict[str, Any], Limits, Emit], Any]]:
    from ingest import clips, keyframes, pieces, probe, reading, recording, sample

    return {
        "probe": probe.job,
        "capture": reading.job,
        "keys": keyframes.job,
        "cut": clips.cut_job,
        "piece": pieces.job,
        "still": clips.still_job,
        "rescue": recording.rescue_job,
        "sample": sample.job,
    }


def _take_output() -> int:
    """Standard output for messages alone: what a library prints goes to standard error."""
    output = os.dup(1)
    os.dup2(2, 1)
    return output


def _reaches_out(details: Mapping[str, Any]) -> bool:
    """Whether the job reads from an address; everything else is on this machine."""
    return details.get("source", details).get("scheme") in SCHEMES


def leave_network() -> bool:
    """Go where there is no network, not even loopback, if the kernel lets us (root, or user namespaces allowed).

    What is read from files reaches nothing without it: libav is given open files and no protocol. This holds also
    for code that an attacker managed to run.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def _end_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _confine(limits: Limits) -> None:
    memory = limits.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE, _FILE_SIZE))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _allow_cpu(limits.cpu_s)


def _allow_cpu(seconds: int) -> None:
    """CPU time counts from the last sign of progress: an endless loop in a decoder ends, a long file does not."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(spent.ru_utime + spent.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _told(error: Exception, limits: Limits) -> tuple[str, str, str]:
    """Its code, its message with what is noted of it or of what caused it, and the advice."""
    ours, noted = _diagnosed(error, limits), dict.fromkeys((error, error.__cause__))
    notes = [note for one in noted for note in getattr(one, "__notes__", ())]
    return ours.code, " ".join([ours.message, *notes]), ours.advice


def _diagnosed(error: Exception, limits: Limits) -> HindsightError:
    """libav says "invalid data" when it was refused memory; the address space's high mark tells them apart."""
    from ingest.libav_errors import translate

    ours = translate(error)
    if isinstance(ours, NotVideo | BrokenVideo) and _highest_mb() > 0.8 * limits.memory_mb:
        return TooLarge("Decoding it takes more memory than is allowed.", advice="Use a smaller picture.")
    return ours


def _highest_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPeak:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
