"""Every trick of `tricks`, against trap servers that count visits and a file that knows when it is opened: 0 and 0."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from ingest.beginning import Task
from ingest.child import Decoder, source_details
from ingest.errors import HindsightError
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.probe import probe
from ingest.sampling import Sampling
from ingest.sources import SourceSpec, parse
from tests.ingest.conftest import LOOPBACK, Trap, answer
from tests.ingest.fuzzing import read_through
from tests.ingest.tricks import BESIDE, BOMBS, FILES, LOOPBACKS, SHUT, Watchman, hls

CODES = {"read", "not-video", "broken-video", "too-large"}
"""What may come of a file."""


@pytest.fixture
def lure(tmp_path: Path, clips: Path) -> Iterator[tuple[Path, Watchman]]:
    """A film that lies beside the hostile file, under other names too, and who tells whether it was opened."""
    path = tmp_path / "lure.mp4"
    path.write_bytes((clips / "ten.mp4").read_bytes())
    for name in BESIDE:
        (tmp_path / name).hardlink_to(path)
    watchman = Watchman(path)
    yield path, watchman
    watchman.close()


def test_the_watchman_sees(lure: tuple[Path, Watchman]) -> None:
    path, watchman = lure
    assert watchman.opened == 0
    path.read_bytes()
    assert watchman.opened == 1


@pytest.mark.parametrize("name", FILES)
def test_a_file_leads_nowhere(
    name: str, lure: tuple[Path, Watchman], trap: Callable[..., Trap], tmp_path: Path
) -> None:
    path, watchman = lure
    inside = trap(answer(b"secret"))
    hostile = tmp_path / name
    hostile.write_bytes(FILES[name](str(path), f"http://127.0.0.1:{inside.port}"))
    code = read_through(hostile)
    assert (inside.hits, watchman.opened) == (0, 0)
    assert code in CODES


@pytest.fixture(scope="module")
def astray(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files that lead a reader astray that trusts them."""
    folder = tmp_path_factory.mktemp("trusting")
    (folder / "lure.mp4").write_bytes((clips / "ten.mp4").read_bytes())
    order = [sys.executable, "-m", "tests.ingest.trusting", str(folder)]
    done = subprocess.run(order, capture_output=True, text=True, timeout=120, check=True)
    *names, last = done.stdout.splitlines()
    assert last == "all were read"
    return set(names)


@pytest.mark.parametrize("name", FILES)
def test_a_file_leads_a_trusting_reader_astray_or_is_known_not_to(name: str, astray: set[str]) -> None:
    """So that what the guarded one is tested with could lead it somewhere, but for `SHUT`."""
    assert (name in astray) == (name not in SHUT)


@pytest.mark.parametrize("name", FILES)
def test_neither_does_it_over_http(name: str, lure: tuple[Path, Watchman], trap: Callable[..., Trap]) -> None:
    """The same bytes from a server that may be reached: the one visit is to that server."""
    path, watchman = lure
    inside = trap(answer(b"secret"))
    body = FILES[name](str(path), f"http://127.0.0.2:{inside.port}")
    door = trap(answer(body, kind="application/octet-stream"))
    for address in (f"http://127.0.0.1:{door.port}/film.mp4", f"http://127.0.0.1:{door.port}/live.m3u8"):
        told = outcome(address)
        assert (inside.hits, watchman.opened) == (0, 0)
        assert told in CODES | {"source-refused", "not-found", "source-unavailable"}


def outcome(address: str) -> str:
    """What came of reading an address to its end."""
    try:
        with open_source(remote(address), Limits(read_s=1)) as opened:
            read_all(opened)
    except HindsightError as error:
        return error.code if error.advice else "without advice"
    return "read"


def remote(address: str) -> dict[str, object]:
    return source_details(parse(address), Guard([], ["127.0.0.1/32"]))


def read_all(opened: object) -> None:
    for packet in opened.container.demux():  # type: ignore[attr-defined]
        packet.decode()


@pytest.mark.parametrize("host", LOOPBACKS)
@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_an_address_of_this_machine_is_reached_in_no_spelling(
    scheme: str, host: str, trap: Callable[..., Trap]
) -> None:
    inside = trap(answer(b"secret"))
    with pytest.raises(HindsightError) as caught:
        open_with(parse(f"{scheme}://{host}:{inside.port}/x.mp4"))
    assert inside.hits == 0
    assert caught.value.advice


@pytest.mark.parametrize("host", LOOPBACKS)
def test_no_webhook_reaches_it_either(host: str, trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    with pytest.raises(HindsightError):
        Guard([]).request("POST", f"http://{host}:{inside.port}/hook", json={}, timeout_s=2)
    assert inside.hits == 0


def open_with(spec: SourceSpec) -> None:
    with open_source(source_details(spec, Guard([])), Limits(read_s=1)):
        pass


ELSEWHERE = (
    "http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "http://0177.0.0.2:{port}/", "http://0x7f000002:{port}/",
    "http://2130706434:{port}/", "http://[::ffff:127.0.0.2]:{port}/", "http://127.0.0.1@127.0.0.2:{port}/",
    "http://127.0.0.2:{port}\\@127.0.0.1/", "https://127.0.0.2:{port}/", "file:///etc/passwd", "rtsp://127.0.0.2:{port}/",
    "gopher://127.0.0.2:{port}/", "data:video/mp4,x", "concat:/etc/passwd", "tcp://127.0.0.2:{port}",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://127.0.0.2:{port}/\r\nHost: x",
)  # fmt: skip


@pytest.mark.parametrize("to", ELSEWHERE)
@pytest.mark.parametrize("path", ["film.mp4", "live.m3u8", "camera"])
def test_no_redirect_leads_there(path: str, to: str, trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    door = trap(answer(b"", head=f"HTTP/1.1 302 Found\r\nLocation: {to.format(port=inside.port)}"))
    with pytest.raises(HindsightError), open_source(remote(f"http://127.0.0.1:{door.port}/{path}"), Limits(read_s=1)):
        pass
    assert inside.hits == 0


@pytest.mark.parametrize("to", ELSEWHERE)
def test_no_playlist_leads_there(to: str, trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    told = hls("#EXTINF:1,\n" + to.format(port=inside.port))("", "")
    door = trap(answer(told, kind="application/vnd.apple.mpegurl"))
    with (
        pytest.raises(HindsightError),
        open_source(remote(f"http://127.0.0.1:{door.port}/live.m3u8"), Limits(read_s=1)) as opened,
    ):
        read_all(opened)
    assert inside.hits == 0


@pytest.mark.parametrize("name", ["link.mp4", "folder/lure.mp4", "up/../../lure.mp4", "chain.mp4", "proc.mp4"])
def test_a_link_in_a_folder_leads_nowhere(name: str, lure: tuple[Path, Watchman], tmp_path: Path) -> None:
    """A folder of films, or of uploads, in which someone laid links."""
    path, watchman = lure
    films = tmp_path / "films"
    (films / "up").mkdir(parents=True)
    (films / "link.mp4").symlink_to(path)
    (films / "folder").symlink_to(tmp_path)
    (films / "chain.mp4").symlink_to(films / "link.mp4")
    (films / "proc.mp4").symlink_to("/proc/self/cwd")
    with pytest.raises(HindsightError):
        probe(parse(str(films / name)), Guard([films]))
    assert watchman.opened == 0


# --- bombs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_told_and_harms_no_one(name: str, tmp_path: Path) -> None:
    """Through the real child with less memory than the bombs want: an answer in time, and every answer one of ours."""
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 12_000_000
    begun = time.monotonic()
    with Decoder("probe", source_details(parse(str(path)), Guard([])), Limits(memory_mb=512, cpu_s=8)) as decoder:
        told = looked_at(decoder)
    assert told in {"read", "not-video", "broken-video", "too-large", "decoder-died"}
    assert time.monotonic() - begun < 90


def looked_at(decoder: Decoder) -> str:
    try:
        info = decoder.result(90)
    except HindsightError as error:
        return error.code
    return "read" if info["width"] * info["height"] <= Limits().max_pixels else "too large, and let in"


# --- a child that reads a file has no network ------------------------------------------------------------------

TRY = """
import socket, sys
from ingest.decode import leave_network
if "out" in sys.argv[2:] and not leave_network():
    print("not permitted")
    sys.exit()
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        with socket.socket(socket.AF_INET, kind) as made:
            made.settimeout(60)
            made.connect(("127.0.0.1", int(sys.argv[1])))
            made.send(b"hello")
            if kind == socket.SOCK_STREAM:
                made.recv(1)  # by then it was counted
            print("reached")
    except OSError as error:
        print("refused", error.errno)
"""


def attempts(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", TRY, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_code_that_runs_in_the_child_reaches_nothing(trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    assert attempts(str(inside.port))[0] == "reached"
    assert inside.hits == 1
    told = attempts(str(inside.port), "out")
    if told == ["not permitted"]:
        pytest.skip("this kernel lets nobody leave the network")
    assert [line.split()[0] for line in told] == ["refused"] * 2
    assert inside.hits == 1


def test_a_child_that_reads_a_file_is_outside_and_one_that_reads_a_camera_is_not(
    clips: Path, trap: Callable[..., Trap]
) -> None:
    def silent(visitor: socket.socket) -> None:
        visitor.recv(65536)
        visitor.recv(65536)

    if attempts("1", "out") == ["not permitted"]:
        pytest.skip("this kernel lets nobody leave the network")
    file = parse(str(clips / "long.mp4"))
    task = Task("cam", False, 0, 0, Sampling(), False, None, None, None, None, 60)
    reading = {"source": source_details(file, Guard([])), "task": asdict(task)}
    with Decoder("capture", reading, Limits()) as decoder:  # its pipe is full before the film is over
        assert isinstance(decoder.receive(60), tuple)
        assert network(decoder.pid) != network(os.getpid())
    peer = trap(silent)
    camera = parse(f"rtsp://127.0.0.1:{peer.port}/x")
    with Decoder("probe", source_details(camera, Guard([], LOOPBACK)), Limits()) as decoder:
        while not peer.hits:
            time.sleep(0.02)
        assert network(decoder.pid) == network(os.getpid())


def network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())
