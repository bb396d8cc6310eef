"""What the tests of ingest share: clips made once, servers that misbehave, and a fleet on a real bus."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ingest.bus import FRAMES, JOURNAL, SOUNDS
from ingest.bus_memory import MemoryBus
from ingest.capture import CapturePlan, Fleet, Recording
from ingest.clock import Clock, SystemClock
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.records import Ended, Frame, Record, Sound, StateChange, StreamId
from ingest.sampling import Sampling
from ingest.sources import parse
from tests.conserved import assert_conserved
from tests.media import Clip, make, make_sound

T = TypeVar("T", bound=Record)
STREAM = StreamId("cam")
LOOPBACK = ("127.0.0.0/8",)
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips: ten seconds in three containers, thirty-two of MP4, sound alone."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("ten.mp4", "ten.mkv", "ten.ts"):
        make(folder / name)
    make(folder / "long.mp4", Clip(seconds=32, cuts=(9.0, 21.0)))
    make_sound(folder / "sound.flac", 23)
    return folder


QUICK = Limits(stall_s=4.0, backoff_first_s=0.3, backoff_most_s=1.0)
SAMPLED = Sampling(floor_hz=4, ceiling_hz=4)


def plan(url: str, folder: Path | None = None, **changes: object) -> CapturePlan:
    recording = Recording(folder, 1.0) if folder is not None else None
    return CapturePlan(STREAM, parse(url), sampling=SAMPLED, recording=recording, **changes)  # type: ignore[arg-type]


@dataclass
class Harvest:
    """A fleet, and everything that it published."""

    fleet: Fleet
    bus: MemoryBus
    ledger: Ledger
    records: list[Record] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    pace_s: float = 0.0
    """What each frame costs its consumer."""

    def of(self, kind: type[T]) -> list[T]:
        return [record for record in list(self.records) if isinstance(record, kind)]

    def states(self) -> list[str]:
        return [change.state for change in self.of(StateChange)]

    def wait(self, true: Callable[[], Any], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, (
                f"not within {seconds} s; so far: {[r for r in self.records if not isinstance(r, Frame)]}"
            )
            time.sleep(0.02)

    def ended(self) -> bool:
        """Whether the end of the pictures has come, and that of the sound."""
        return len(self.of(Ended)) == 2

    def finish(self, plan: CapturePlan, seconds: float = 60) -> None:
        """Capture a file to its end."""
        self.fleet.start(plan)
        self.wait(lambda: "failed" in self.states() or self.ended(), seconds)
        self.wait(lambda: not any(self.bus.depth().values()))

    def halt(self) -> None:
        """Stop the stream and take in everything that it had to say."""
        self.fleet.stop(STREAM)
        self.wait(lambda: not any(self.bus.depth().values()))

    def collect(self) -> None:
        while not self.stop.is_set():
            for topic in (FRAMES, SOUNDS, JOURNAL):
                deliveries = self.bus.receive((topic,), "test", limit=32, wait_s=0.01)
                for delivery in deliveries:
                    time.sleep(self.pace_s if isinstance(delivery.record, Frame) else 0)
                    self.records.append(delivery.record)
                    if isinstance(delivery.record, Frame):
                        self.ledger.stored(delivery.record.stream, epoch=delivery.record.epoch)
                self.bus.acknowledge(deliveries)


@pytest.fixture
def harvest(clips: Path, tmp_path: Path) -> Iterator[Callable[..., Harvest]]:
    """Make a `Harvest`; the law of conservation is checked for every stream when the test ends."""
    made: list[tuple[Harvest, threading.Thread]] = []

    def build(
        limits: Limits | None = None, capacity: int = 64, pace_s: float = 0.0, clock: Clock | None = None
    ) -> Harvest:
        ledger = Ledger()
        bus = MemoryBus({FRAMES: ("test",), SOUNDS: ("test",), JOURNAL: ("test",)}, capacity, ledger=ledger)
        guard = Guard([clips, tmp_path], LOOPBACK)
        whole = Harvest(Fleet(bus, guard, ledger, clock or SystemClock(), limits), bus, ledger, pace_s=pace_s)
        thread = threading.Thread(target=whole.collect)
        thread.start()
        made.append((whole, thread))
        return whole

    yield build
    for whole, thread in made:
        whole.fleet.close()
        whole.wait(lambda whole=whole: not any(whole.bus.depth().values()))
        whole.stop.set()
        thread.join()
        whole.bus.close()
        assert_conserved(whole.ledger)
        assert children() == []


def children() -> list[int]:
    """Decoder children of this process that are still there."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        found = decoders()
        if not found:
            return []
        time.sleep(0.05)
    return found


def decoders() -> list[int]:
    """The process ids of this process's decoder children."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _is_decoder(int(path.name))]


def _is_decoder(pid: int) -> bool:
    with suppress(OSError):
        return parent(pid) == os.getpid() and b"ingest.decode" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def parent(pid: int) -> int:
    """Whose child a process is; 0 when it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@dataclass
class Trap:
    """A TCP server on loopback that counts its visitors and says what it is told to."""

    talk: Callable[[socket.socket], None]
    hits: int = 0

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._server.accept()
            except OSError:
                return
            self.hits += 1
            self._open.append(visitor)
            threading.Thread(target=self._attend, args=(visitor,), daemon=True).start()

    def _attend(self, visitor: socket.socket) -> None:
        with suppress(OSError):
            self.talk(visitor)

    def close(self) -> None:
        """Who still waits is woken first: a wait outlives the closing, and one that is resumed is for whatever next has
        the same number, such as another test's server."""
        for one in (self._server, *self._open):
            with suppress(OSError):  # it is over
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()


@pytest.fixture
def trap() -> Iterator[Callable[[Callable[[socket.socket], None]], Trap]]:
    traps: list[Trap] = []

    def build(talk: Callable[[socket.socket], None]) -> Trap:
        traps.append(Trap(talk))
        return traps[-1]

    yield build
    for one in traps:
        one.close()


def answer(body: bytes, head: str = "HTTP/1.1 200 OK", kind: str = "video/mp4") -> Callable[[socket.socket], None]:
    """Speak HTTP once: any request gets `body`."""

    def talk(visitor: socket.socket) -> None:
        visitor.recv(65536)
        head_bytes = f"{head}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        visitor.sendall(head_bytes.encode() + body)
        visitor.close()

    return talk


@dataclass
class RtspServer:
    """GStreamer's RTSP server in a process of its own, to be killed and started again on the same port."""

    port: int
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None

    def start(self) -> RtspServer:
        script = Path(__file__).parents[1] / "rtsp_server.py"
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, str(script), str(self.port), *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def url(self, path: str = "cam") -> str:
        return f"rtsp://127.0.0.1:{self.port}/{path}"


@pytest.fixture
def rtsp() -> Iterator[Callable[..., RtspServer]]:
    missing = _missing_for_rtsp()
    if missing:
        pytest.skip(missing)
    servers: list[RtspServer] = []

    def build(*arguments: str) -> RtspServer:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        servers.append(RtspServer(port, arguments).start())
        return servers[-1]

    yield build
    for server in servers:
        server.kill()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody but its owner signed, as cameras have them, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, shown, both = (tmp_path / name for name in ("key.pem", "shown.pem", "both.pem"))
    make_one = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"]
    subprocess.run([*make_one, "-keyout", str(key), "-out", str(shown)], check=True, capture_output=True)
    both.write_text(shown.read_text() + key.read_text())
    return both


def _missing_for_rtsp() -> str:
    check = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst
Gst.init(None)
assert Gst.ElementFactory.find("x264enc") and Gst.ElementFactory.find("rtph264pay")
"""
    if not Path(SYSTEM_PYTHON).exists():
        return f"needs {SYSTEM_PYTHON}"
    done = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False)
    return "" if done.returncode == 0 else (
        "needs Debian's gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-base, -good, -bad and -ugly"
    )  # fmt: skip


__all__ = ["LOOPBACK", "STREAM", "Harvest", "RtspServer", "Sound", "Trap", "answer", "children"]
