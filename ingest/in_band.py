"""What H.264 and HEVC say amid their pictures, as ITU-T H.264 and H.265 lay it out in bytes (annex B of either)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from ingest.pictures import pixel_of

if TYPE_CHECKING:
    from av import Packet

_START: Final = b"\0\0\1"
_SETS: Final = {"h264": (7, 8), "hevc": (32, 33, 34)}
"""Kinds of units that say how the pictures after them are to be decoded: their size, for one."""


def says_in_band(video: Any) -> bool:
    """Whether the pictures of a track may have their parameters before them, and not in the file's header alone."""
    context = video.codec_context
    return context.name in _SETS and bytes(context.extradata or b"")[:1] != b"\1"


def parameter_sets(codec: str, data: bytes) -> bytes:
    """Those that come before the first slice of a picture, as they are; empty where there are none."""
    wanted, found, at = _SETS.get(codec, ()), b"", data.find(_START)
    while wanted and 0 <= at < len(data) - 3:
        kind = data[at + 3] & 0x1F if codec == "h264" else data[at + 3] >> 1 & 0x3F
        if (1 <= kind <= 5) if codec == "h264" else kind < 32:
            break
        after = data.find(_START, at + 3)
        if kind in wanted:
            found += b"\0" + data[at : after if after >= 0 else None].rstrip(b"\0")
        at = after
    return found


def shape_in(codec: str, picture: bytes) -> tuple[int, int, Fraction] | None:
    """Width, height and the shape of a pixel of a key frame that has its parameters before it; None where libav cannot
    tell."""
    import av
    import av.error

    with suppress(av.error.FFmpegError), av.open(io.BytesIO(picture), format=codec) as container:
        video = container.streams.video[0]
        if video.width and video.height:
            return video.width, video.height, pixel_of(video)
    return None


def whole(packets: Iterable[Packet], video: Any) -> Iterator[Packet]:
    """The same packets, those of the track `video` held back by one and joined where several are one picture: where its
    parameters come before each of its slices, libav takes each for a whole one. Nothing is held before that has
    happened."""
    held: Packet | None = None
    last, pieces = None, False
    for packet in packets:
        if packet.stream is not video:
            yield packet
        elif not pieces:
            pieces, last = last is not None and packet.size > 0 and packet.dts in (last, None), packet.dts
            yield packet
        elif held is not None and _is_rest(held, packet):
            held = joined(held, packet)
        else:
            if held is not None:
                yield held
            held = packet
    if held is not None:
        yield held


def _is_rest(one: Packet, other: Packet) -> bool:
    """Over RTSP the pieces of a picture have its time, in a transport stream the first of them alone."""
    timed = one.dts is not None and other.size > 0
    same = timed and (other.dts, other.pts) in ((one.dts, one.pts), (None, None))
    return same and (one.is_keyframe or not other.is_keyframe)


def joined(one: Packet, other: Packet) -> Packet:
    """Two pieces of one picture."""
    import av

    both = av.Packet(bytes(one) + bytes(other))
    both.stream, both.is_keyframe = one.stream, one.is_keyframe
    both.time_base, both.pts, both.dts, both.duration = one.time_base, one.pts, one.dts, one.duration
    return both
