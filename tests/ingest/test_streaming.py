"""HLS and files over HTTP, served by Python's own server, fetched through the guard."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.capture import CapturePlan, Recording
from ingest.errors import NotFound, NotVideo, Unauthorised
from ingest.fetch import Call, RemoteFile
from ingest.guard import Guard
from ingest.hls import HlsStream, Piece, Playlist, parse_playlist
from ingest.limits import Limits
from ingest.probe import probe
from ingest.records import MICROSECONDS, Frame, Moment, Segment
from ingest.sampling import Sampling
from ingest.sources import parse
from tests.ingest.conftest import LOOPBACK, STREAM, Harvest, Trap
from tests.media import Clip, make, number_in

EVERY = Sampling(floor_hz=5, ceiling_hz=5)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with a login for what lies in `private/`; Python's server has no byte ranges."""

    def do_GET(self) -> None:
        if self.path.startswith("/private/") and self.headers.get("Authorization") != "Basic YTpi":
            self.send_error(401)
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def write_hls(folder: Path, *, kind: str = "mpegts") -> None:
    """Ten seconds in segments of two, written by libav's own HLS muxer."""
    options = (("hls_time", "2"), ("hls_list_size", "0"), ("hls_segment_type", kind), ("hls_playlist_type", "vod"))
    make(folder / "live.m3u8", Clip(container="hls", options=options))


def test_a_finished_hls_stream_is_read_to_its_end(
    served: tuple[Path, str], harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    folder, address = served
    write_hls(folder)
    (folder / "master.m3u8").write_text(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000000\nmissing.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=500000\nlive.m3u8\n"
    )
    made = harvest(Limits(backoff_first_s=0.2))
    recording = Recording(tmp_path / "recorded", 3.0)
    made.finish(CapturePlan(STREAM, parse(f"{address}/master.m3u8"), sampling=EVERY, recording=recording))
    frames = made.of(Frame)
    assert len(frames) == pytest.approx(50, abs=1)
    for frame in frames[1:]:
        assert frame.moment - frames[0].moment == pytest.approx(
            (number_in(frame.pixels) - number_in(frames[0].pixels)) * 40_000, abs=1000
        )
    total = sum(segment.span.duration for segment in made.of(Segment))
    assert total == pytest.approx(10 * MICROSECONDS, abs=100_000)
    with av.open(made.of(Segment)[1].path) as container:
        assert next(container.decode(video=0)).width == 320


def test_a_file_over_http_is_read_like_a_file(
    served: tuple[Path, str], clips: Path, harvest: Callable[..., Harvest]
) -> None:
    folder, address = served
    (folder / "ten.mkv").write_bytes((clips / "ten.mkv").read_bytes())
    made = harvest()
    start = Moment(1_700_000_000_000_000)
    made.finish(CapturePlan(STREAM, parse(f"{address}/ten.mkv"), starts_at=start, sampling=EVERY))
    assert [f.moment - start for f in made.of(Frame)] == [
        pytest.approx(number_in(f.pixels) * 40_000, abs=1000) for f in made.of(Frame)
    ]
    assert len(made.of(Frame)) >= 49


def test_logins_and_missing_files_are_told_apart(served: tuple[Path, str], clips: Path) -> None:
    folder, address = served
    (folder / "private").mkdir()
    (folder / "private" / "a.mkv").write_bytes((clips / "ten.mkv").read_bytes())
    guard = Guard([], LOOPBACK)
    with pytest.raises(Unauthorised):
        probe(parse(f"{address}/private/a.mkv"), guard)
    with pytest.raises(NotFound):
        probe(parse(f"{address}/none.mkv"), guard)
    with_login = parse(f"{address}/private/a.mkv".replace("//", "//a:b@"))
    assert probe(with_login, guard).video_codec == "h264"


@pytest.mark.parametrize("kind", [RemoteFile, HlsStream])
def test_a_refusal_ends_the_connection(kind: type[RemoteFile | HlsStream], trap: Callable[..., Trap]) -> None:
    """At once, and not when whoever was refused is forgotten."""
    ended = threading.Event()

    def refuse(visitor: socket.socket) -> None:
        visitor.recv(65536)
        visitor.sendall(b"HTTP/1.1 404 None\r\nContent-Length: 5\r\n\r\n")
        if not visitor.recv(65536):
            ended.set()

    with pytest.raises(NotFound) as caught:
        kind(Guard([], LOOPBACK), Call("GET", f"http://127.0.0.1:{trap(refuse).port}/x"))
    assert ended.wait(60)
    assert caught.value.advice


def test_playlists_are_read_as_the_standard_says() -> None:
    text = """#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-MEDIA-SEQUENCE:17
#EXT-X-MAP:URI="init.mp4"
#EXTINF:3.9,
a.m4s
#EXT-X-DISCONTINUITY
#EXTINF:4,
https://other.example/b.m4s
"""
    assert parse_playlist(text, "http://cam.example/x/live.m3u8") == Playlist(
        segments=(
            Piece(17, "http://cam.example/x/a.m4s", 3.9),
            Piece(18, "https://other.example/b.m4s", 4.0),
        ),
        map_url="http://cam.example/x/init.mp4",
        target_s=4.0,
    )


@pytest.mark.parametrize(("claimed", "taken"), [("0", 1.0), ("6", 6.0), ("31536000", 60.0), ("9" * 30, 60.0)])
def test_no_playlist_has_a_stream_wait_for_a_year(claimed: str, taken: float) -> None:
    """For as long as a segment may last, a picture that does not come is not missed."""
    told = parse_playlist(f"#EXTM3U\n#EXT-X-TARGETDURATION:{claimed}\n#EXTINF:1,\na.ts\n", "http://cam.example/x.m3u8")
    assert told.target_s == taken


@pytest.mark.parametrize("lasts", ["1e300", "inf", "nan", "-5", "9" * 400, ""])
def test_no_segment_lasts_beyond_all_measure(lasts: str) -> None:
    text = f"#EXTM3U\n#EXT-X-PROGRAM-DATE-TIME:2024-01-01T00:00:00Z\n#EXTINF:{lasts},\na.ts\n#EXTINF:1,\nb.ts\n"
    told = parse_playlist(text, "http://cam.example/x.m3u8")
    assert all(0 <= piece.lasts_s <= 3600 for piece in told.segments)


@given(st.text())
def test_any_text_is_a_playlist_or_none(text: str) -> None:
    for candidate in (text, "#EXTM3U\n" + text):
        try:
            parse_playlist(candidate, "http://cam.example/live.m3u8")
        except NotVideo as error:
            assert error.advice  # noqa: PT017 most texts are no playlist, and both ends are right


@pytest.mark.parametrize(
    "line", ['#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXT-X-BYTERANGE:100@0", '#EXT-X-MAP:URI="i",BYTERANGE="1@0"']
)
def test_what_is_not_supported_is_said(line: str) -> None:
    with pytest.raises(NotVideo) as caught:
        parse_playlist(f"#EXTM3U\n{line}\n#EXTINF:1,\na.ts\n", "http://cam.example/live.m3u8")
    assert caught.value.advice
