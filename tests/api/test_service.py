"""The real thing: `hindsight serve` as a process with the embedded profile, and the command line against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.conftest import FILMED, wait_for
from tests.conserved import assert_left_conserved

pytestmark = [pytest.mark.service, pytest.mark.slow]

ENTERS, LEAVES, END = 4.0, 9.0, 14.0
"""Seconds between which a red box crosses the picture of `crossing.mp4`."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def write_crossing(path: Path, *, end: float = END, rate: int = 10) -> Path:
    """A still, speckled wall; a red box crosses it from left to right."""
    import av

    wall = np.random.default_rng(7).integers(90, 130, (240, 320, 1), np.uint8).repeat(3, axis=2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.gop_size = rate
        stream.codec_context.time_base = Fraction(1, rate)
        for number in range(round(end * rate)):
            at = number / rate % END
            picture = wall.copy()
            if ENTERS <= at < LEAVES:
                x = round((at - ENTERS) / (LEAVES - ENTERS) * 380) - 60
                picture[90:150, max(0, x) : max(0, x + 60)] = (210, 20, 20)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass
class Hindsight:
    """The command line with its own data folder, and a service started by it."""

    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HINDSIGHT_")}
        ours = {
            "HINDSIGHT_DATA": str(self.folder / "data"),
            "HINDSIGHT_PORT": str(self.port),
            "HINDSIGHT_ROOTS": json.dumps([str(self.folder)]),
            "HINDSIGHT_NETWORKS": '["127.0.0.0/8"]',
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        return {**kept, **ours, **self.extra}

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "api.cli", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def json(self, *arguments: str, timeout: float = 120) -> Any:
        done = self.run(*arguments, "--json", timeout=timeout)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def start(self, *wrapper: str) -> Hindsight:
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-P", "-m", "api.cli", "serve"],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.answers, within_s=90)
        return self

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return self.get("/v1/streams").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60, trust_env=False)

    def end(self, sig: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(sig)
        code = self.process.wait(30)
        assert_left_conserved(self.folder / "data", amid=True)
        return code

    def close(self) -> None:
        """However the test went, nothing of it stays."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)


@pytest.fixture
def hindsight(tmp_path: Path) -> Iterator[Hindsight]:
    found = Hindsight(tmp_path)
    yield found
    found.close()


def test_from_the_first_start_to_the_last(hindsight: Hindsight) -> None:
    """One long walk through everything a person does on the command line."""
    film = write_crossing(hindsight.folder / "crossing.mp4")
    down = hindsight.run("streams")
    assert down.returncode == 4
    assert "hindsight serve" in down.stderr
    hindsight.start()
    second = hindsight.run("serve")
    assert second.returncode == 3
    assert "running already" in second.stderr
    rival = Hindsight(hindsight.folder)  # another port, the same data
    refused = rival.run("serve")
    assert refused.returncode == 4
    assert "in use by another process" in refused.stderr

    assert hindsight.json("streams") == []
    rule = hindsight.json("rule", "add", "red", "something red", "--cooldown", "1")
    assert rule["understood"]
    added = hindsight.json("add", "door", str(film), "--starts-at", FILMED, "--wait")
    assert (added["state"], added["span"]["start"]) == ("finished", FILMED)

    found = hindsight.json("find", "something red")
    [hit] = found["hits"]
    assert abs(hit["span"]["start_offset_s"] - ENTERS) <= 1.0
    assert abs(hit["span"]["end_offset_s"] - LEAVES) <= 1.0
    absent = hindsight.run("find", "something blue")
    assert absent.returncode == 1
    assert "Nothing" in absent.stdout

    answer = hindsight.run("ask", "What happened on door?")
    assert answer.returncode == 0
    assert "red" in answer.stdout
    assert "[1] door 00:00:0" in answer.stdout
    assert hindsight.run("ask", "Did something blue come in?").returncode == 1
    assert "no video" in hindsight.run("ask", "What happened yesterday?").stdout
    assert "red" in hindsight.run("summary").stdout

    alerts = hindsight.json("alerts")
    assert abs(alerts[-1]["span"]["start_offset_s"] - ENTERS) <= 1.0
    tried = hindsight.json("rule", "test", "something red", "--cooldown", "1")
    assert len(tried) == len(alerts)
    removed = hindsight.run("rule", "remove", "red", "--json")
    assert removed.returncode == 0
    assert json.loads(removed.stdout) == {"removed": "red"}
    assert hindsight.json("rule", "list") == []

    clip = hindsight.folder / "out.mp4"
    assert hindsight.run("clip", "door", "00:03", "00:06", "-o", str(clip)).returncode == 0
    assert clip.read_bytes()[4:8] == b"ftyp"
    picture = hindsight.folder / "out.jpg"
    assert hindsight.run("frame", "door", "00:06", "-o", str(picture)).returncode == 0
    similar = hindsight.run("search", "--image", str(picture))
    assert similar.returncode in (0, 1), similar.stderr

    assert hindsight.run("health").returncode == 0
    assert hindsight.run("doctor").returncode == 0
    assert hindsight.json("budget")[0]["used_bytes"] > 0
    receipt = hindsight.json("erase", "door", "--from", "00:00", "--to", "00:10", "--yes")
    assert receipt["removed"]
    assert hindsight.run("find", "something red").returncode == 1
    assert hindsight.run("remove", "door", "--yes").returncode == 0
    assert film.exists()
    assert "server" not in hindsight.get("/").headers
    assert hindsight.end() == 0
    assert_left_conserved(hindsight.folder / "data")
    assert "Traceback" not in hindsight.log
    assert hindsight.run("doctor").returncode == 0  # with the service stopped


def kept_frames(folder: Path) -> list[str]:
    """Keys of every frame in the store: open rows and sealed chapters."""
    from ingest.clock import SystemClock
    from ingest.ledger import Ledger
    from memory.memory import Memory
    from models.embedded.encoder import EmbeddedEncoder

    encoder = EmbeddedEncoder()
    memory = Memory.open(folder, encoder=encoder.id, dim=encoder.dim, ledger=Ledger(), clock=SystemClock())
    try:
        [stream] = memory.store.streams.all()
        block = memory.recall.replay(stream.id)
        rows = zip(block.epochs, block.pts, block.origins, strict=True)
        assert memory.store.streams.frames(stream.id) == sum(origin == "frame" for origin in block.origins)
        return [f"{epoch}/{pts}" for epoch, pts, origin in rows if origin == "frame"]
    finally:
        memory.close()


def test_killed_in_the_middle_of_a_file_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = Hindsight(tmp_path / "whole"), Hindsight(tmp_path / "killed")
    for one in (whole, killed):
        write_crossing(one.folder / "long.mp4", end=42)
    try:
        whole.start()
        whole.json("add", "long", str(whole.folder / "long.mp4"), "--starts-at", FILMED, "--wait")
        assert whole.end() == 0

        killed.start()
        killed.json("add", "long", str(killed.folder / "long.mp4"), "--starts-at", FILMED)
        acknowledged = []
        for least in (0.15, 0.55):
            wait_for(lambda p=least: (killed.get("/v1/streams/long").json()["progress"] or 0) >= p, within_s=90)  # type: ignore[misc]
            killed.end(signal.SIGKILL)
            acknowledged.append(kept_frames(killed.folder / "data"))
            killed.start()
        wait_for(lambda: killed.get("/v1/streams/long").json()["state"] == "finished", within_s=90)
        assert killed.end() == 0
        for one in (whole, killed):
            assert_left_conserved(one.folder / "data")
    finally:
        whole.close()
        killed.close()
    expected, found = kept_frames(whole.folder / "data"), kept_frames(killed.folder / "data")
    assert len(found) == len(set(found))
    assert sum(len(part) < len(expected) for part in acknowledged) >= 2  # it was really in the middle
    for part in acknowledged:
        assert set(part) <= set(found)
    assert found == expected


class WantsAnotherPassword(socketserver.StreamRequestHandler):
    """What an RTSP camera says to wrong credentials, whatever is asked."""

    def handle(self) -> None:
        number = b"1"
        while line := self.rfile.readline():
            if line.lower().startswith(b"cseq:"):
                number = line.split(b":")[1].strip()
            if line == b"\r\n":
                realm = b'WWW-Authenticate: Basic realm="camera"\r\n'
                self.wfile.write(b"RTSP/1.0 401 Unauthorized\r\nCSeq: " + number + b"\r\n" + realm + b"\r\n")


def read(answer: subprocess.CompletedProcess[str]) -> str:
    return " ".join(answer.stderr.split())


def test_bad_input_is_told_and_leaves_nothing(hindsight: Hindsight) -> None:
    folder = hindsight.folder
    (folder / "text.mp4").write_text("This is a letter, not a film. " * 100)
    whole = write_crossing(folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end, and missing
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(8)
    locked = socketserver.ThreadingTCPServer(("127.0.0.1", 0), WantsAnotherPassword)
    threading.Thread(target=locked.serve_forever).start()
    closed = free_port()
    hindsight.start()
    silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}/cam.mp4"
    for source, code, said in (
        (str(folder / "missing.mp4"), 3, "There is no file"),
        (str(folder / "text.mp4"), 3, "video"),
        (str(folder / "cut.mp4"), 3, "video"),
        (silent_url, 4, ""),
        (f"rtsp://user:secret@127.0.0.1:{closed}/x", 4, "127.0.0.1"),
        (f"rtsp://user:secret@127.0.0.1:{locked.server_address[1]}/x", 3, "password"),
        ("/etc/passwd", 3, "outside"),
        ("/dev/video99", 3, "camera"),
        ("gopher://x/y", 3, "not allowed"),
        ("http://169.254.169.254/latest/meta-data", 3, "may not be reached"),
    ):
        began = time.monotonic()
        answer = hindsight.run("add", "bad", source)
        assert answer.returncode == code, (source, answer.returncode, answer.stderr)
        assert said.lower() in read(answer).lower(), (source, answer.stderr)
        assert "secret" not in answer.stderr
        assert len(answer.stderr.strip().splitlines()) >= 2, answer.stderr  # what happened, and what to do
        assert time.monotonic() - began < 40
    silent.close()
    locked.shutdown()
    locked.server_close()
    assert hindsight.json("streams") == []
    for arguments in (
        ("ask", "What happened?", "--stream", "nobody"),
        ("clip", "nobody", "1:00", "2:00", "-o", str(folder / "no.mp4")),
        ("remove", "nobody", "--yes"),
        ("erase", "nobody", "--yes"),
        ("rule", "remove", "nothing"),
    ):
        answer = hindsight.run(*arguments)
        assert (answer.returncode, "There is no" in answer.stderr) == (3, True), answer.stderr
    assert not (folder / "no.mp4").exists()
    assert hindsight.run("find").returncode == 2
    assert hindsight.run("ask", "x", "--from", "whenever").returncode == 3

    hindsight.json("add", "whole", str(folder / "whole.mp4"), "--wait")
    nowhere = hindsight.run("clip", "whole", "00:50", "00:55", "-o", str(folder / "no.mp4"))
    assert nowhere.returncode == 3
    assert "There is no" in nowhere.stderr
    assert list(folder.glob("no.mp4*")) == []
    assert [row["name"] for row in hindsight.json("streams")] == ["whole"]
    assert "secret" not in hindsight.log


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """A file size limit, which every user may set, stands in for a full disk: the kernel refuses to write on."""
    hindsight = Hindsight(tmp_path)
    size = 3_000_000
    (tmp_path / "large.bin").write_bytes(os.urandom(size))
    limit = "import resource, signal, sys, os; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); os.execv(sys.argv[1], sys.argv[1:])"
    try:
        hindsight.start(sys.executable, "-c", limit)
        answer = hindsight.run("add", "large", str(tmp_path / "large.bin"), "--upload")
        assert answer.returncode == 4
        assert "full" in answer.stderr
        [folder] = (tmp_path / "data" / "uploads").iterdir()
        assert (folder / "large.bin").stat().st_size == 0  # nothing half-written
        assert hindsight.json("streams") == []
        assert hindsight.run("health").returncode == 0
    finally:
        hindsight.close()
