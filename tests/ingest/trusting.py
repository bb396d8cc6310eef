"""A reader that trusts every file: python -m tests.ingest.trusting FOLDER, in a process that is thrown away.

Opens each of `tricks.FILES` as anyone would who believes what it says it is, with every gate of libav open, and prints
the names of those that led it to the trap or to the lure.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path

import av
import av.error

from tests.ingest.conftest import Trap, answer
from tests.ingest.tricks import BELIEVED, BESIDE, FILES, SHUT, Watchman

GATES = {
    "protocol_whitelist": "file,http,tcp,crypto,data,concat,subfile,async,cache,udp,rtp", "safe": "0",
    "allowed_extensions": "ALL", "allowed_segment_extensions": "ALL", "extension_picky": "0", "enable_drefs": "1",
    "use_absolute_path": "1",
}  # fmt: skip


def read(path: Path) -> None:
    """The first packets, if there are any; of one that leads nowhere they are not waited for."""
    waited_s = 0.5 if path.name in SHUT else 60.0
    told = BELIEVED.get(path.name.partition("-")[0].partition(".")[0])
    with suppress(av.error.FFmpegError), av.open(str(path), format=told, options=GATES, timeout=waited_s) as opened:
        for _ in islice(opened.demux(), 10):
            pass


def main() -> None:
    """FOLDER has the lure, `lure.mp4`."""
    folder = Path(sys.argv[1])
    lure, inside = folder / "lure.mp4", Trap(answer(b"secret"))
    for name in BESIDE:
        (folder / name).hardlink_to(lure)
    watchman = Watchman(lure)
    seen = 0
    for name, trick in FILES.items():
        path = folder / name
        path.write_bytes(trick(str(lure), f"http://127.0.0.1:{inside.port}"))
        read(path)
        seen, before = inside.hits + watchman.opened, seen
        if seen > before:
            sys.stdout.write(f"{name}\n")
    sys.stdout.write("all were read\n")


if __name__ == "__main__":
    main()
