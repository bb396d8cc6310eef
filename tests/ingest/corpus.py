"""What `fuzzing` spoils: one sound example of everything foreign that is read, and the way in which each is fed.

Containers and codecs with their subtitles; playlists and the heads of HTTP; what a camera says in RTSP (its SDP and
RTP too), in RTMP and in ONVIF; recordings that we cut; subtitle files beside a film; pictures that someone searches by.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import av
import av.error

from ingest import clips, decode, keyframes, pieces, probe, reading, recording, sample, wire
from ingest.beginning import Task
from ingest.child import source_details
from ingest.errors import HindsightError
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.records import Moment, Segment, Span, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import SourceSpec, parse
from tests import onvif_camera
from tests.media import Clip, make, make_sound

LIMITS: Final = Limits(read_s=2, open_s=4)
"""What is spoiled may keep us waiting for what never comes; """
PATIENT: Final = Limits(read_s=60, open_s=60)
"""what is sound does not, but where the machine stands still."""
MISSING: Final = "cannot be made here"
LOOPBACK: Final = ("127.0.0.0/8",)
NEXT: Final = b"\0\0and then\0\0"
"""Parts what a server says to one request from what it says to the next."""
SRT: Final = (
    b"1\n00:00:00,100 --> 00:00:00,600\n<i>Good {\\an8}morning</i>\n\n2\n00:00:00,500 --> 00:01:00,000\nagain\n"
)
VTT: Final = (
    b"WEBVTT\n\nNOTE x\n\n00:00.100 --> 00:00.900 line:0\n<v Ann>Good morning\n\n1\n00:01.000 --> 00:02.000\nx\n"
)


def small(codec: str = "libx264", sound: str = "aac", **more: Any) -> Clip:
    return Clip(seconds=1, width=96, height=64, codec=codec, sound=sound, **more)


QUIET: Final = (("x265-params", "log-level=none"),)
FRAGMENTS: Final = (("movflags", "frag_keyframe+empty_moov"),)
FILMS: Final[dict[str, Clip]] = {
    "mp4": small(),
    "mkv": small(),
    "ts": small(),
    "avi": small(),
    "mov": small(),
    "flv": small(),
    "webm": small("libvpx", "libopus"),
    "mpg": small("mpeg2video", "mp2"),
    "h264": small(sound="", container="h264"),
    "hevc": small("libx265", "", container="hevc", encoder=QUIET),
    "fragments.mp4": small(options=FRAGMENTS),
    "hevc.mp4": small("libx265", encoder=QUIET),
    "hevc.ts": small("libx265", encoder=QUIET),
    "vp9.mkv": small("libvpx-vp9", "libopus"),
    "av1.mp4": small("libsvtav1"),
    "mpeg4.avi": small("mpeg4", "libmp3lame"),
    "mjpeg.avi": small("mjpeg", "pcm_s16le", pixel_format="yuvj420p"),
}
BY_FFMPEG: Final = {
    "srt.mkv": "-map 1 -c copy",
    "tx3g.mp4": "-map 1 -c copy -c:s mov_text",
    "ass.mkv": "-map 1 -c copy -c:s ass",
    "3gp": "-s 128x96 -c:v h263 -c:a aac",
    "ogv": "-c:v libtheora -c:a libvorbis",
    "wmv": "-c:v wmv2 -c:a wmav2",
    "m2ts": "-c:v mpeg2video -c:a ac3 -ar 48000 -mpegts_m2ts_mode 1 -f mpegts",
}
SOUNDS: Final = {
    "flac": "flac",
    "mp3": "libmp3lame",
    "wav": "pcm_s16le",
    "aac": "aac",
    "m4a": "alac",
    "opus": "libopus",
}


# --- seeds -----------------------------------------------------------------------------------------------------


def seeds(folder: Path) -> None:
    """Write one `seed.NAME` for each of `FEEDS` that can be made here."""
    os.environ["SVT_LOG"] = "0"
    for name, clip in FILMS.items():
        with suppress(av.error.FFmpegError, ValueError):
            make(folder / f"seed.{name}", clip)
    for name, codec in SOUNDS.items():
        with suppress(av.error.FFmpegError, ValueError):
            make_sound(folder / f"seed.{name}", 2, codec)
    (folder / "said.srt").write_bytes(SRT)
    for name, how in BY_FFMPEG.items():
        _made(folder, name, how)
    written = {
        "srt": SRT, "vtt": VTT, "m3u8": _playlist(), "answer": _answer((folder / "seed.ts").stat().st_size),
        "rtsp": _rtsp(folder / "seed.h264"),
        "mpjpeg": _mpjpeg(), "onvif": _onvif(), "wire": wire.pack(Span(Moment(1), Moment(2))), **_pictures(),
    }  # fmt: skip
    for name, data in written.items():
        (folder / f"seed.{name}").write_bytes(data)
    longer = make(folder / "longer.flv", replace(FILMS["flv"], seconds=4))  # than libav looks before it begins
    if (said := _rtmp(longer)) is not None:
        (folder / "seed.rtmp").write_bytes(said)


def _made(folder: Path, name: str, how: str) -> None:
    """What PyAV's libav cannot write, by the ffmpeg program where there is one."""
    if shutil.which("ffmpeg") is not None:
        order = ["-i", str(folder / "seed.mp4"), "-i", str(folder / "said.srt"), "-map", "0", *how.split()]
        out = folder / f"seed.{name}"
        subprocess.run(["ffmpeg", "-v", "quiet", *order, "-y", str(out)], check=False, stdin=subprocess.DEVNULL)


def _playlist() -> bytes:
    return (
        b'#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI="a.ts"\n'
        b"#EXTINF:1.0,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.0,\n../b/a.ts?x=1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"
    )


def _answer(size: int) -> bytes:
    return (
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp2t\r\nContent-Range: bytes 0-%d/%d\r\n"
        b"Content-Length: %d\r\nLocation: /other\r\nServer: x/1.0\r\nConnection: close\r\n\r\n"
    ) % (size - 1, size, size)


def _mpjpeg() -> bytes:
    picture = _pictures()["jpeg"]
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
    return (head + picture + b"\r\n") * 10


def _rtsp(raw: Path) -> bytes:
    """What a camera answers to OPTIONS, DESCRIBE, SETUP and PLAY, and a second of H.264 behind it."""
    sdp = (
        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:npt=0-\r\n"
        b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
    )
    heads = (
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp,
        b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 7\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 4\r\nSession: 7\r\nRTP-Info: url=track1;seq=0;rtptime=0\r\n\r\n"
        + b"".join(_rtp(raw)),
    )
    return NEXT.join(heads)


def _rtp(raw: Path) -> Iterator[bytes]:
    """Each unit of a raw H.264 stream as a packet of RTP between the words (RFC 6184; RFC 2326, 10.12)."""
    units = [unit.lstrip(b"\0") for unit in raw.read_bytes().split(b"\0\0\1")]
    for number, unit in enumerate(filter(None, units)):
        head = b"\x80\xe0" + number.to_bytes(2) + (number * 3600).to_bytes(4) + b"\0\0\0\7"
        packet = head + unit.rstrip(b"\0")
        yield b"$\0" + len(packet).to_bytes(2) + packet


def _rtmp(film: Path) -> bytes | None:
    """All that the ffmpeg program says as a server of RTMP, taken down between it and a reader."""
    if shutil.which("ffmpeg") is None:
        return None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    order = ["-re", "-i", str(film), "-c", "copy", "-f", "flv", "-listen", "1", f"rtmp://127.0.0.1:{port}/live/cam"]
    with subprocess.Popen(["ffmpeg", "-v", "quiet", *order], stdin=subprocess.DEVNULL) as server:
        far = _connected(port)
        with socket.create_server(("127.0.0.1", 0)) as door:
            said = bytearray()
            carrier = threading.Thread(target=_taken_down, args=(door, far, said), daemon=True)
            carrier.start()
            with (
                suppress(av.error.FFmpegError),
                av.open(f"rtmp://127.0.0.1:{door.getsockname()[1]}/live/cam", timeout=5) as film_,
            ):
                for _ in film_.demux():
                    pass
            far.close()
        server.kill()
    said[5:9] = bytes(4)  # a version that proves nothing to its reader: the proof would be to another reader's question
    return bytes(said)


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _taken_down(door: socket.socket, far: socket.socket, said: bytearray) -> None:
    near, _ = door.accept()

    def there() -> None:
        with suppress(OSError):
            while data := near.recv(1 << 16):
                far.sendall(data)

    threading.Thread(target=there, daemon=True).start()
    with near, suppress(OSError):
        while data := far.recv(1 << 16):
            said += data
            near.sendall(data)


def _onvif() -> bytes:
    first = onvif_camera.PROFILE.format(token="cam", name="Main stream", width=1920, height=1080)
    bodies = (
        onvif_camera.TIME.format(datetime(2024, 1, 1, tzinfo=UTC)),
        onvif_camera.CAPABILITIES,
        f"<trt:GetProfilesResponse>{first}{first}</trt:GetProfilesResponse>",
        onvif_camera.URI.format(port=554, token="cam"),
        onvif_camera.URI.format(port=554, token="cam"),
    )
    return NEXT.join(onvif_camera.ENVELOPE.format(body=body).encode() for body in bodies)


def _pictures() -> dict[str, bytes]:
    from PIL import Image

    image = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB")
    found = {}
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        data = io.BytesIO()
        image.save(data, kind)
        found[kind.lower()] = data.getvalue()
    return found


# --- ways in ---------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where a case is fed: a folder of its own, and a server on loopback that says what it is told to."""

    folder: Path
    limits: Limits = LIMITS

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._talk: Talk = socket.socket.close
        threading.Thread(target=self._serve, daemon=True).start()

    def serving(self, talk: Talk) -> str:
        """Host and port where, from now on, every visitor is talked to like this."""
        self._talk = talk
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            visitor, _ = self._listening.accept()
            try:
                threading.Thread(target=self._attend, args=(visitor, self._talk), daemon=True).start()
            except RuntimeError:  # no memory: it is bounded like the decoder; the next case is served
                visitor.close()

    def _attend(self, visitor: socket.socket, talk: Talk) -> None:
        visitor.settimeout(10)
        with visitor, suppress(OSError):
            talk(visitor)


Talk = Callable[[socket.socket], None]


def once(say: Callable[[bytes], bytes]) -> Talk:
    """One request, one answer, as in the HTTP that we speak."""
    return lambda visitor: visitor.sendall(say(visitor.recv(1 << 16)))


def in_turn(answers: Sequence[bytes]) -> Talk:
    """One answer to each request; behind the last one no more is said."""

    def talk(visitor: socket.socket) -> None:
        for answer in answers:
            if not visitor.recv(1 << 16):
                return
            visitor.sendall(answer)
        visitor.shutdown(socket.SHUT_WR)
        while visitor.recv(1 << 16):
            pass

    return talk


def at_once(said: bytes) -> Talk:
    """Everything, whatever is asked."""

    def talk(visitor: socket.socket) -> None:
        visitor.sendall(said)
        visitor.settimeout(1)  # until nothing is asked any more
        while visitor.recv(1 << 16):
            pass

    return talk


def ok(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body


Feed = Callable[[bytes, Place], str]


def outcome(work: Callable[[], object]) -> str:
    """What came of it, as the parent would be told."""
    try:
        work()
    except wire.WireError:
        raise
    except HindsightError as error:
        return error.code if error.advice else f"without advice: {error}"
    except (av.error.FFmpegError, OSError, ValueError, LookupError, MemoryError) as error:
        ours = decode._diagnosed(error, Limits())
        return ours.code if ours.advice else f"without advice: {ours}"
    except Exception as error:  # the border of a case: what else comes is a mistake of ours, and is counted as one
        return f"mistake: {type(error).__name__}: {error}"
    return "read"


def read_source(
    source: dict[str, Any], folder: Path | None = None, *, live: bool = False, limits: Limits = LIMITS
) -> str:
    """Sample, listen and, into `folder`, record; what the parent would be told."""
    task = Task("cam", live, 0, 0, Sampling(), True, None, None, None, folder and str(folder), 1.0)
    order = {"source": source, "task": asdict(task)}
    return outcome(lambda: reading.job(order, limits, lambda _: None))


def as_file(body: bytes, place: Place, name: str = "mutated.bin") -> str:
    path = place.folder / name
    path.write_bytes(body)
    return read_source(source_details(SourceSpec("file", "file", str(path)), Guard([])))


def over_http(body: bytes, place: Place) -> str:
    return _remote(f"http://{place.serving(once(lambda _: ok(body)))}/film.mp4", place, live=False)


def as_a_camera(body: bytes, place: Place) -> str:
    """A body without an end over HTTP, as motion JPEG comes."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    return _remote(f"http://{place.serving(once(lambda _: head + body))}/camera", place)


def behind_an_answer(body: bytes, place: Place) -> str:
    """The head of an answer spoiled, a sound film behind it."""
    film = (place.folder.parent / "seed.ts").read_bytes()
    return _remote(f"http://{place.serving(once(lambda _: body + film))}/camera", place)


def in_a_playlist(body: bytes, place: Place) -> str:
    """The one segment of a playlist."""
    told = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"
    where = place.serving(once(lambda asked: ok(told if b".m3u8 " in asked else body)))
    return _remote(f"http://{where}/live.m3u8", place)


def as_a_playlist(body: bytes, place: Place) -> str:
    """The playlist itself, which is gone when it is asked for again; its segments are sound."""
    film = (place.folder.parent / "seed.ts").read_bytes()
    playlists = iter([ok(body)])

    def say(asked: bytes) -> bytes:
        return next(playlists, ok(b"", b"404 Gone")) if b".m3u8 " in asked else ok(film)

    return _remote(f"http://{place.serving(once(say))}/live.m3u8", place)


def by_rtsp(body: bytes, place: Place) -> str:
    return _remote(f"rtsp://{place.serving(in_turn(body.split(NEXT)))}/cam", place)


def by_rtmp(body: bytes, place: Place) -> str:
    return _remote(f"rtmp://{place.serving(at_once(body))}/live/cam", place)


def by_onvif(body: bytes, place: Place) -> str:
    from ingest import onvif

    if find_spec("zeep") is None or find_spec("onvif") is None:
        return MISSING
    answers = iter(body.split(NEXT))
    where = place.serving(once(lambda _: ok(next(answers, b""))))
    return outcome(lambda: onvif.streams(where, onvif.Login(), Guard([], LOOPBACK), timeout_s=place.limits.read_s))


def as_our_recording(body: bytes, place: Place) -> str:
    """Cut, shown and mended: what a camera sent was copied into it as it came."""
    path = place.folder / "segment.mp4"
    for one in (path, place.folder / f"00000-0-0.mp4{recording.PART}"):
        one.write_bytes(body)
    whole = Span(Moment(0), Moment(seconds(1)))
    segment = Segment(StreamId("cam"), 0, whole, str(path), len(body), 0, True)
    spans, out = {"span": whole, "within": whole}, str(place.folder / "cut.mp4")
    jobs: tuple[tuple[Callable[..., object], dict[str, object]], ...] = (
        (probe.job, source_details(SourceSpec("file", "file", str(path)), Guard([]))),
        (clips.still_job, {"segment": segment, "moment": Moment(seconds(0.5)), "max_side": 64}),
        (keyframes.job, {"segments": [segment]}),
        *((clips.cut_job, {"pieces": [(segment, whole)], "exact": how, "out": out}) for how in (False, True)),
        *((pieces.job, {"segment": segment, **spans, "exact": how, "out": out}) for how in (False, True)),
        (recording.rescue_job, {"folder": str(place.folder), "stream": "cam"}),
    )
    told = {outcome(lambda job=job, order=order: job(order, LIMITS, lambda _: None)) for job, order in jobs}  # type: ignore[misc]
    return next((one for one in sorted(told) if one != "read"), "read")


def as_subtitles(body: bytes, place: Place) -> str:
    film = place.folder / "film.mp4"
    if not film.exists():
        os.link(place.folder.parent / "seed.mp4", film)
    for name in ("film.srt", "film.de.vtt"):
        (place.folder / name).write_bytes(body)
    return read_source(source_details(SourceSpec("file", "file", str(film)), Guard([])))


def as_a_picture(body: bytes, place: Place) -> str:
    return outcome(lambda: sample.job({"data": body}, LIMITS, lambda _: None))


def as_a_message(body: bytes, place: Place) -> str:
    with suppress(wire.WireError):  # of our own making, and told to nobody
        return outcome(lambda: [wire.unpack(body)])
    return "bad-message"


def _remote(url: str, place: Place, *, live: bool = True) -> str:
    folder = place.folder / "recordings"
    folder.mkdir(exist_ok=True)
    return read_source(source_details(parse(url), Guard([], LOOPBACK)), folder, live=live, limits=place.limits)


RAW: Final = ("h264", "hevc", "mpjpeg")
"""What has no timestamps of its own, and comes from cameras alone."""
FEEDS: Final[tuple[tuple[str, Feed], ...]] = (
    *((name, as_file) for name in (*FILMS, *SOUNDS, *BY_FFMPEG) if name not in RAW),
    *((name, over_http) for name in ("fragments.mp4", "mkv", "ts", "flv")),
    *((name, as_a_camera) for name in RAW),
    *((name, in_a_playlist) for name in ("ts", "fragments.mp4")),
    ("m3u8", as_a_playlist),
    ("answer", behind_an_answer),
    ("rtsp", by_rtsp),
    ("rtsp", by_rtsp),
    ("rtmp", by_rtmp),
    ("onvif", by_onvif),
    ("fragments.mp4", as_our_recording),
    ("srt", as_subtitles),
    ("vtt", as_subtitles),
    *((name, as_a_picture) for name in ("jpeg", "png", "webp", "gif")),
    ("wire", as_a_message),
)
"""Every kind of seed with the way it comes in."""
