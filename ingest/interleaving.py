"""Pictures and sound on their way into a recording: encoded where they have to be, and side by side.

Sound comes later than the pictures it belongs to, by the length of a packet or by what the camera's encoder needs.
Written as it came, some of it would be left behind wherever a segment ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.records import MICROSECONDS, SAMPLE_RATE, seconds
from ingest.timeline import Timeline, microseconds

if TYPE_CHECKING:
    from av import AudioFrame, Packet

LATE: Final = seconds(1)
"""So long a packet waits for the other track. Without any sound, pictures come to the disk so much later."""
_MOST: Final = 1000
"""Packets of one track that wait at all."""
_ASTRAY: Final = seconds(0.04)
"""Sound that is this far from where the samples before it end is placed anew."""
_BASE: Final = Fraction(1, SAMPLE_RATE)


class Timed(NamedTuple):
    """A packet of `track` (0 pictures, 1 sound); times of its source in microseconds. `line`: as it was then."""

    packet: Packet
    track: int
    pts: int
    dts: int
    duration: int
    line: Timeline | None = None


class Interleaving:
    """Packets of one or two tracks, each in its own order -> all in the order of decoding."""

    def __init__(self, tracks: int) -> None:
        self._pictures: deque[Timed] = deque()
        self._sounds: deque[Timed] = deque()
        self._alone = tracks == 1

    def add(self, one: Timed) -> None:
        (self._sounds if one.track else self._pictures).append(one)

    def ready(self) -> Iterator[Timed]:
        """Those before which nothing can come any more."""
        yield from self._side_by_side()
        for left in (self._pictures, self._sounds):
            while left and (self._alone or left[-1].dts - left[0].dts >= LATE or len(left) >= _MOST):
                yield left.popleft()

    def rest(self) -> Iterator[Timed]:
        """All that wait."""
        yield from self._side_by_side()
        for left in (self._pictures, self._sounds):
            while left:
                yield left.popleft()

    def _side_by_side(self) -> Iterator[Timed]:
        """As long as both wait: the one that is decoded first, pictures before sound."""
        pictures, sounds = self._pictures, self._sounds
        while pictures and sounds:
            yield (sounds if sounds[0].dts < pictures[0].dts else pictures).popleft()

    def clear(self) -> None:
        self._pictures.clear()
        self._sounds.clear()


class SoundEncoder:
    """Sound that MP4 cannot carry as it is, such as a camera's G.711, as AAC: one run of it, whatever segments it is
    written to."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._begin()

    def add(self, frame: AudioFrame, pts: int) -> Iterator[Timed]:
        """Decoded sound of the time `pts`, microseconds of its source."""
        at = pts * SAMPLE_RATE // MICROSECONDS
        if self._next is not None and abs(at - self._next) > _ASTRAY * SAMPLE_RATE // MICROSECONDS:
            yield from self.finish()
        if self._next is None:
            self._next = at
        for part in self._resampler.resample(frame):
            part.pts, part.time_base = self._next, _BASE
            self._next += part.samples
            yield from self._packets(part)

    def finish(self) -> Iterator[Timed]:
        """What the encoder holds back; what is added next begins anew."""
        if self._next is not None:
            yield from self._packets(None)
        self._begin()

    def _begin(self) -> None:
        import av

        codec: Any = av.CodecContext.create("aac", "w")
        codec.sample_rate, codec.layout, codec.format, codec.time_base = SAMPLE_RATE, "mono", "fltp", _BASE
        self._codec = codec
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
        self._next = None

    def _packets(self, frame: AudioFrame | None) -> Iterator[Timed]:
        for packet in self._codec.encode(frame):
            pts, duration = (microseconds(ticks or 0, _BASE) for ticks in (packet.pts, packet.duration))
            yield Timed(packet, 1, pts, pts, duration)
