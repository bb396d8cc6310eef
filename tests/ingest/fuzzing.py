"""Files and streams made wrong on purpose, thousands of them: a sample in test_hostile.py, or all by hand:

    python -m tests.ingest.fuzzing 2000 [SEED]

Every case is a mutated clip of one of eleven kinds. Each is opened and decoded as the product does, in children of this
process that take a hundred cases each; every tenth is read over HTTP from a server on loopback, every thirteenth as an
HLS stream. A child that is killed (a crash) and a case that takes too long (a hang) are counted by the parent. Prints
how it went; the exit status is 0 when nothing crashed or hung and every error was one of ours, with advice.
"""

from __future__ import annotations

import multiprocessing
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av.error

from ingest import decode, reading
from ingest.beginning import Task
from ingest.child import source_details
from ingest.errors import HindsightError
from ingest.limits import Limits
from ingest.sampling import Sampling
from ingest.sources import SourceSpec, parse
from tests.media import Clip, make, make_sound

HANG_S = 20.0
PER_CHILD = 100
SMALL = Clip(seconds=1, width=96, height=64)
KINDS: dict[str, Clip] = {
    "mp4": SMALL,
    "mkv": SMALL,
    "ts": SMALL,
    "avi": SMALL,
    "mov": SMALL,
    "fragments.mp4": Clip(seconds=1, width=96, height=64, options=(("movflags", "frag_keyframe+empty_moov"),)),
    "flv": SMALL,
    "webm": Clip(seconds=1, width=96, height=64, codec="libvpx", sound="libopus"),
    "mpg": Clip(seconds=1, width=96, height=64, codec="mpeg2video", sound="mp2"),
}
CODES = {
    "read", "not-video", "broken-video", "too-large", "source-refused", "source-unavailable", "deadline-exceeded",
}  # fmt: skip
"""What may come of a case; "crash" and "hang" may not."""


def seeds(folder: Path) -> dict[str, bytes]:
    """One sound clip of each kind."""
    found = {name: make(folder / f"seed.{name}", clip).read_bytes() for name, clip in KINDS.items()}
    for name, codec in {"flac": "flac", "mp3": "libmp3lame"}.items():
        with suppress(av.error.FFmpegError, ValueError):
            found[name] = make_sound(folder / f"seed.{name}", 2, codec).read_bytes()
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, overwrite with numbers that are too large: what fuzzers do."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 30)):
        at = chance.randrange(len(out))
        match chance.randrange(5):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"])
            case 2:
                del out[at : at + chance.randrange(1, 200)]
            case 3:
                out[at:at] = out[max(0, at - 50) : at]
            case _:
                out[at : at + 20] = chance.randbytes(20)
        if len(out) < 16:
            break
    return bytes(out[: chance.randrange(16, len(out) + 1)] if chance.random() < 0.2 and len(out) > 16 else out)


def read_through(path: Path) -> str:
    """Read a file as a decoder child does, in this process; what came of it."""
    return read_source(source_details(SourceSpec("file", "file", str(path)), ()))


def read_source(source: dict[str, Any], folder: Path | None = None) -> str:
    """Sample, listen and, into `folder`, record; what the parent would be told."""
    task = Task("cam", False, 0, 0, Sampling(), True, None, None, None, folder and str(folder), 1.0)
    try:
        reading.job({"source": source, "task": asdict(task)}, Limits(read_s=2), lambda _: None)
    except HindsightError as error:
        return error.code if error.advice else f"without advice: {error}"
    except (av.error.FFmpegError, OSError, ValueError, LookupError, MemoryError) as error:
        ours = decode._diagnosed(error, Limits())
        return ours.code if ours.advice else f"without advice: {ours}"
    except Exception as error:  # the border of a case: what else comes is a mistake of ours, and is counted as one
        return f"mistake: {type(error).__name__}: {error}"
    return "read"


class Server:
    """Serves the bytes it was last given: as a file, or as the one segment of a playlist."""

    def __init__(self) -> None:
        self.body = b""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            visitor, _ = self._listening.accept()
            with visitor, suppress(OSError):
                request = visitor.recv(65536)
                playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"
                body = playlist if b".m3u8 " in request else self.body
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                visitor.sendall(head.encode() + body)


def case(number: int, seed: int, clips: dict[str, bytes], folder: Path, server: Server) -> str:
    """The outcome of the case of that number: the same for the same seed."""
    chance = random.Random(f"{seed}/{number}")
    kind = list(clips)[number % len(clips)]
    body = mutated(clips[kind], chance)
    if number % 10 == 9 or number % 13 == 12:
        server.body = body
        name = "film.mp4" if number % 10 == 9 else "live.m3u8"
        (folder / "recordings").mkdir(exist_ok=True)
        source = source_details(parse(f"http://127.0.0.1:{server.port}/{name}"), ("127.0.0.1/32",))
        return read_source(source, folder / "recordings")
    path = folder / f"mutated-{number % PER_CHILD}.bin"
    path.write_bytes(body)
    return read_through(path)


def work(pipe: Connection, numbers: range, seed: int, folder: Path) -> None:
    """A child: bounded like a decoder, it says what came of each case."""
    decode._confine(Limits())
    clips = {path.name.removeprefix("seed."): path.read_bytes() for path in sorted(folder.glob("seed.*"))}
    server = Server()
    for number in numbers:
        pipe.send((number, case(number, seed, clips, folder, server)))
        decode._allow_cpu(Limits().cpu_s)


def fuzz(count: int, seed: int, folder: Path) -> Counter[str]:
    """Outcomes of `count` cases: codes of errors, "read", "crash", "hang"."""
    seeds(folder)
    context = multiprocessing.get_context("spawn")
    outcomes: Counter[str] = Counter()
    at = 0
    while at < count:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(theirs, range(at, min(count, at + PER_CHILD)), seed, folder))
        child.start()
        theirs.close()
        first, at = at, min(count, at + PER_CHILD)
        done = first - 1
        while done < at - 1:
            try:
                if not ours.poll(HANG_S):
                    raise TimeoutError
                done, outcome = ours.recv()
            except (EOFError, TimeoutError) as error:
                outcome = "hang" if isinstance(error, TimeoutError) else "crash"
                sys.stdout.write(f"case {done + 1} of seed {seed}: {outcome}\n")
                at = done + 2
                outcomes[outcome] += 1
                break
            outcomes[outcome] += 1
        child.kill()
        child.join()
        ours.close()
    return outcomes


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        outcomes = fuzz(count, seed, Path(folder))
    told = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
    sys.stdout.write(f"{outcomes.total()} cases of seed {seed} in {time.monotonic() - begun:.0f} s: {told}\n")
    sys.exit(bool(set(outcomes) - CODES))


if __name__ == "__main__":
    main()
