"""What hostile sources were measured to do to a decoder that trusts them, and that ours does not.

Numbers M1 to M9 of the measurements: files that name other files, addresses that lead elsewhere, peers that say
nothing, mutated files, pictures that are bombs. Reached or not is counted by trap servers, not by return codes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from ingest.child import Decoder, DecoderDied, source_details
from ingest.errors import BrokenVideo, HindsightError, NotVideo, SourceRefused, TooLarge
from ingest.guard import Guard
from ingest.libav_errors import translate
from ingest.limits import Limits
from ingest.opening import open_source
from ingest.probe import probe
from ingest.sources import SourceSpec, parse
from tests.ingest.conftest import LOOPBACK, Trap, answer
from tests.ingest.corpus import FEEDS, MISSING
from tests.ingest.fuzzing import KNOWN, fuzz, read_through
from tests.media import Clip, make

NEIGHBOUR = "neighbour.mp4"


@pytest.fixture
def folder(tmp_path: Path, clips: Path) -> Path:
    (tmp_path / NEIGHBOUR).write_bytes((clips / "ten.mp4").read_bytes())
    return tmp_path


def hostile_files(folder: Path) -> dict[str, bytes]:
    """Files that ask a trusting libav to open another one."""
    other, name = folder / NEIGHBOUR, NEIGHBOUR
    return {
        "concat.mp4": f"ffconcat version 1.0\nfile {name}\n".encode(),
        "concat-absolute.mp4": f"ffconcat version 1.0\nfile '{other}'\n".encode(),
        "list.m3u8": f"#EXTM3U\n#EXTINF:1,\n{name}\n#EXT-X-ENDLIST\n".encode(),
        "list.mp4": f"#EXTM3U\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n".encode(),
        "list-url.ts": f"#EXTM3U\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n".encode(),
        "list-concat.ts": f"#EXTM3U\n#EXTINF:1,\nconcat:{other}|{other}\n#EXT-X-ENDLIST\n".encode(),
        "sdp.mp4": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5000 RTP/AVP 96\n",
        "dash.mpd": f"<MPD><Period><AdaptationSet><Representation><BaseURL>{other}</BaseURL>"
        "</Representation></AdaptationSet></Period></MPD>".encode(),
        "imf.xml": f"<CompositionPlaylist>{other}</CompositionPlaylist>".encode(),
        "subtitles.mp4": b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
        "playlist.mkv": f"[playlist]\nFile1={other}\nNumberOfEntries=1\n".encode(),
        "filter.mp4": f"movie={other}\n".encode(),
    }


def test_no_file_opens_its_neighbour(folder: Path) -> None:
    guard = Guard([folder])
    for name, content in hostile_files(folder).items():
        (folder / name).write_bytes(content)
        with pytest.raises((NotVideo, BrokenVideo)):
            probe(parse(str(folder / name)), guard)


def test_a_trusting_open_does_so(folder: Path) -> None:
    """What the above protects from is real: without our lists the neighbour's pictures come."""
    path = folder / "concat.mp4"
    path.write_bytes(hostile_files(folder)["concat.mp4"])
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        assert next(container.decode(video=0)).width == 320


@pytest.mark.parametrize(
    "location",
    ["concat:{0}|{0}", "concatf:{0}", "subfile,,start,0,end,0,,:{0}", "file:{0}", "lavfi:movie={0}", "data:,{0}",
     "crypto:{0}", "cache:{0}", "async:{0}", "pipe:0", "fd:0", "movie={0}", "{0}\x00.mp4", "unix:{0}", "tee:{0}"],
)  # fmt: skip
def test_no_name_is_a_protocol(location: str, folder: Path) -> None:
    """Even were a name to get this far, it is opened by us as a file, and there is no such file."""
    spec = SourceSpec("file", "file", location.format(folder / NEIGHBOUR))
    with pytest.raises(HindsightError):
        probe(spec, Guard([folder]))
    with pytest.raises(HindsightError), open_source(source_details(spec, Guard([])), Limits()):
        pass


@pytest.fixture
def outside(trap: Callable[..., Trap]) -> Callable[[bytes, str], tuple[str, Trap]]:
    """An address that we may open, serving a body that mentions one that we may not."""

    def build(body: bytes, path: str) -> tuple[str, Trap]:
        inside = trap(answer(b"secret"))
        told = body.replace(b"INSIDE", b"http://127.0.0.2:%d" % inside.port)
        door = trap(answer(told, kind="application/octet-stream"))
        return f"http://127.0.0.1:{door.port}/{path}", inside

    return build


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("live.m3u8", b"#EXTM3U\n#EXTINF:1,\nINSIDE/a.ts\n#EXT-X-ENDLIST\n"),
        ("live.m3u8", b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nINSIDE/b.m3u8\n"),
        ("live.m3u8", b'#EXTM3U\n#EXT-X-MAP:URI="INSIDE/init.mp4"\n#EXTINF:1,\nx.m4s\n#EXT-X-ENDLIST\n'),
        ("live.m3u8", b'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="INSIDE/key"\n#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n'),
        ("live.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
        ("live.m3u8", b"#EXTM3U\n#EXTINF:1,\nconcat:/etc/passwd\n#EXT-X-ENDLIST\n"),
        ("film.mp4", b"#EXTM3U\n#EXTINF:1,\nINSIDE/a.ts\n#EXT-X-ENDLIST\n"),
        ("film.mp4", b"ffconcat version 1.0\nfile INSIDE/a.mp4\n"),
        ("film.mp4", b"<MPD><Period><BaseURL>INSIDE/</BaseURL></Period></MPD>"),
        ("camera", b"#EXTM3U\n#EXTINF:1,\nINSIDE/a.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_nothing_that_comes_over_http_leads_inside(
    path: str, body: bytes, outside: Callable[[bytes, str], tuple[str, Trap]]
) -> None:
    url, inside = outside(body, path)
    with pytest.raises(HindsightError) as caught:
        probe(parse(url), Guard([], ["127.0.0.1/32"]), timeout_s=4)
    assert inside.hits == 0
    assert caught.value.advice


def test_a_redirect_does_not_lead_inside(trap: Callable[..., Trap]) -> None:
    inside = trap(answer(b"secret"))
    door = trap(answer(b"", head=f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{inside.port}/x.mp4"))
    with pytest.raises(SourceRefused):
        probe(parse(f"http://127.0.0.1:{door.port}/a.mp4"), Guard([], ["127.0.0.1/32"]))
    assert inside.hits == 0


# --- files made wrong on purpose -------------------------------------------------------------------------------


@pytest.mark.slow
def test_spoiled_files_and_streams_are_read_or_classified(tmp_path: Path) -> None:
    """A sample of what `fuzzing` does with thousands: no crash, no hang, every error one of ours."""
    outcomes = fuzz(4 * len(FEEDS), 7, tmp_path)
    assert outcomes.total() == 4 * len(FEEDS)
    assert set(outcomes) <= KNOWN, outcomes
    assert outcomes["read"] > 0
    assert outcomes["broken-video"] > 0


@pytest.mark.slow
def test_what_is_spoiled_was_sound(tmp_path: Path) -> None:
    """Every example is read to its end as long as nobody spoiled it; how RTMP ends looks like a lost connection."""
    outcomes = fuzz(len(FEEDS), None, tmp_path)
    assert set(outcomes) <= {"read", "source-unavailable", MISSING}, outcomes
    assert outcomes["source-unavailable"] <= 1
    assert outcomes["read"] >= 30


def test_truncation_anywhere_gives_pictures_or_a_reason(tmp_path: Path) -> None:
    data = make(tmp_path / "whole.mp4", Clip(seconds=2, options=(("movflags", "faststart"),))).read_bytes()
    path = tmp_path / "cut.mp4"
    for share in range(0, 100, 4):
        path.write_bytes(data[: len(data) * share // 100])
        assert read_through(path) in {"read", "not-video", "broken-video"}


def bomb(path: Path, side: int) -> Path:
    """A small file of very large pictures."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = side
        video.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), "yuv420p")
        for number in range(2):
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_bomb_is_refused_by_its_header_or_by_its_memory(suffix: str, tmp_path: Path) -> None:
    path = bomb(tmp_path / f"bomb.{suffix}", 8000)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(TooLarge) as caught:
        probe(parse(str(path)), Guard([tmp_path]), timeout_s=60)
    assert caught.value.advice


def test_a_decoder_that_needs_more_memory_than_it_has_is_told_apart_from_bad_data(clips: Path) -> None:
    """libav may call a refused allocation "invalid data"."""
    spec = parse(str(clips / "ten.mp4"))
    details = source_details(spec, Guard([]))
    with Decoder("probe", details, Limits(memory_mb=1024)) as decoder:
        assert decoder.result(60)["video_codec"] == "h264"
    with Decoder("probe", details, Limits(memory_mb=60)) as decoder, pytest.raises((TooLarge, DecoderDied)):
        decoder.result(60)


# --- every error is one of ours --------------------------------------------------------------------------------


def raised(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, av.error.FFmpegError):
        return kind(1, "said libav", "x.mp4")
    if kind is UnicodeDecodeError:
        return UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    return kind("said Python")


LIBAV = sorted(
    {kind for kind in vars(av.error).values() if isinstance(kind, type) and issubclass(kind, av.error.FFmpegError)},
    key=lambda kind: kind.__name__,
)
PYTHON = [
    IndexError,
    UnicodeDecodeError,
    MemoryError,
    ValueError,
    OSError,
    TimeoutError,
    KeyError,
    TypeError,
    RuntimeError,
]


@pytest.mark.parametrize("kind", [*LIBAV, *PYTHON], ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_has_a_meaning_and_advice(kind: type[BaseException]) -> None:
    for started in (False, True):
        ours = translate(raised(kind), started=started)
        assert type(ours) is not HindsightError
        assert ours.message
        assert ours.advice


def test_every_number_of_libav_has_a_meaning() -> None:
    for number, kind in av.error.classes.items():
        assert translate(kind(number, "said libav")).code != "error"


def test_what_cannot_be_read_behind_pictures_is_broken_and_not_no_video() -> None:
    error = raised(av.error.InvalidDataError)
    assert isinstance(translate(error), NotVideo)
    assert isinstance(translate(error, started=True), BrokenVideo)


@pytest.mark.parametrize("number", [1, 5, 13, 19, 28, 32])
def test_what_a_decoder_calls_forbidden_or_full_is_about_the_data(number: int) -> None:
    """AAC decoders say EPERM of broken packets: that is no matter of rights, and no reason to give up a camera."""
    kind = av.error.classes.get(number, av.error.FFmpegError)
    assert isinstance(translate(kind(number, "said libav", "avcodec_send_packet()")), BrokenVideo)


def test_a_size_beyond_all_measure_is_no_size(clips: Path, trap: Callable[..., Trap]) -> None:
    """It is read as a stream without end, and ends early."""
    film = (clips / "ten.mkv").read_bytes()
    head = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-{10**20}/{10**20}\r\nConnection: close\r\n\r\n"

    def serve(visitor: object) -> None:
        visitor.recv(65536)  # type: ignore[attr-defined]
        visitor.sendall(head.encode() + film)  # type: ignore[attr-defined]
        visitor.close()  # type: ignore[attr-defined]

    assert probe(parse(f"http://127.0.0.1:{trap(serve).port}/ten.mkv"), Guard([], LOOPBACK)).width == 320


def test_remote_files_are_read_by_ranges(clips: Path, trap: Callable[..., Trap]) -> None:
    """An index at the end of the file: it is fetched without reading what lies before."""
    data = (clips / "ten.mp4").read_bytes()

    def serve(visitor: object) -> None:
        request = visitor.recv(65536)  # type: ignore[attr-defined]
        start = int(request.partition(b"bytes=")[2].partition(b"-")[0] or 0)
        head = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{len(data) - 1}/{len(data)}\r\n"
        head += f"Content-Length: {len(data) - start}\r\n\r\n"
        visitor.sendall(head.encode() + data[start:])  # type: ignore[attr-defined]
        visitor.close()  # type: ignore[attr-defined]

    info = probe(parse(f"http://127.0.0.1:{trap(serve).port}/ten.mp4"), Guard([], LOOPBACK))
    assert info.duration_us == pytest.approx(10_000_000, abs=100_000)
    assert (info.width, info.height, info.fps) == (320, 180, 25.0)
