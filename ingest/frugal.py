"""How little of a live stream is decoded: what wanted pictures are made from; key frames alone while nothing moves, or
while the machine cannot keep up.

A resting stream's packets since its last two key frames are kept as they came. When a key frame shows that something
moved, or when packets suddenly carry more, what was kept is decoded after all: rest costs delay, at most two groups of
pictures, and no picture between two key frames that differ. What came and went between two key frames that look
alike, in a stream whose packets are always as large as its bitrate allows, is not seen.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from ingest.deferred import Deferred, copied
from ingest.load import Load
from ingest.records import MICROSECONDS, seconds
from ingest.timeline import scale_of, scaled

if TYPE_CHECKING:
    from av import Packet

MOST: Final = 500
"""Packets that are kept at most: beyond them a camera's key frames are too far apart for resting."""
_SIZES: Final = 100
_RECENT: Final = 5
_MORE: Final = 1.6
"""Times the usual size, over a fifth of a second, at which packets carry something new."""
_ENOUGH: Final = seconds(0.2)
"""Where key frames alone are decoded, of the others one in so long tells that the camera delivers, and how late."""


class Frugal:
    """Video packets in, in decoding order; out those to decode now."""

    def __init__(self, base: Fraction, *, rests: bool = False, keys: bool = False, burst: int = 0) -> None:
        """`base`: the packets' ticks in seconds; asked of each packet, libav's are dear."""
        self.load = Load(burst)
        self.deferred = Deferred(base)
        self._base, self._scale = base, scale_of(base)
        self.resting = False
        self.skipped = 0
        """Pictures that were not decoded because of overload."""
        self._rests, self._keys = rests, keys
        self._incomplete = False
        """Whether something since the last key frame was not decoded."""
        self._group: list[Packet] = []
        self._earlier: list[Packet] = []
        self._sizes: deque[int] = deque(maxlen=_SIZES)
        self._enough = _ENOUGH * self._scale[1] // self._scale[0]
        """In ticks."""
        self._told: int | None = None

    def ignores(self, packet: Packet) -> bool:
        """Whether nothing is to be done about a packet, not even to ask how late it is. Of two of the same time neither
        is ignored: a clock that stands still tells nothing."""
        if not self._keys or packet.is_keyframe:
            return False
        dts, told = packet.dts, self._told
        if dts is not None and told is not None and 0 < abs(dts - told) < self._enough:
            return True
        self._told = dts
        return False

    def admit(self, packet: Packet, now_s: float, *, wanted: bool, still: bool) -> list[Packet]:
        """`wanted`: whether the packet's own picture is, with `keys` none but a key frame's; `still`: whether nothing
        has moved for long."""
        if packet.dts is not None:
            self.load.observe(scaled(packet.dts, self._scale), int(now_s * MICROSECONDS))
        if self.load.shedding == "pictures":
            return self._key_alone(packet)
        if self._keys:
            return [packet] if wanted else []
        if packet.is_keyframe:
            self._incomplete = False
            self._earlier, self.resting = self._group if self.resting else [], self._rests and still
            return self._begin(packet, wanted=wanted)
        if self._incomplete:
            self.skipped += 1
            return []
        return self._put_off(packet) if self.resting else self.deferred.take(self._sized(packet), wanted=wanted)

    def again(self) -> list[Packet]:
        """The newest key frame differs from the one before it: what lies between them, and it once more."""
        whole, self._earlier, self.resting = [*self._earlier, *self._group], [], False
        return whole

    def _key_alone(self, packet: Packet) -> list[Packet]:
        self.resting, self._group, self._earlier = False, [], []
        self.deferred.forget()
        if packet.is_keyframe and not self.load.stale:
            self._incomplete = False
            return [packet]
        if self._keys and not packet.is_keyframe:  # it would not be decoded anyway
            return []
        self._incomplete = True
        self.skipped += 1
        return []

    def _put_off(self, packet: Packet) -> list[Packet]:
        self._sized(packet)
        self._group.append(copied(packet, self._base))
        if len(self._group) < MOST and not self._carries_more():
            return []
        self.resting, since = False, self._group[1:]
        return since

    def _begin(self, packet: Packet, *, wanted: bool) -> list[Packet]:
        """The key frame of a group."""
        if not self._rests:
            return self.deferred.take(packet, wanted=wanted)
        self._group = [copied(packet, self._base)]
        return self.deferred.take(packet, wanted=True)

    def _sized(self, packet: Packet) -> Packet:
        if self._rests:
            self._sizes.append(packet.size)
        return packet

    def _carries_more(self) -> bool:
        if len(self._sizes) < _SIZES:
            return False
        sizes = np.fromiter(self._sizes, np.int64)
        return bool(sizes[-_RECENT:].mean() > _MORE * np.median(sizes))
