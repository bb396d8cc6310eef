"""What a source is, asked of a decoder child."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.child import Decoder, source_details
from ingest.clock import SystemClock, moment_of
from ingest.guard import Guard
from ingest.limits import Limits
from ingest.records import Moment, seconds
from ingest.sources import SourceSpec
from ingest.timeline import microseconds

if TYPE_CHECKING:
    from ingest.decode import Emit
    from ingest.opening import Opened


_WATCHED_S: Final = 2.0
_AHEAD: Final = seconds(20)
"""More than this at once is no camera's: what lies ready in a server until a visitor comes is less."""
EARLIEST: Final = Moment(seconds(315_532_800))
"""1980: a file that says it is older has no clock in its camera."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """`width`, `height`, `fps` are 0 and `video_codec` is empty for sound alone; `duration_us` is None when endless.

    `burst_s`: pictures come so many seconds at a time, as those of an HLS segment do. `ends`: whether it has an end.
    """

    duration_us: int | None
    width: int
    height: int
    fps: float
    video_codec: str
    audio_codec: str | None
    created: Moment | None
    burst_s: float = 0.0
    ends: bool = True


def probe(spec: SourceSpec, guard: Guard, *, timeout_s: float = 10) -> MediaInfo:
    """Open `spec` and look at its header.

    Raises `NotVideo`, `BrokenVideo`, `TooLarge`, `NotFound`, `SourceRefused`, `Unauthorised`, `SourceUnavailable`,
    `DeadlineExceeded`.
    """
    if spec.scheme == "folder":
        guard.folder(spec.location)
        return MediaInfo(None, 0, 0, 0.0, "", None, None)
    limits = replace(Limits(), open_s=timeout_s, read_s=min(timeout_s * 0.8, Limits().read_s))
    with Decoder("probe", source_details(checked(spec, guard), guard), limits) as decoder:
        return MediaInfo(**decoder.result(timeout_s))


def checked(spec: SourceSpec, guard: Guard) -> SourceSpec:
    """`spec` as a child may open it: a file by its real path, an address that is allowed at this moment."""
    match spec.scheme:
        case "file":
            return replace(spec, location=str(guard.path(spec.location)))
        case "device":
            guard.device(spec.location)
        case _:
            guard.url(spec.location)
    return spec


def filmed(info: MediaInfo, path: Path | None, now: Moment) -> Moment:
    """When a file's first picture was taken: as its camera wrote, or as its last change suggests."""
    if info.created is not None and EARLIEST < info.created < now:
        return info.created
    changed = seconds(path.stat().st_mtime) if path is not None else now
    return Moment(max(EARLIEST, min(changed, now) - (info.duration_us or 0)))


def job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> dict[str, Any]:
    """The child's side."""
    from ingest.opening import open_source

    with open_source(details, limits) as opened:
        info = describe(opened)
        if not info.ends and details["kind"] == "file":
            info = replace(info, ends=_rushes(opened))
        return asdict(info)


def _rushes(opened: Opened) -> bool:
    """Whether a body without a length comes as fast as it is taken, so that it is a file: a camera cannot."""
    clock, first = SystemClock(), None
    begun = clock.monotonic()
    for packet in opened.packets(opened.video or opened.audio):
        if packet.dts is not None and packet.time_base is not None:
            at = microseconds(packet.dts, packet.time_base)
            first = at if first is None else first
            if at - first > _AHEAD:
                return True
        if clock.monotonic() - begun > _WATCHED_S:
            return False
    return True


def describe(opened: Opened) -> MediaInfo:
    """What its header says, and what is known by how it was opened."""
    video, audio, container = opened.video, opened.audio, opened.container
    rate = (video.average_rate or video.guessed_rate or 0) if video is not None else 0
    return MediaInfo(
        duration_us=container.duration if opened.bounded else None,
        width=video.width if video is not None else 0,
        height=video.height if video is not None else 0,
        fps=round(float(rate), 3),
        video_codec=video.codec_context.name if video is not None else "",
        audio_codec=audio.codec_context.name if audio is not None else None,
        created=moment_of(container.metadata.get("creation_time", "")),
        burst_s=opened.burst_s,
        ends=opened.ends,
    )
