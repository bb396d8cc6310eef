"""The guard against what tries to get past it; trap servers count who came."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.child import Decoder, source_details
from ingest.errors import (
    DeadlineExceeded,
    HindsightError,
    Invalid,
    NotFound,
    SourceRefused,
    SourceUnavailable,
    Unreachable,
)
from ingest.fetch import Call
from ingest.guard import Guard
from ingest.hls import HlsStream
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.sources import parse
from tests.ingest.conftest import LOOPBACK, Trap, answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"film")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return folder


# --- paths -----------------------------------------------------------------------------------------------------


def test_files_inside_a_root_are_allowed(root: Path) -> None:
    guard = Guard([root])
    assert guard.path(root / "a.mp4") == root / "a.mp4"
    with guard.open(root / "sub" / ".." / "a.mp4") as handle:
        assert handle.read() == b"film"


@pytest.mark.parametrize(
    "name",
    ["../secret.mp4", "sub/../../secret.mp4", "/etc/passwd", "/proc/self/environ", "/dev/zero", "/dev/stdin",
     "link.mp4", "folder-link/passwd", "fifo.mp4", "socket.mp4", "", ".", "..", "a.mp4/../../secret.mp4"],
)  # fmt: skip
def test_paths_that_lead_out_or_are_no_files_are_refused(name: str, root: Path) -> None:
    (root / "link.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "folder-link").symlink_to("/etc")
    os.mkfifo(root / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "socket.mp4"))
        with pytest.raises((SourceRefused, NotFound, Invalid)) as caught:
            Guard([root]).open(root / name)
    assert caught.value.advice


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 5000, "loop.mp4", "missing.mp4"])
def test_unusable_paths_are_told_apart(name: str, root: Path) -> None:
    (root / "loop.mp4").symlink_to(root / "loop.mp4")
    with pytest.raises((Invalid, NotFound)):
        Guard([root]).path(f"{root}/{name}")


def test_a_link_put_there_after_the_check_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard([root])
    real = guard.path(root / "a.mp4")
    real.unlink()
    real.symlink_to(root.parent / "secret.mp4")
    monkeypatch.setattr(guard, "path", lambda _: real)
    with pytest.raises(SourceRefused):
        guard.open(real)


@given(st.lists(st.sampled_from(["..", ".", "films", "a.mp4", "etc", "~", "//", "x"]), max_size=8))
def test_no_combination_leads_out(parts: list[str]) -> None:
    """Against the system's own realpath."""
    home = Path(__file__).parent
    try:
        allowed = Guard([home]).path(home.joinpath(*parts))
    except HindsightError:
        return
    assert os.path.commonpath([os.path.realpath(allowed), home]) == str(home)


# --- addresses -------------------------------------------------------------------------------------------------

FORBIDDEN = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "169.254.169.254", "169.254.0.1", "224.0.0.1", "255.255.255.255",
    "240.0.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "::1", "::", "fe80::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254", "168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_never_a_camera(address: str) -> None:
    guard = Guard([], resolver=lambda *_: [address])
    with pytest.raises(SourceRefused):
        guard.url("http://innocent.example/x")


@pytest.mark.parametrize("address", FORBIDDEN)
def test_one_bad_address_among_good_ones_is_enough(address: str) -> None:
    with pytest.raises(SourceRefused):
        Guard([], resolver=lambda *_: ["93.184.215.14", address]).url("http://innocent.example/x")


@pytest.mark.parametrize(
    "address", ["192.168.1.20", "10.1.2.3", "172.16.5.5", "93.184.215.14", "fd12::5", "2606:4700::1"]
)
def test_cameras_at_home_and_servers_outside_are_allowed(address: str) -> None:
    assert Guard([], resolver=lambda *_: [address]).url("rtsp://cam.example/x").address == address


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "0"],
)
def test_other_ways_to_write_loopback(host: str) -> None:
    """Resolved by the system as libav would."""
    with pytest.raises((SourceRefused, SourceUnavailable)):
        Guard([]).url(f"http://{host}/x")


def test_networks_are_granted_by_name_of_the_network() -> None:
    assert Guard([], LOOPBACK).url("http://127.0.0.1:8080/x").port == 8080
    with pytest.raises(SourceRefused):
        Guard([], ["10.0.0.0/8"]).url("http://127.0.0.1/x")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://h/x", "ftp://h/x", "data:,x", "//h/x", "http:///x"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(SourceRefused):
        Guard([], LOOPBACK).url(url)


def test_the_checked_address_is_dialled_whatever_the_name_means_by_then(trap: Callable[..., Trap]) -> None:
    """DNS rebinding: the second answer would be another one; there is no second question."""
    good, evil = trap(answer(b"good")), trap(answer(b"evil"))
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    guard = Guard([], LOOPBACK, resolver=lambda *_: [next(answers)])
    response = guard.request("GET", f"http://rebound.example:{good.port}/x")
    assert (response.status, response.body) == (200, b"good")
    assert next(answers) == "127.0.0.2"
    assert evil.hits == 0


def test_where_the_first_address_does_not_answer_the_next_is_dialled(trap: Callable[..., Trap]) -> None:
    """As of a camera that has an IPv6 address which leads nowhere."""
    good = trap(answer(b"good"))
    guard = Guard([], [*LOOPBACK, "::1/128"], resolver=lambda *_: ["::1", "::1", "127.0.0.1"])
    assert guard.request("GET", f"http://two.example:{good.port}/x").body == b"good"
    assert good.hits == 1


def test_no_more_addresses_are_dialled_than_there_is_patience_for_and_of_either_kind() -> None:
    many = [f"fd12::{n}" for n in range(1, 9)] + ["10.0.0.1", "10.0.0.2"]
    pinned = Guard([], resolver=lambda *_: many).url("rtsp://cam.example/x")
    assert (pinned.address, *pinned.others) == ("fd12::1", "10.0.0.1", "fd12::2", "10.0.0.2")
    with pytest.raises(SourceRefused):
        Guard([], resolver=lambda *_: [*many, "127.0.0.1"]).url("rtsp://cam.example/x")


# --- HTTP ------------------------------------------------------------------------------------------------------


def redirect(url: str) -> Callable[[socket.socket], None]:
    return answer(b"", head=f"HTTP/1.1 302 Found\r\nLocation: {url}")


def guarded() -> Guard:
    """A guard under which `door.example` is reachable and everything else is not."""
    return Guard([], ["127.0.0.1/32"], resolver=lambda host, _: [f"127.0.0.{1 if host == 'door.example' else 2}"])


@pytest.mark.parametrize(
    "to", ["http://inside.example:{port}/", "//inside.example:{port}/", "file:///etc/passwd", "ftp://x/"]
)
def test_a_redirect_to_where_we_may_not_go_is_refused(to: str, trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    door = trap(redirect(to.format(port=inside.port)))
    with pytest.raises(SourceRefused):
        guarded().request("GET", f"http://door.example:{door.port}/")
    assert inside.hits == 0


def test_a_redirect_to_where_we_may_go_is_followed(trap: Callable[..., Trap]) -> None:
    goal = trap(answer(b"here"))
    door = trap(redirect(f"http://127.0.0.1:{goal.port}/x"))
    assert Guard([], LOOPBACK).request("GET", f"http://127.0.0.1:{door.port}/").body == b"here"


@pytest.mark.parametrize("address", ["192.168.1.20", "10.1.2.3", "172.16.5.5", "fd12::5"])
def test_a_private_address_that_a_server_names_wants_a_grant(address: str) -> None:
    url = "http://inside.example/x"
    with pytest.raises(SourceRefused):
        Guard([], resolver=lambda *_: [address]).url(url, led=True)
    assert Guard([], [address], resolver=lambda *_: [address]).url(url, led=True).address == address
    assert Guard([], resolver=lambda *_: ["93.184.215.14"]).url(url, led=True)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """Any address, private ones often, and IPv4 ones as they are written in IPv6, too."""
    networks = [ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "0.0.0.0/0")]
    four = draw(st.sampled_from(networks).flatmap(lambda one: st.ip_addresses(network=one)))
    six = draw(st.sampled_from(["fc00::/7", "::/0"]).flatmap(lambda one: st.ip_addresses(network=one)))
    return draw(st.sampled_from([str(four), f"::ffff:{four}", f"64:ff9b::{four}", str(six)]))


@given(addresses())
def test_under_the_strict_reading_a_person_reaches_what_a_server_may_lead_to(address: str) -> None:
    """Which is nothing private; a grant is what lets either of them there."""

    def reached(guard: Guard, *, led: bool) -> bool:
        try:
            return guard.url("http://some.example/x", led=led).address == str(ip_address(address))
        except SourceRefused:
            return False

    usual, strict = (Guard([], resolver=lambda *_: [address], private=how) for how in ("named", "granted"))
    assert reached(strict, led=False) == reached(strict, led=True) == reached(usual, led=True)
    assert not (reached(strict, led=False) and ip_address(address).is_private)
    granted = Guard([], ["0.0.0.0/0", "::/0"], resolver=lambda *_: [address], private="granted")
    assert reached(granted, led=False)


@pytest.mark.parametrize("address", ["192.168.1.20", "10.1.2.3", "172.16.5.5", "fd12::5", "::ffff:10.1.2.3"])
def test_under_the_strict_reading_a_private_address_wants_a_grant_whoever_names_it(address: str) -> None:
    def guard(*networks: str) -> Guard:
        return Guard([], networks, resolver=lambda *_: [address], private="granted")

    url = "rtsp://cam.example/x"
    with pytest.raises(SourceRefused) as caught:
        guard("127.0.0.0/8").url(url)
    assert "HINDSIGHT_NETWORKS" in caught.value.advice
    assert guard("10.0.0.0/8", "192.168.1.0/24", "172.16.5.5", "fd12::/16").url(url)
    assert guard().url(url, granted=True), "as of what the operator configured"


@pytest.mark.parametrize("url", ["http://{}/a.mp4", "http://{}/a.m3u8", "rtsp://{}/a", "rtmp://{}/a/b"])
def test_under_the_strict_reading_a_child_dials_no_private_address(
    url: str, trap: Callable[..., Trap], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server on loopback stands in for a camera at home. Under the usual reading it is dialled."""
    monkeypatch.setattr("ingest.guard._PRIVATE", (ip_network("127.0.0.0/8"),))
    camera = trap(lambda visitor: visitor.close())
    spec = parse(url.format(f"127.0.0.1:{camera.port}"))
    with pytest.raises(SourceRefused), open_source(source_details(spec, Guard([], private="granted")), Limits()):
        pass
    assert camera.hits == 0
    with pytest.raises(HindsightError), open_source(source_details(spec, Guard([])), Limits()):
        pass
    assert camera.hits > 0


@pytest.mark.parametrize("scheme", ["http", "srt"])
def test_the_strict_reading_reaches_the_real_child(scheme: str) -> None:
    spec = parse(f"{scheme}://10.1.2.3:9/live")
    with Decoder("probe", source_details(spec, Guard([], private="granted")), Limits()) as decoder:
        with pytest.raises(SourceRefused) as caught:
            decoder.result(60)
        assert "HINDSIGHT_NETWORKS" in caught.value.advice


def at_home(host: str, _: int) -> list[str]:
    """`door.example` is a server that may be reached, everything else stands in a private network."""
    return ["127.0.0.1" if host == "door.example" else "192.168.1.1"]


@pytest.mark.parametrize("to", ["http://router.example/", "//router.example:{port}/", "http://192.168.1.1:{port}/"])
def test_neither_a_redirect_nor_a_playlist_leads_into_a_private_network(to: str, trap: Callable[..., Trap]) -> None:
    """A router answers whoever stands where we stand; who only leads there must not be able to ask it anything."""
    guard = Guard([], ["127.0.0.1/32"], resolver=at_home)
    door = trap(redirect(to.format(port=80)))
    with pytest.raises(SourceRefused, match="led"):
        guard.request("GET", f"http://door.example:{door.port}/", timeout_s=60)
    told = f"#EXTM3U\n#EXTINF:1,\n{to.format(port=80)}\n#EXT-X-ENDLIST\n"
    door = trap(answer(told.encode()))
    listed = HlsStream(guard, Call("GET", f"http://door.example:{door.port}/a.m3u8", timeout_s=60))
    with pytest.raises(SourceRefused, match="led"):
        listed.read(1)


def test_who_was_named_may_lead_to_itself() -> None:
    """From HTTP to HTTPS, or to another port: a camera at home does so. Once led away, nobody leads back."""
    named = Call("GET", "http://cam.home/x")
    assert not named.to("https://CAM.home/y").led
    assert not named.to("http://cam.home:8080/y").led
    assert named.to("http://other.home/").to("http://other.home/z").led
    assert named.to("http://other.home/").to("http://cam.home/x").led


def test_endless_redirects_end(trap: Callable[..., Trap]) -> None:
    doors: list[Trap] = []

    def to_itself(visitor: socket.socket) -> None:
        redirect(f"http://127.0.0.1:{doors[0].port}/")(visitor)

    door = trap(to_itself)
    doors.append(door)
    with pytest.raises(SourceRefused):
        Guard([], LOOPBACK).request("GET", f"http://127.0.0.1:{door.port}/")
    assert door.hits == 4


def test_a_login_does_not_travel_to_another_host(trap: Callable[..., Trap]) -> None:
    heard: list[bytes] = []

    def listen(visitor: socket.socket) -> None:
        heard.append(visitor.recv(65536))
        visitor.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        visitor.close()

    goal = trap(listen)
    door = trap(redirect(f"http://127.0.0.1:{goal.port}/x"))
    Guard([], LOOPBACK).request("GET", f"http://127.0.0.1:{door.port}/", headers={"Authorization": "Bearer hush"})
    assert b"hush" not in heard[0]


def test_a_body_without_end_is_cut(trap: Callable[..., Trap]) -> None:
    def flood(visitor: socket.socket) -> None:
        visitor.recv(65536)
        visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            visitor.sendall(b"x" * 65536)

    response = Guard([], LOOPBACK).request("POST", f"http://127.0.0.1:{trap(flood).port}/", json={"a": 1})
    assert len(response.body) == 64 * 1024


def test_a_slow_or_silent_server_is_a_deadline(trap: Callable[..., Trap]) -> None:
    def quiet(visitor: socket.socket) -> None:
        visitor.recv(65536)
        visitor.recv(65536)

    with pytest.raises(DeadlineExceeded):
        Guard([], LOOPBACK).request("GET", f"http://127.0.0.1:{trap(quiet).port}/", timeout_s=0.5)


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n" + b"X: yz\r\n" * 200, b"H" * 3000])
def test_a_byte_now_and_then_is_no_answer(said: bytes, trap: Callable[..., Trap]) -> None:
    """Each comes before the socket gives up, and the head never ends."""

    def drip(visitor: socket.socket) -> None:
        visitor.recv(65536)
        for byte in said:
            visitor.sendall(bytes([byte]))
            time.sleep(0.02)
        visitor.sendall(b"\r\n\r\n")

    with pytest.raises(DeadlineExceeded):
        Guard([], LOOPBACK).request("GET", f"http://127.0.0.1:{trap(drip).port}/", timeout_s=0.5)


def test_what_the_operator_configured_may_be_anywhere(trap: Callable[..., Trap]) -> None:
    server = trap(answer(b"data: one\n\ndata: two\n\n"))
    lines = Guard([]).stream_lines("POST", f"http://127.0.0.1:{server.port}/v1", json={}, granted=True)
    assert [line for line in lines if line] == ["data: one", "data: two"]


def test_a_granted_address_does_not_grant_its_redirects(trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    door = trap(redirect(f"http://127.0.0.1:{inside.port}/"))
    with pytest.raises(SourceRefused):
        Guard([]).request("GET", f"http://127.0.0.1:{door.port}/", granted=True)
    assert inside.hits == 0


def test_broken_answers_are_ours(trap: Callable[..., Trap]) -> None:
    def nonsense(visitor: socket.socket) -> None:
        visitor.recv(65536)
        visitor.sendall(b"\x00\x01 nonsense\r\n\r\n")
        visitor.close()

    with pytest.raises(SourceUnavailable):
        Guard([], LOOPBACK).request("GET", f"http://127.0.0.1:{trap(nonsense).port}/")
    with pytest.raises(Unreachable):
        Guard([], LOOPBACK).request("GET", "http://127.0.0.1:1/")


def test_a_name_that_is_not_known_just_now_may_be_known_later() -> None:
    def down(*_: object) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    for resolver in (down, lambda *_: []):
        with pytest.raises(Unreachable):
            Guard([], resolver=resolver).url("rtsp://cam.example/x")
