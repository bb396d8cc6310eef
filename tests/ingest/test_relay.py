"""The relay between a camera and libav: whatever the camera says, libav reaches nothing else."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import av.error
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.child import source_details
from ingest.errors import SourceRefused, SourceUnavailable
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.probe import probe
from ingest.relay_rtsp import Messages, NoRtsp, status
from ingest.relay_udp import Datagrams
from ingest.sources import parse
from tests.ingest.conftest import LOOPBACK, RtspServer, Trap

# --- addresses that lead elsewhere -----------------------------------------------------------------------------

REDIRECTS = {
    "plain": b"RTSP/1.0 302 Found\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
    "another version": b"RTSP/2.0 301 Moved\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
    "two blanks": b"RTSP/1.0  302 Found\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
    "a tabulator": b"RTSP/1.0\t302 Found\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
    "a blank before": b" RTSP/1.0 302 Found\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
    "no carriage returns": b"RTSP/1.0 302 Found\nCSeq: N\nLocation: WHERE\n\n",
    "carriage returns within": b"RT\rSP/1.0 3\r02 Found\r\r\nCSeq: N\r\nLocation: WHERE\r\n\r\r\n",
    "behind a frame": b"$\0\0\x08RTSP/1.0RTSP/1.0 302 Found\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
    "no version": b"RTSP/ 302 Found\r\nCSeq: N\r\nLocation: WHERE\r\n\r\n",
}


def silence(visitor: socket.socket) -> None:
    while visitor.recv(4096):
        pass


def redirecting(form: bytes, to: int, at_once: int) -> Callable[[socket.socket], None]:
    def talk(visitor: socket.socket) -> None:
        visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while request := visitor.recv(4096):
            number = request.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
            told = form.replace(b"N", number, 1).replace(b"WHERE", b"rtsp://127.0.0.1:%d/inside" % to)
            if request.startswith(b"OPTIONS"):
                told = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
            for first in range(0, len(told), at_once):
                visitor.sendall(told[first : first + at_once])
                time.sleep(0.001 if at_once < len(told) else 0)

    return talk


@pytest.mark.parametrize("form", REDIRECTS)
def test_libav_follows_rtsp_redirects_and_so_has_to_be_kept_from_it(form: str, trap: Callable[..., Trap]) -> None:
    """The measured reason for the relay: `max_redirects` is not asked."""
    inside = trap(socket.socket.close)
    door = trap(redirecting(REDIRECTS[form], inside.port, 4096))
    trusting = {"rtsp_transport": "tcp", "timeout": "10000000", "protocol_whitelist": "rtsp,tcp,rtp"}
    with pytest.raises(av.error.FFmpegError):
        av.open(f"rtsp://127.0.0.1:{door.port}/x", options={**trusting, "max_redirects": "0"}, timeout=20)
    assert inside.hits == 1


@pytest.mark.parametrize("at_once", [4096, 7, 1])
@pytest.mark.parametrize("form", REDIRECTS)
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_rtsp_redirect_is_refused_and_hits_nothing(
    transport: str, form: str, at_once: int, trap: Callable[..., Trap]
) -> None:
    inside = trap(silence)
    door = trap(redirecting(REDIRECTS[form], inside.port, at_once))
    source = source_details(parse(f"rtsp://127.0.0.1:{door.port}/x#transport={transport}"), Guard([], LOOPBACK))
    with pytest.raises((SourceRefused, SourceUnavailable)) as caught, open_source(source, Limits(read_s=10)):
        pass
    assert (door.hits, inside.hits) == (1, 0)
    assert "another address" in str(caught.value) or "does not speak RTSP" in str(caught.value)


def test_the_real_child_refuses_it_too(trap: Callable[..., Trap]) -> None:
    inside = trap(silence)
    door = trap(redirecting(REDIRECTS["plain"], inside.port, 1))
    with pytest.raises(SourceRefused):
        probe(parse(f"rtsp://127.0.0.1:{door.port}/x"), Guard([], LOOPBACK), timeout_s=30)
    assert (door.hits, inside.hits) == (1, 0)


# --- what is said ----------------------------------------------------------------------------------------------

FRAME = b"$\x00\x00\x05\r\n\r\n$"


@given(st.lists(st.integers(1, 40), max_size=30), st.binary(max_size=60), st.sampled_from([b"\r\n", b"\n", b"\r\r\n"]))
def test_a_conversation_is_rewritten_however_it_is_cut(cuts: list[int], body: bytes, end: bytes) -> None:
    """Heads are rewritten, bodies and frames pass, whatever the pieces in which they come."""
    head = [b"RTSP/1.0 200 OK", b"CSeq: 1", b"Content-Length: %d" % len(body)]
    talk = (end.join(head) + 2 * end + body + FRAME) * 3
    messages, out, rest = Messages(lambda one: one.replace(b"CSeq", b"cseq")), b"", talk
    for cut in cuts:
        out += messages.feed(rest[:cut])
        rest = rest[cut:]
    out += messages.feed(rest)
    assert out == (b"\r\n".join(head).replace(b"CSeq", b"cseq") + b"\r\n\r\n" + body + FRAME) * 3
    assert messages.rest() == b""


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"RTSP/1.0 200\0 OK\r\n\r\n",
        b"RTSP/1.0 0x12E Found\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nX: a\0b\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length : 5\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_can_be_read_in_two_ways_is_not_passed_on(said: bytes) -> None:
    with pytest.raises(NoRtsp):
        Messages(bytes).feed(said)


@given(st.binary(max_size=300))
def test_whatever_comes_is_passed_on_or_refused(said: bytes) -> None:
    heads: list[bytes] = []
    try:
        Messages(lambda head: heads.append(head) or head).feed(b"RTSP/1.0 " + said)  # type: ignore[func-returns-value]
    except NoRtsp:
        return
    assert all(100 <= status(head) <= 999 for head in heads[:1])


def test_requests_of_the_camera_have_no_status() -> None:
    assert status(b"GET_PARAMETER rtsp://x RTSP/1.0\r\nCSeq: 1") == 0
    assert status(b"RTSP/1.0 461 Unsupported transport") == 461


# --- datagrams -------------------------------------------------------------------------------------------------


def test_datagrams_from_elsewhere_go_nowhere() -> None:
    """The camera's pass to libav and libav's to the camera; a third one that knows the port is not heard."""
    heard: list[int] = []
    ports = Datagrams("127.0.0.2", lambda: heard.append(1))
    camera, decoder, stranger = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
    for one, address in ((camera, "127.0.0.2"), (decoder, "127.0.0.1"), (stranger, "127.0.0.3")):
        one.bind((address, 0))
        one.settimeout(60)
    asked = ports.request(
        b"SETUP rtsp://x/1 RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port=%d-%d" % ((decoder.getsockname()[1],) * 2)
    )
    outer = int(re.search(rb"client_port=(\d+)", asked)[1])  # type: ignore[index]
    told = ports.answer(
        b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;client_port=%d-%d;server_port=%d-%d;source=10.0.0.9"
        % (outer, outer + 1, camera.getsockname()[1], camera.getsockname()[1])
    )
    assert b"10.0.0.9" not in told
    assert b"client_port=%d" % decoder.getsockname()[1] in told
    inner = int(re.search(rb"server_port=(\d+)", told)[1])  # type: ignore[index]
    assert outer % 2 == 0
    stranger.sendto(b"not a camera", ("127.0.0.1", outer))
    camera.sendto(b"picture", ("127.0.0.1", outer))
    assert decoder.recv(100) == b"picture"
    decoder.sendto(b"report", ("127.0.0.1", inner))
    assert camera.recv(100) == b"report"
    assert len(heard) == 1
    ports.close()
    for port in (outer, outer + 1, inner, inner + 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", port))
    for one in (camera, decoder, stranger):
        one.close()


def datagram_sockets() -> dict[str, tuple[str, str]]:
    """Those of this process: by inode, its own address and whom it is connected to, as the kernel writes them."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    places = {f"socket:[{row[9]}]": (row[1].partition(":")[0], row[2]) for row in rows}
    mine = set[str]()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            mine.add(str(handle.readlink()))
    return {name: place for name, place in places.items() if name in mine}


def test_over_udp_libav_hears_the_relay_and_nobody_else(rtsp: Callable[..., RtspServer]) -> None:
    """libav's ports would take a picture from anyone on the network who finds them, past the relay's own check."""
    before = datagram_sockets()
    source = source_details(parse(rtsp().url("silent") + "#transport=udp"), Guard([], LOOPBACK))
    with open_source(source, Limits()) as opened:
        next(opened.packets(opened.video))
        made = [place for name, place in datagram_sockets().items() if name not in before]
    assert [own for own, _ in made].count("00000000") == 2, "towards the camera, one for pictures and one for reports"
    assert sum(whom != "00000000:0000" for _, whom in made) == 2, "libav's, connected to the relay's"


def setup(url: bytes = b"rtsp://x/1") -> bytes:
    return b"SETUP %b RTSP/1.0\r\nTransport: RTP/AVP/UDP;unicast;client_port=40000-40001\r\nCSeq: 3" % url


@pytest.mark.parametrize(
    "way",
    [
        b"Transport: RTP/AVP; source=10.0.0.9;server_port=%d-%d",
        b"Transport: RTP/AVP;multicast;destination=239.1.1.1;server_port=%d-%d",
        b"Transport: RTP/AVP;server_port=%d-%d\r\nTransport: RTP/AVP;server_port= 1-2;source=10.0.0.9",
        b"TRANSPORT: RTP/AVP;unicast;server_port=%d-%d;SOURCE = 10.0.0.9",
    ],
)
def test_libav_hears_of_the_way_only_what_we_say(way: bytes) -> None:
    ports = Datagrams("127.0.0.1", lambda: None)
    ports.request(setup())
    told = ports.answer(b"RTSP/1.0 200 OK\r\n" + way % (5000, 5001) + b"\r\nCSeq: 3")
    ports.close()
    ways = [line for line in told.split(b"\r\n") if line.lower().startswith(b"transport")]
    assert [re.sub(rb"\d\d+", b"n", one) for one in ways] == [
        b"Transport: RTP/AVP/UDP;unicast;client_port=n-n;server_port=n-n"
    ]
    assert b"client_port=40000-40001" in ways[0]


@pytest.mark.parametrize("way", [b"server_port= 5000", b"server_port=99999-100000", b"source=10.0.0.9", b""])
def test_a_way_that_is_not_understood_is_none(way: bytes) -> None:
    ports = Datagrams("127.0.0.1", lambda: None)
    ports.request(setup())
    assert ports.answer(b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;" + way + b"\r\nCSeq: 3") == (
        b"RTSP/1.0 200 OK\r\nCSeq: 3"
    )
    ports.close()


def test_no_track_is_named_so_that_its_pictures_go_to_another_port_of_this_machine() -> None:
    """What a camera calls its track stands in libav's request: it must not be taken for libav's ports."""
    ports = Datagrams("127.0.0.2", lambda: None)
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as inside, socket.socket(*kind) as camera:
        inside.bind(("127.0.0.1", 0))
        camera.bind(("127.0.0.2", 0))
        named = setup(b"rtsp://x/track;client_port=%d-%d" % ((inside.getsockname()[1],) * 2))
        asked = ports.request(named)
        assert asked.split(b"\r\n")[0] == named.split(b"\r\n")[0]
        ports.answer(b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;server_port=%d-%d" % ((camera.getsockname()[1],) * 2))
        outer = int(re.findall(rb"client_port=(\d+)", asked)[-1])
        camera.sendto(b"picture", ("127.0.0.1", outer))
        inside.settimeout(0.5)
        with pytest.raises(TimeoutError):
            inside.recv(100)
    ports.close()
