"""What happens to live streams when cameras go, and how soon it is known and over, beside the numbers it should keep.

    python -m benchmarks.live [--only reset,flap]

Three paths of a real RTSP server (H.264 with AAC, with mu-law, alone) are watched through a wire that can be cut in
every way a wire is cut. Told of each way, for the slowest of the three: how long until the stream was said not to be
live; how long until the next picture once everything worked again, and how much of that was not back-off; and how far
off the gap begins.
"""

from __future__ import annotations

import argparse
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.backoff import Backoff, Turnstile
from ingest.bus import FRAMES, JOURNAL, SOUNDS
from ingest.bus_memory import MemoryBus
from ingest.capture import CapturePlan, Fleet, Recording
from ingest.clock import FakeClock, SystemClock
from ingest.errors import HindsightError
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.limits import Limits
from ingest.probe import probe
from ingest.records import Frame, Gap, Record, Sound, StateChange, StreamId
from ingest.sources import parse

NETWORKS = ("127.0.0.0/8",)
PATHS = ("cam", "mulaw", "silent")
DOWN_S = 8.0
FLAP_S = 60.0
LOGIN = "admin:first"


class Camera:
    """GStreamer's RTSP server, to be killed and started again on the same port."""

    def __init__(self) -> None:
        self.port, self.login = free_port(), LOGIN
        self.start()

    def start(self) -> None:
        script = Path(__file__).parents[1] / "tests" / "rtsp_server.py"
        command = ["/usr/bin/python3", str(script), str(self.port), "--login", self.login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def tear_down(self) -> None:
        """End every session in good order."""
        self.process.send_signal(signal.SIGUSR1)

    def restart(self, login: str = LOGIN) -> None:
        self.kill()
        self.login = login
        self.start()


class Wire:
    """A TCP relay that passes, holds everything back, drips, or resets."""

    def __init__(self, to: int) -> None:
        self._to, self.mood = to, "pass"
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.begun: list[float] = []
        """When each visitor came."""
        threading.Thread(target=self._serve, daemon=True).start()

    def reset(self) -> None:
        """End every connection with RST."""
        self.mood = "refuse"
        for one in self._open:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RD)  # who waits for it wakes; a socket that is waited for does not close
                one.close()
        self._open.clear()

    def _serve(self) -> None:
        while True:
            near, _ = self._listener.accept()
            self.begun.append(time.monotonic())
            try:
                if self.mood == "refuse":
                    raise OSError
                far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                while self.mood == "hold":
                    time.sleep(0.02)
                if self.mood == "drip":
                    for n in range(len(data)):
                        if self.mood != "drip":
                            other.sendall(data[n:])
                            break
                        other.sendall(data[n : n + 1])
                        time.sleep(0.5)
                else:
                    other.sendall(data)
        for end in (one, other) if self.mood != "refuse" else ():
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Wires:
    """A relay for every path, so that whose attempt it was is known."""

    def __init__(self, to: int, streams: Iterable[StreamId]) -> None:
        self.of = {stream: Wire(to) for stream in streams}

    def reset(self) -> None:
        for wire in self.of.values():
            wire.reset()

    def change(self, mood: str) -> None:
        for wire in self.of.values():
            wire.mood = mood

    def attempt(self, stream: StreamId, back: float, shown: float) -> float:
        """When the attempt began that gave the picture; `back` for what was never away."""
        return max((at for at in self.of[stream].begun if back < at < shown), default=back)


@dataclass
class Watcher:
    """A fleet, and everything it said with the time at which it did."""

    fleet: Fleet
    bus: MemoryBus
    ledger: Ledger
    said: list[tuple[float, Record]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def collect(self) -> None:
        while not self.stop.is_set():
            for topic in (FRAMES, SOUNDS, JOURNAL):
                deliveries = self.bus.receive((topic,), "bench", limit=32, wait_s=0.01)
                for delivery in deliveries:
                    record = delivery.record
                    if isinstance(record, Frame):
                        self.ledger.stored(record.stream, epoch=record.epoch)
                    if not isinstance(record, Sound):
                        self.said.append((time.monotonic(), record))
                self.bus.acknowledge(deliveries)

    def first(self, stream: StreamId, since: float, wanted: Callable[[Record], bool]) -> float:
        """When the first such record of a stream came after `since`; waits for it."""
        end = time.monotonic() + 150
        while time.monotonic() < end:
            for at, record in list(self.said):
                if at > since and record.stream == stream and wanted(record):
                    return at
            time.sleep(0.05)
        raise SystemExit(f"{stream} never said what was waited for")

    def gaps(self, stream: StreamId) -> list[Gap]:
        """Each gap as it was last told."""
        last = {one.span.start: one for _, one in list(self.said) if isinstance(one, Gap) and one.stream == stream}
        return [last[start] for start in sorted(last)]


@contextmanager
def watching(limits: Limits, urls: dict[StreamId, str], folder: Path) -> Iterator[Watcher]:
    ledger = Ledger()
    bus = MemoryBus(dict.fromkeys((FRAMES, SOUNDS, JOURNAL), ("bench",)), ledger=ledger)
    watcher = Watcher(Fleet(bus, Guard([], NETWORKS), ledger, SystemClock(), limits), bus, ledger)
    thread = threading.Thread(target=watcher.collect)
    thread.start()
    for stream, url in urls.items():
        watcher.fleet.start(CapturePlan(stream, parse(url), recording=Recording(folder / stream, 4.0)))
    try:
        yield watcher
    finally:
        watcher.fleet.close()
        time.sleep(0.5)
        watcher.stop.set()
        thread.join()
        for stream in urls:
            assert ledger.counts(stream).in_flight == 0, "the account of frames does not balance"


def unwell(record: Record) -> bool:
    return isinstance(record, StateChange) and record.state in ("offline", "stalled", "failed")


Fault = Callable[[Camera, Wires], None]


def drop(name: str, fault: Fault, mend: Fault) -> None:
    """One way of going and coming back, for all paths at once."""
    camera = Camera()
    wires = Wires(camera.port, map(StreamId, PATHS))
    urls = {stream: f"rtsp://{LOGIN}@127.0.0.1:{wire.port}/{stream}" for stream, wire in wires.of.items()}
    with tempfile.TemporaryDirectory() as folder, watching(Limits(), urls, Path(folder)) as watcher:
        clock = SystemClock()
        for stream in urls:
            watcher.first(stream, 0, lambda one: isinstance(one, Frame))
        time.sleep(3)
        gone, gone_at = time.monotonic(), clock.now()
        fault(camera, wires)
        noticed = [watcher.first(stream, gone, unwell) - gone for stream in urls]
        time.sleep(max(0.0, gone + DOWN_S - time.monotonic()))
        mend(camera, wires)
        back, back_at = time.monotonic(), clock.now()
        frames = {stream: watcher.first(stream, back, lambda one: isinstance(one, Frame)) for stream in urls}
        time.sleep(1.0)
        early, late, apart = [], [], set()
        for stream in urls:
            gap = min(watcher.gaps(stream), key=lambda one: abs(one.span.start - gone_at))
            early.append(abs(gap.span.start - gone_at) / 1e6)
            late.append((gap.span.end - back_at) / 1e6)
            epochs = {one.epoch for _, one in watcher.said if isinstance(one, Frame) and one.stream == stream}
            apart.add(len(epochs) > 1)
        after = max(shown - wires.attempt(stream, back, shown) for stream, shown in frames.items())
        whole = max(frames.values()) - back
        passed = max(noticed) <= 5 and after <= 2 and apart == {True}
        print(
            f"  {name:34} noticed {max(noticed):4.1f} s   picture {whole:5.1f} s after return"
            f" ({after:4.1f} s after its attempt)   gap begins {max(early):4.1f} s off"
            f"   {'ok' if passed else 'MISSED'}"
        )
    camera.kill()


def nothing(_camera: Camera, _wires: Wires) -> None: ...


def mood(name: str) -> Fault:
    def change(_camera: Camera, wires: Wires) -> None:
        wires.change(name)

    return change


DROPS: dict[str, tuple[str, Fault, Fault]] = {
    "kill": ("process killed", lambda camera, _: camera.kill(), lambda camera, _: camera.start()),
    "reset": ("connection reset", lambda _, wires: wires.reset(), mood("pass")),
    "teardown": ("ended in good order", lambda camera, _: camera.tear_down(), nothing),
    "hold": ("half-open", mood("hold"), lambda camera, wires: (wires.reset(), mood("pass")(camera, wires))[1]),
    "drip": ("a byte every half second", mood("drip"), mood("pass")),
    "password": (
        "another password",
        lambda camera, _: camera.restart("admin:second"),
        lambda camera, _: camera.restart(),
    ),
    "reboot": ("reboot, its clock anew", lambda camera, _: camera.restart(), nothing),
}


def flap() -> None:
    """Up for two seconds, down for two, for a minute: attempts must grow rare."""
    camera, stream = Camera(), StreamId("cam")
    wire = Wire(camera.port)
    stopping = threading.Event()

    def flapping() -> None:
        while not stopping.is_set():
            wire.mood = "pass"
            stopping.wait(2)
            wire.reset()
            stopping.wait(2)

    url = f"rtsp://{LOGIN}@127.0.0.1:{wire.port}/cam"
    with tempfile.TemporaryDirectory() as folder, watching(Limits(), {stream: url}, Path(folder)) as watcher:
        watcher.first(stream, 0, lambda one: isinstance(one, Frame))
        thread = threading.Thread(target=flapping)
        since, states = time.monotonic(), len([one for _, one in watcher.said if isinstance(one, StateChange)])
        thread.start()
        time.sleep(FLAP_S)
        stopping.set()
        thread.join()
        begun = [at - since for at in wire.begun if at > since]
        busiest = max(sum(at <= other < at + 2 for other in begun) for at in begun)
        told = len([one for _, one in watcher.said if isinstance(one, StateChange)]) - states
        print(f"  flap every 2 s for {FLAP_S:.0f} s: attempts at {', '.join(f'{at:.0f}' for at in begun)} s; at most")
        print(f"  {busiest} within 2 s (goal 1), {told} changes of state told")
    camera.kill()


def dead() -> None:
    """What an address costs where nobody answers."""
    before, stream = resource.getrusage(resource.RUSAGE_CHILDREN), StreamId("dead")
    limits, url = Limits(backoff_first_s=0.2, backoff_most_s=0.2), f"rtsp://127.0.0.1:{free_port()}/x"
    with tempfile.TemporaryDirectory() as folder, watching(limits, {stream: url}, Path(folder)) as watcher:
        time.sleep(12)
        status: Any = watcher.fleet.status(stream)
        tries = status.reconnects + 1
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / tries
    print(f"  a dead address: {spent:.2f} CPU-s an attempt, {spent / 60:.1%} of a core at one in 60 s (goal 2 %)")


def hundred() -> None:
    """A hundred cameras that return at once, by the arithmetic of back-off and turnstile alone."""
    clock, limits = FakeClock(), Limits()
    turnstile, begun = Turnstile(limits, clock), []
    for wait in sorted(Backoff(limits).next() for _ in range(100)):
        clock.advance(max(0.0, wait - clock.monotonic()))
        begun.append(clock.monotonic() + turnstile.turn())
    busiest = max(sum(start <= other < start + 0.999 for other in begun) for start in begun)
    print(f"  100 cameras lost at once: at most {busiest} attempts a second (goal 10), all within {max(begun):.0f} s")
    print("  (computed; their processes are not started here)")


def silence(visitor: socket.socket) -> None:
    while visitor.recv(4096):
        pass


def says(text: bytes) -> Callable[[socket.socket], None]:
    def talk(visitor: socket.socket) -> None:
        visitor.recv(4096)
        visitor.sendall(text)
        silence(visitor)

    return talk


def drips(visitor: socket.socket) -> None:
    visitor.recv(4096)
    visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
    while True:
        visitor.sendall(b"x")
        time.sleep(0.5)


OPTIONS = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
PEERS: dict[str, tuple[str, Callable[[socket.socket], None]]] = {
    "tcp accepted, nothing said": ("rtsp", silence),
    "rtsp silent after OPTIONS": ("rtsp", says(OPTIONS)),
    "rtmp silent": ("rtmp", silence),
    "http silent": ("http", silence),
    "http silent after its head": ("http", says(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")),
    "http a byte every half second": ("http", drips),
}


def silent_peers(timeout_s: float = 3.0) -> None:
    for name, (scheme, talk) in PEERS.items():
        server = socket.create_server(("127.0.0.1", 0))

        def serve(server: socket.socket = server, talk: Callable[[socket.socket], None] = talk) -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=quiet, args=(talk, server.accept()[0]), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        begun = time.monotonic()
        try:
            probe(parse(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x"), Guard([], NETWORKS), timeout_s=timeout_s)
            outcome = "opened"
        except HindsightError as error:
            outcome = error.code
        took = time.monotonic() - begun
        print(f"  {name:34} {took:4.1f} s of {timeout_s:.0f} (goal {timeout_s + 0.5:.1f})   {outcome}")
        server.close()


def quiet(talk: Callable[[socket.socket], None], visitor: socket.socket) -> None:
    with suppress(OSError):
        talk(visitor)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help=f"some of {', '.join(DROPS)}, flap, dead, hundred, silent")
    only = [part for part in parser.parse_args().only.split(",") if part]
    print("going and coming back (goals: noticed within 5 s, a picture within 2 s of the back-off, other epochs):")
    for key, (name, fault, mend) in DROPS.items():
        if not only or key in only:
            drop(name, fault, mend)
    print("flapping, and being dead:")
    for key, work in {"flap": flap, "dead": dead, "hundred": hundred}.items():
        if not only or key in only:
            work()
    if not only or "silent" in only:
        print("peers that say nothing:")
        silent_peers()


if __name__ == "__main__":
    main()
