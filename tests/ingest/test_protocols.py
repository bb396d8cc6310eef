"""Every way in which a live picture comes, from a real server of its kind on loopback."""

from __future__ import annotations

import http.server
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from ingest import supervise
from ingest.capture import CapturePlan, Recording
from ingest.clock import SystemClock
from ingest.errors import HindsightError, Invalid, NotVideo, SourceRefused, SourceUnavailable
from ingest.guard import Guard, PinnedUrl
from ingest.limits import Limits
from ingest.probe import probe
from ingest.records import Frame, Segment, Sound, seconds
from ingest.sampling import Sampling
from ingest.sources import parse
from ingest.srt import SrtStream, order
from tests.ingest.conftest import LOOPBACK, STREAM, Harvest, RtspServer, decoders, parent
from tests.media import Clip, make, number_in, numbers_of

GUARD = Guard([], LOOPBACK)
SAMPLED = Sampling(floor_hz=4, ceiling_hz=4)
EVERY = Sampling(floor_hz=60, ceiling_hz=60)
QUICK = Limits(read_s=10.0, stall_s=10.0, backoff_first_s=0.5, backoff_most_s=2.0)

pytestmark = pytest.mark.service
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs Debian's ffmpeg")


def seen(made: Harvest, url: str, folder: Path, frames: int = 10, **limits: float) -> list[Frame]:
    """Watch `url` until there are some frames and a segment; their times are those at which they came."""
    made.fleet.start(CapturePlan(STREAM, parse(url), sampling=SAMPLED, recording=Recording(folder, 1.0)))
    made.wait(lambda: len(made.of(Frame)) >= frames and made.of(Segment))
    within = seconds(limits.get("within_s", 1.5))
    made.wait(lambda: abs(SystemClock().now() - made.of(Frame)[-1].moment) < within)
    return made.of(Frame)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def ffmpeg(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A test picture with sound, sent as told, until the block ends."""
    source = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=440:r=16000"]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac"]
    process = subprocess.Popen(["ffmpeg", "-v", "error", *source, *encode, *arguments], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# --- RTSP ------------------------------------------------------------------------------------------------------


def test_rtsp_over_udp_by_choice(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    made = harvest(QUICK)
    seen(made, rtsp().url() + "#transport=udp", tmp_path / "recorded", frames=24)
    made.halt()
    assert made.of(Sound)
    assert len({frame.epoch for frame in made.of(Frame)}) == 1, "what it lacks is no jump of its clock"


def test_rtsps_by_the_certificate_that_a_person_named(
    rtsp: Callable[..., RtspServer], harvest: Callable[..., Harvest], certificate: Path, tmp_path: Path
) -> None:
    """Refused with its fingerprint, watched once that is named, refused when another is shown."""
    url = rtsp("--tls", str(certificate)).url().replace("rtsp:", "rtsps:")
    with pytest.raises(SourceUnavailable) as caught:
        probe(parse(url), GUARD)
    assert "vouches" in str(caught.value)
    named = caught.value.advice.rpartition("#")[2]
    with pytest.raises(SourceRefused) as other:
        probe(parse(f"{url}#sha256={'0' * 64}"), GUARD)
    assert named in other.value.advice
    made = harvest(QUICK)
    seen(made, f"{url}#{named}", tmp_path / "recorded")


# --- RTMP, SRT -------------------------------------------------------------------------------------------------


@needs_ffmpeg
def test_rtmp(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    """ffmpeg serves one visitor and ends; a live stream that nobody serves any more is offline."""
    url, made = f"rtmp://127.0.0.1:{free_port()}/live/door", harvest(QUICK)
    with ffmpeg("-f", "flv", "-listen", "1", url):
        listening(url)
        seen(made, url, tmp_path / "recorded")
    made.wait(lambda: made.states()[-1:] == ["offline"])
    assert made.of(Frame)


def listening(url: str) -> None:
    """Wait until someone listens, without visiting: ffmpeg has room for one visitor."""
    wanted = f":{int(url.split(':')[2].split('/', maxsplit=1)[0]):04X} "
    end = time.monotonic() + 60
    while not any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()):
        assert time.monotonic() < end, "nobody listens"
        time.sleep(0.05)


@needs_ffmpeg
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
def test_srt_with_a_passphrase_that_stands_on_no_command_line(harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    canary = secrets.token_hex(4)
    word, port, made = f"{canary}:p%s's+&/word", free_port(socket.SOCK_DGRAM), harvest(QUICK)
    url = f"srt://127.0.0.1:{port}?passphrase={quote(word, safe='')}"
    with ffmpeg("-passphrase", word, "-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener") as server:
        time.sleep(1)
        seen(made, url, tmp_path / "recorded", within_s=3)
        told = [line for pid, line in commands().items() if canary.encode() in line and pid != server.pid]
        assert told == []
        ours = {pid for pid, line in commands().items() if b"ffmpeg" in line and parent(pid) in decoders()}
        assert ours
        made.halt()
        made.wait(lambda: not ours & set(commands()))


@needs_ffmpeg
def test_srt_that_nobody_serves_and_questions_it_has_no_answer_to() -> None:
    with pytest.raises(HindsightError) as caught:
        probe(parse(f"srt://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"), GUARD, timeout_s=5)
    assert caught.value.advice
    for query in ("mode=listener", "streamid=%0Afile%20x"):
        with pytest.raises(Invalid):
            probe(parse(f"srt://127.0.0.1:9?{query}"), GUARD)


@needs_ffmpeg
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
def test_srt_that_is_not_mpegts_is_said_so() -> None:
    """Of all the formats that the program knows, some that name other files, it opens the one that SRT carries."""
    port = free_port(socket.SOCK_DGRAM)
    with ffmpeg("-f", "matroska", f"srt://127.0.0.1:{port}?mode=listener"), pytest.raises(NotVideo) as caught:
        probe(parse(f"srt://127.0.0.1:{port}"), GUARD, timeout_s=60)  # a caller asks until someone listens
    assert "MPEG-TS" in str(caught.value)
    assert "-f mpegts" in caught.value.advice


def test_a_program_that_complains_without_end_is_heard_and_does_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More words than a pipe holds, and the pictures behind them come."""
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\nprintf pictures\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with SrtStream(PinnedUrl("srt://127.0.0.1:7", "127.0.0.1", "127.0.0.1", 7), timeout_s=20) as stream:
        assert stream.read(100) == b"pictures"
        assert stream.read(100) == b""


def test_over_srt_the_next_address_is_dialled_where_one_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are told in vain where nobody answers, and none but those."""
    asked, program = tmp_path / "asked", tmp_path / "ffmpeg"
    answers = "grep -q 2001:db8::3 && printf pictures || { echo 'Connection timed out' >&2; exit 1; }"
    program.write_text(f"#!/bin/sh\ntee -a {asked} | {answers}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    url = "srt://cam.example:7?streamid=x"
    with SrtStream(PinnedUrl(url, "192.0.2.1", "cam.example", 7, ("2001:db8::3", "192.0.2.2")), timeout_s=20) as stream:
        assert stream.read(100) == b"pictures"
        assert stream.read(100) == b""
    dialled = [line for line in asked.read_text().splitlines() if line.startswith("file")]
    waits = "mode=caller&connect_timeout=6667"
    assert dialled == [f"file 'srt://192.0.2.1:7?{waits}'", f"file 'srt://[2001:db8::3]:7?{waits}'"]
    pinned = PinnedUrl(url, "192.0.2.1", "cam.example", 7, ("192.0.2.2",))
    with SrtStream(pinned, timeout_s=20) as stream, pytest.raises(SourceUnavailable):
        stream.read(100)
    assert asked.read_text().count("file 'srt") == 4


def test_what_srt_is_told_stands_as_it_was_meant() -> None:
    """Servers tell by the stream id, its punctuation included, who wants what."""
    whole = parse(f"srt://[2001:db8::1]:7?streamid={quote('#!::r=live/cam,m=request', safe='')}&latency=20000")
    pinned = PinnedUrl(whole.location, "2001:db8::1", "2001:db8::1", 7)
    assert order(pinned, 2.0).splitlines() == [
        "ffconcat version 1.0",
        "file 'srt://[2001:db8::1]:7?mode=caller&connect_timeout=2000'",
        "option format_whitelist mpegts",
        "option streamid '#!::r=live/cam,m=request'",
        "option latency '20000'",
    ]


def commands() -> dict[int, bytes]:
    """Every process's command line."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(path.parent.name)] = path.read_bytes()
    return found


# --- HTTP ------------------------------------------------------------------------------------------------------


class Camera(http.server.BaseHTTPRequestHandler):
    """Motion JPEG as web cameras send it, 10 pictures a second or fewer, until it falls silent."""

    pictures: tuple[bytes, ...] = ()
    with_length = True
    apart_s = 0.1
    silent = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--picture")
        self.end_headers()
        number = 0
        with suppress(OSError):
            while not self.silent.wait(self.apart_s):
                jpeg = self.pictures[number % len(self.pictures)]
                length = f"Content-Length: {len(jpeg)}\r\n" if self.with_length else ""
                self.wfile.write(f"--picture\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + jpeg + b"\r\n")
                number += 1
            self.rfile.read()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def jpegs(count: int = 30) -> tuple[bytes, ...]:
    import io

    import numpy as np
    from PIL import Image

    made = []
    for n in range(count):
        picture = np.full((120, 160, 3), 90, np.uint8)
        picture[40:80, 4 * n : 4 * n + 30] = (230, 20, 20)
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG")
        made.append(data.getvalue())
    return tuple(made)


@pytest.mark.parametrize("with_length", [True, False])
def test_motion_jpeg_over_http(with_length: bool, harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    handler = type("Door", (Camera,), {"pictures": jpegs(), "with_length": with_length})
    with serving(handler) as address:
        frames = seen(harvest(QUICK), f"{address}/video.cgi", tmp_path / "recorded")
        assert (frames[0].pixels[5, 5] // 32).tolist() == [2, 2, 2]
        reds = [int((frame.pixels[60, :, 0] > 180).argmax()) for frame in frames]
        assert len(set(reds)) > 3, "what moves is seen to move"


def test_a_camera_that_sends_rarely_is_known_by_its_own_pace(harvest: Callable[..., Harvest]) -> None:
    """Nothing tells how often it sends, and libav guesses 25 pictures a second: five intervals are five of its own."""
    silent = threading.Event()
    handler = type("Door", (Camera,), {"pictures": jpegs(), "apart_s": 1.3, "silent": silent})
    made = harvest(Limits(stall_s=0.5, backoff_first_s=30))
    with serving(handler) as address:
        made.fleet.start(CapturePlan(STREAM, parse(f"{address}/video.cgi"), sampling=SAMPLED))
        made.wait(lambda: len(made.of(Frame)) >= 8)
        assert made.states() == ["connecting", "live"]
        begun = time.monotonic()
        silent.set()
        made.wait(lambda: made.states()[-1:] == ["stalled"])
        assert time.monotonic() - begun > 3
        made.halt()


def test_the_log_tells_when_a_camera_goes_and_when_it_is_back(
    harvest: Callable[..., Harvest], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, however often it is tried meanwhile; of what comes and goes, once a minute: here, once an hour."""
    monkeypatch.setattr(supervise, "_WARN_EVERY_S", 3600.0)
    caplog.set_level("INFO", "ingest.supervise")
    made, port = harvest(Limits(backoff_first_s=0.2, backoff_most_s=0.4)), free_port()
    made.fleet.start(CapturePlan(STREAM, parse(f"http://127.0.0.1:{port}/video.cgi"), sampling=SAMPLED))

    def attempts() -> int:
        status = made.fleet.status(STREAM)
        return status.reconnects if status is not None else 0

    made.wait(lambda: attempts() >= 3)
    for _ in range(2):
        silent = threading.Event()
        with serving(type("Door", (Camera,), {"pictures": jpegs(), "silent": silent}), port):
            made.wait(lambda: made.states()[-1:] == ["live"])
            silent.set()
        before = attempts()
        made.wait(lambda before=before: attempts() >= before + 2)
    made.halt()
    told = [(record.levelname, record.getMessage().partition(".")[0]) for record in caplog.records]
    assert told == [("WARNING", "cam is offline"), ("INFO", "cam is live again")]


def test_the_log_does_not_warn_of_cameras_where_the_service_is_stopped(
    harvest: Callable[..., Harvest], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ingest.supervise")
    made = harvest()
    with serving(type("Door", (Camera,), {"pictures": jpegs()})) as address:
        made.fleet.start(CapturePlan(STREAM, parse(f"{address}/video.cgi"), sampling=SAMPLED))
        made.wait(lambda: made.states()[-1:] == ["live"])
        made.fleet.close()
    made.wait(lambda: made.states()[-1:] == ["offline"])
    assert caplog.records == []


@needs_ffmpeg
def test_hls_that_slides_is_followed_and_what_slid_away_is_passed_over(
    harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    """Segments of two seconds, which come at once and are no overload; what is gone when it is asked for is a hole and
    not the end."""
    folder, made = tmp_path / "hls", harvest(QUICK)
    folder.mkdir()
    late = threading.Event()

    class Slow(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".ts") and late.is_set():
                late.clear()
                self.send_error(404)
                return
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    sliding = ["-f", "hls", "-hls_time", "2", "-hls_list_size", "4", "-hls_flags", "delete_segments"]
    with serving(partial(Slow, directory=str(folder))) as address, ffmpeg(*sliding, str(folder / "live.m3u8")):
        made.wait((folder / "live3.ts").exists)
        seen(made, f"{address}/live.m3u8", tmp_path / "recorded", frames=40, within_s=12)
        late.set()
        before = len(made.of(Frame))
        made.wait(lambda: not late.is_set() and len(made.of(Frame)) > before + 16)
        status = made.fleet.status(STREAM)
        assert status is not None
        assert status.skipped == 0
        assert "offline" not in made.states()
        assert "failed" not in made.states()


class Box(http.server.BaseHTTPRequestHandler):
    """A film without a length, at its own pace, or as fast as it is taken, as set-top boxes and encoders serve it."""

    film, kind = b"", "video/mp2t"
    seconds = 12.0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.end_headers()
        step = max(1, len(self.film) // 120)
        with suppress(OSError):
            for start in range(0, len(self.film), step):
                self.wfile.write(self.film[start : start + step])
                time.sleep(self.seconds / 120)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(("name", "kind"), [("film.ts", "video/mp2t"), ("film.flv", "video/x-flv")])
def test_an_endless_body_is_a_camera(name: str, kind: str, harvest: Callable[..., Harvest], tmp_path: Path) -> None:
    """Whatever its address ends in. Its pictures have its own times, for not all come in the order of being seen."""
    film = make(tmp_path / name, Clip(seconds=12)).read_bytes()
    with serving(type("Paced", (Box,), {"film": film, "kind": kind})) as address:
        source, made = parse(f"{address}/{name}"), harvest(QUICK)
        assert not probe(source, GUARD).ends
        plan = CapturePlan(
            STREAM, replace(source, kind="live"), sampling=EVERY, recording=Recording(tmp_path / "r", 4.0)
        )
        made.fleet.start(plan)
        made.wait(lambda: len(made.of(Frame)) >= 150 and made.of(Segment), 100)
        met, status, missing = made.of(Frame), made.fleet.status(STREAM), 0
        made.halt()
    assert status is not None
    for epoch, group in itertools.groupby(met, lambda frame: frame.epoch):
        for one, two in itertools.pairwise(group):
            ahead = number_in(two.pixels) - number_in(one.pixels)
            assert ahead > 0, f"in the order of being seen, in epoch {epoch}"
            assert abs(two.moment - one.moment - ahead * 40_000) <= ahead * 1000
            missing += ahead - 1
    shed = status.skipped + made.ledger.counts(STREAM).dropped.get("overload", 0)
    assert missing <= shed, "what was not given up, because of overload and counted, came"
    whole = numbers_of(Path(made.of(Segment)[0].path))[:-1]  # of a lost connection, the last may have come too early
    assert whole == list(range(whole[0], whole[0] + len(whole))), "whatever was given up, it is recorded"


def test_a_body_without_a_length_that_comes_at_once_is_a_file(tmp_path: Path) -> None:
    film = make(tmp_path / "film.ts", Clip(seconds=30)).read_bytes()
    with serving(type("Rushed", (Box,), {"film": film, "seconds": 0.0})) as address:
        assert probe(parse(f"{address}/film.ts"), GUARD).ends


def test_every_refusal_says_what_to_do(trap: Callable[..., object]) -> None:
    for text in (
        "rtsp://127.0.0.1:1/x#transport=udp",
        "rtsps://127.0.0.1:1/x",
        "rtmp://127.0.0.1:1/x",
        "srt://127.0.0.1:9",
    ):
        with pytest.raises(HindsightError) as caught:
            probe(parse(text), GUARD, timeout_s=4)
        assert caught.value.advice, text
