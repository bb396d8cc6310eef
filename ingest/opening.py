"""Opening a source inside a decoder child, so that libav can reach nothing but that source.

Files are opened by us and handed over as open files; HTTP and HLS are fetched by us through the guard; RTSP and RTMP go
through a relay to one checked address. Formats that name other files or addresses are not on the list. The protocol
list alone does not stop an ffconcat list called .mp4, and the format list alone does not stop `concat:`: both, always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote, urlsplit, urlunsplit

from ingest.clock import Clock, SystemClock, together
from ingest.errors import BrokenVideo, DeadlineExceeded, HindsightError, NotVideo, SourceUnavailable, TooLarge
from ingest.fetch import Call, Credentials, RemoteFile
from ingest.guard import Guard
from ingest.hls import NEVER, HlsStream
from ingest.in_band import says_in_band, whole
from ingest.libav_errors import camera_failure, failures, translate
from ingest.limits import Limits
from ingest.packets import bounded
from ingest.records import MICROSECONDS, Moment
from ingest.relay import Relay
from ingest.srt import SrtStream
from ingest.timeline import Arrival

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

FORMATS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,live_flv,ogg,asf,"
    "mp3,wav,flac,aac,h264,hevc,mpegvideo,mpjpeg"
)
_DATAGRAMS: Final = 1 << 20
"""Bytes that may wait at a UDP port: a key frame comes in a rush."""
_HEARS_US_ALONE: Final = "filter_src"
"""libav's ports are open to the whole network: without it anyone who finds them is taken for the camera."""
_TIMED: Final = ("video/mp2t", "video/mp4", "video/x-flv", "video/flv", "video/x-matroska", "video/webm")
_TIMED_NAMES: Final = (".ts", ".m2ts", ".mp4", ".flv", ".mkv", ".webm")
"""Of what has no end over HTTP, what tells its own times. Motion JPEG tells none: a picture is of when it comes."""
_UNTIMED: Final = ("h264", "hevc")
"""Bare streams: as files they have no times at all; from a camera, a picture is of when it comes."""
_ONE_TIMELINE: Final = ("mov", "matroska")
"""Containers that can seek and whose timestamps cannot jump."""


@dataclass(slots=True)
class Opened:
    """A source ready to be read."""

    container: InputContainer
    video: VideoStream | None
    audio: AudioStream | None
    bounded: bool
    limits: Limits
    remote: RemoteFile | None = None
    listed: HlsStream | None = None
    """Where it comes segment by segment."""

    def packets(self, *tracks: Stream | None) -> Iterator[Packet]:
        """Those of the tracks that there are, in the order in which they come, within the limits."""
        live = not self.bounded
        found = self.container.demux([track for track in tracks if track is not None])
        clock, most = SystemClock() if live else None, None if live or self.listed else self.limits.packets
        taken = bounded(found, self.limits, clock=clock, most=most)
        video = self.video if self.video in tracks else None
        return whole(taken, video) if video is not None and says_in_band(video) else taken

    @property
    def ends(self) -> bool:
        """Whether the end that was reached is an end, and not a lost connection."""
        return self.bounded if self.listed is None else self.listed.ended

    @property
    def burst_s(self) -> float:
        """How long there may be no picture because they come segment by segment."""
        return 0.0 if self.listed is None or self.listed.ended else self.listed.target_s

    @property
    def filmed(self) -> Moment | None:
        """About when the first picture was, where pictures come long after they were made: a segment of them later."""
        return None if self.listed is None else self.listed.filmed

    def arrival(self, clock: Clock) -> Arrival:
        """When what was read last came; where it comes segment by segment, when its segment was there."""
        listed = None if self.listed is None else self.listed.arrival
        return listed or Arrival(*together(clock))

    def passed(self, pts: int) -> None:
        """How far the pictures that were read reach by the source's own clock, microseconds, unwrapped."""
        if self.listed is not None:
            self.listed.passed(pts)

    @property
    def promised(self) -> int:
        """Where a file ends by its header, microseconds of its own clock; 0 where that tells nothing. To be asked
        before it is read: of Matroska libav then takes a later picture for the first."""
        track, container = self.video or self.audio, self.container
        if not self.bounded or not self.one_timeline or track is None:
            return 0
        if track.duration and track.time_base:
            return round(((track.start_time or 0) + track.duration) * track.time_base * MICROSECONDS)
        return (container.start_time or 0) + (container.duration or 0)

    @property
    def one_timeline(self) -> bool:
        return any(name in self.container.format.name.split(",") for name in _ONE_TIMELINE)

    @property
    def seekable(self) -> bool:
        return self.one_timeline and self.listed is None and (self.remote is None or self.remote.seekable())

    @property
    def wraps(self) -> bool:
        return "mpegts" in self.container.format.name


@contextmanager
def open_source(source: Mapping[str, Any], limits: Limits, seen: Moment = NEVER) -> Iterator[Opened]:
    """Open what `child.source_details` describes, of which all is known up to `seen`. Raises our errors only, while
    reading too."""
    relay: Relay | None = None
    stack = ExitStack()
    try:
        match source["scheme"]:
            case "file":
                opened = _file(stack, source, limits)
            case "device":
                opened = _device(source, limits)
            case "http" | "https":
                opened = _http(stack, source, limits, seen)
            case "rtsp" | "rtsps" | "rtmp":
                guard = _guard(source)
                relay = Relay(
                    guard,
                    guard.url(source["location"]),
                    timeout_s=limits.read_s,
                    certificate=source["certificate"],
                    udp=source["transport"] == "udp",
                )
                opened = _relayed(relay, source, limits)
            case _:
                opened = _srt(stack, source, limits)
        stack.callback(opened.container.close)
        yield opened
    except failures() as error:
        raise _explained(error, relay, source, limits) from error
    finally:
        stack.close()
        if relay is not None:
            relay.close()


def _explained(error: Exception, relay: Relay | None, source: Mapping[str, Any], limits: Limits) -> HindsightError:
    """libav names a silent peer, and one that hangs up, "invalid data", "exit" or "end of file": we know better."""
    if relay is not None and relay.failure is not None:
        return relay.failure
    if source["scheme"] == "device":
        return camera_failure(error, source["location"])
    ours = translate(error)
    silent = relay.silent_s if relay is not None else 0.0
    if isinstance(ours, NotVideo) and silent >= 0.9 * limits.read_s:
        return DeadlineExceeded("It did not answer in time.", advice="Check the address and the camera.")
    if isinstance(ours, NotVideo | BrokenVideo) and relay is not None and relay.ended:
        return SourceUnavailable("It ended the connection.", advice="Check its address, and whether it is ready.")
    if isinstance(error, BrokenPipeError) and source["scheme"] in ("http", "https"):
        return BrokenVideo(  # our own connections fail as our own errors: this is libav wanting to seek
            "Reading it means going back and forth, which its server does not allow.",
            advice="Download it and add the file.",
        )
    if isinstance(ours, NotVideo) and source["scheme"] == "file":
        return _why_not(Path(source["location"]), ours)
    return ours


def _why_not(path: Path, ours: HindsightError) -> HindsightError:
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return NotVideo("The file is empty.", advice="Copy or download it again.")
    if head[4:8] == b"ftyp":
        return BrokenVideo(
            "It begins like a video, but its index is missing: it was cut off or is still being written.",
            advice="Copy or download it again, or wait until it is complete.",
        )
    return ours


def _guard(source: Mapping[str, Any]) -> Guard:
    """The parent's, as far as addresses go."""
    return Guard((), source["networks"], private=source["private"])


def _file(stack: ExitStack, source: Mapping[str, Any], limits: Limits) -> Opened:
    path = Path(source["location"])
    handle = stack.enter_context(Guard([path.parent]).open(path))
    return _finish(_libav(handle, limits), limits)


def _device(source: Mapping[str, Any], limits: Limits) -> Opened:
    """A webcam, as motion JPEG where it can, so that recording is a copy."""
    import av.error

    path, formats = Guard(()).device(source["location"]), "v4l2,video4linux2"
    try:
        container = _libav(path, limits, "v4l2", formats=formats, extra={"input_format": "mjpeg"})
    except av.error.FFmpegError:
        container = _libav(path, limits, "v4l2", formats=formats)
    return _finish(container, limits, bounded=False)


def _http(stack: ExitStack, source: Mapping[str, Any], limits: Limits, seen: Moment) -> Opened:
    guard = _guard(source)
    call = Call(
        "GET",
        source["location"],
        timeout_s=limits.read_s,
        login=_credentials(source),
        certificate=source["certificate"],
    )
    if urlsplit(source["location"]).path.lower().endswith((".m3u8", ".m3u")):
        listed = stack.enter_context(HlsStream(guard, call, seen))
        return _finish(_libav(listed, limits), limits, listed=listed)
    remote = stack.enter_context(RemoteFile(guard, call))
    timed = remote.size is not None or remote.kind in _TIMED or PurePath(remote.name).suffix.lower() in _TIMED_NAMES
    options = {} if timed else {"use_wallclock_as_timestamps": "1"}
    return _finish(_libav(remote, limits, extra=options), limits, bounded=remote.size is not None, remote=remote)


def _relayed(relay: Relay, source: Mapping[str, Any], limits: Limits) -> Opened:
    parts = urlsplit(source["location"])
    scheme = "rtmp" if parts.scheme == "rtmp" else "rtsp"
    url = urlunsplit((scheme, f"{_login(source)}127.0.0.1:{relay.port}", parts.path, parts.query, ""))
    microseconds = str(round(limits.read_s * 1e6))
    if scheme == "rtsp":
        how = "udp" if source["transport"] == "udp" else "tcp"
        options = {"rtsp_transport": how, "timeout": microseconds, "protocol_whitelist": f"rtsp,rtp,{how},tcp"}
        options |= {"buffer_size": str(_DATAGRAMS), "rtsp_flags": _HEARS_US_ALONE} if how == "udp" else {}
    else:
        options = {"rw_timeout": microseconds, "protocol_whitelist": "rtmp,tcp"}
    container = _libav(url, limits, formats=f"rtsp,sdp,rtp,{FORMATS}", extra=options)
    return _finish(container, limits, bounded=False)


def _srt(stack: ExitStack, source: Mapping[str, Any], limits: Limits) -> Opened:
    stream = stack.enter_context(SrtStream(_guard(source).url(source["location"]), timeout_s=limits.read_s))
    return _finish(_libav(stream, limits, "mpegts"), limits, bounded=False)


def _credentials(source: Mapping[str, Any]) -> Credentials | None:
    known = source["username"] or source["password"]
    return Credentials(source["username"], source["password"]) if known else None


def _login(source: Mapping[str, Any]) -> str:
    if not source["username"]:
        return ""
    return f"{quote(source['username'], safe='')}:{quote(source['password'], safe='')}@"


def _libav(
    what: str | BinaryIO | HlsStream | RemoteFile | SrtStream,
    limits: Limits,
    name: str | None = None,
    *,
    formats: str = FORMATS,
    extra: Mapping[str, str] | None = None,
) -> InputContainer:
    import av

    av.logging.set_level(None)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": formats,
        "max_redirects": "0",
        "analyzeduration": "2000000",
        "max_streams": "64",
        **(extra or {}),
    }
    timeout = (limits.open_s, limits.read_s)
    container: InputContainer = av.open(what, format=name, options=options, timeout=timeout, metadata_errors="replace")
    return container


def _finish(
    container: InputContainer,
    limits: Limits,
    *,
    bounded: bool = True,
    remote: RemoteFile | None = None,
    listed: HlsStream | None = None,
) -> Opened:
    """Choose the tracks and bound the pictures before one is decoded."""
    from av.stream import Disposition

    covers = Disposition.attached_pic
    video = next((track for track in container.streams.video if not track.disposition & covers), None)
    audio = next((track for track in container.streams.audio if track.codec_context is not None), None)
    if video is not None and video.codec_context is None:
        raise NotVideo("There is no decoder for this video.", advice="Convert it to MP4 with H.264.")
    if video is None and audio is None:
        raise NotVideo("There is neither picture nor sound in it.", advice="Check that it plays elsewhere.")
    if bounded and container.format.name in _UNTIMED:
        raise NotVideo(
            "No picture in it says when it is shown: it is a bare stream of pictures, without a container.",
            advice="Put it into one, such as with `ffmpeg -i FILE -c copy film.mp4`.",
        )
    if video is not None:
        bound_pixels(video, limits)
    return Opened(container, video, audio, bounded, limits, remote, listed)


def bound_pixels(video: VideoStream, limits: Limits) -> None:
    """Refuse by the header, and have the codec refuse what the header did not say."""
    if video.width * video.height > limits.max_pixels:
        raise TooLarge(
            f"Its pictures are {video.width} x {video.height}; at most {limits.max_pixels} pixels are allowed.",
            advice="Scale it down first.",
        )
    video.codec_context.options = {**video.codec_context.options, "max_pixels": str(limits.max_pixels)}


def unfiltered(video: VideoStream) -> None:
    """Decode without smoothing the edges of blocks: a sixth cheaper with H.264, a twentieth with HEVC. For key frames
    alone, as pictures that are made from others drift; these differ by 46 dB at a camera's bitrates (docs/ingest.md).
    """
    context = video.codec_context
    if context.name in ("h264", "hevc"):
        context.options = {**context.options, "skip_loop_filter": "all"}
