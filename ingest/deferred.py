"""Decoding put off until a picture is wanted: what follows the last one wanted of its group is never decoded.

Pictures are made from those before them, back to a key frame, and from none behind it. So packets wait, in order, until
one comes that shows a wanted picture: then all that wait are decoded, and it. When a key frame comes first, nothing
that waits is needed any more. The pictures that come of it are the same, to the last bit and as early; of the others,
with one wanted a second and a key frame every two, a quarter is left undecoded on the average.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from ingest.records import seconds
from ingest.timeline import scale_of, scaled

if TYPE_CHECKING:
    from av import Packet

BURST_S: Final = 0.2
"""What waits never takes longer than this to decode: a wanted picture is that late at most."""
LONGEST: Final = seconds(4)
"""Nor does it cover more time: a jump of the camera's clock is seen in pictures that are decoded."""
_RECENT: Final = 8
_SLICES: Final = {1: False, 5: True}
"""Kinds of slices of H.264 (ISO/IEC 14496-10, table 7-1): 5 is of a picture behind which none looks back."""
_START: Final = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)


class Deferred:
    """Video packets in, in decoding order; out those to decode now."""

    def __init__(self, base: Fraction) -> None:
        """`base`: the packets' ticks in seconds."""
        self._base, self._scale = base, scale_of(base)
        self._waiting: list[Packet] = []
        self._since = 0
        self._newest: int | None = None
        self._ordered = True
        """Whether the pictures of this group have come in the order in which they are shown, so far."""
        self._each = 0.0

    def take(self, packet: Packet, *, wanted: bool) -> list[Packet]:
        """`wanted`: whether the packet's own picture is."""
        if packet.is_keyframe and begins_anew(packet):
            self._waiting, self._ordered = [], True
        elif packet.pts is None or self._newest is None or packet.pts <= self._newest:
            self._ordered = False
        self._newest = packet.pts
        if not wanted and self._ordered and self._may_wait(packet):
            self._waiting.append(copied(packet, self._base))
            return []
        ready, self._waiting = [*self._waiting, packet], []
        return ready

    def forget(self) -> None:
        """What waits is not to be decoded: the next to come is a key frame."""
        self._waiting = []

    def took(self, spent_s: float, packets: int) -> None:
        """How long it took to decode so many."""
        self._each += (spent_s / packets - self._each) / _RECENT

    def _may_wait(self, packet: Packet) -> bool:
        assert packet.pts is not None
        now = scaled(packet.pts, self._scale)
        if not self._waiting:
            self._since = now
        return (len(self._waiting) + 1) * self._each < BURST_S and now - self._since < LONGEST


def begins_anew(key: Packet) -> bool:
    """Whether no picture shown after this key frame is made from one before it. H.264 marks as such also where a
    picture only begins to become whole again."""
    codec = key.stream.codec_context
    if codec is None or codec.name != "h264":
        return True
    slices = (_SLICES[kind] for kind in _units(memoryview(key), codec.extradata) if kind in _SLICES)
    return next(slices, False)


def _units(data: memoryview, head: bytes | None) -> Iterator[int]:
    """The kinds of an H.264 packet's units, behind their lengths (MP4, as `head` says) or behind start codes."""
    if head is None or head[:1] != b"\x01":
        yield from (mark[1][0] & 31 for mark in _START.finditer(data))
        return
    at, wide = 0, (head[4] & 3) + 1
    while at + wide < len(data):
        yield data[at + wide] & 31
        at += wide + int.from_bytes(data[at : at + wide])


def copied(packet: Packet, base: Fraction) -> Packet:
    """The same, untouched by what a recorder makes of the original. `base`: its ticks in seconds."""
    import av

    other = av.Packet(packet.size)  # made of bytes, it would lack the zeros that decoders read behind its end
    other.update(packet)
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base, other.is_keyframe = base, packet.is_keyframe
    return other
