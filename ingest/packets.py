"""Bounds on the packets of a source: each is work before anything is known of what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ingest.clock import Clock
from ingest.errors import TooLarge
from ingest.limits import Limits
from ingest.records import MICROSECONDS, seconds
from ingest.timeline import microseconds

if TYPE_CHECKING:
    from av import Packet

_EVERY: Final = 500
"""Packets between two looks at how much time they cover."""
_STEP: Final = seconds(3600)
"""What counts at most as time between two looks: a file that claims years in a second gains nothing by it."""
_CONVERT: Final = "Convert it to MP4 with H.264 and AAC."


def bounded(packets: Iterable[Packet], limits: Limits, *, clock: Clock | None, most: int | None) -> Iterator[Packet]:
    """The same packets. Raises `TooLarge` at one that is too large, when more come than the time they cover explains,
    or more than `most`.

    `clock` is for what is live: time is what passes. Without it, it is what the packets say of themselves.
    """
    cover, heaviest = _Cover(clock), limits.packet_bytes
    for number, packet in enumerate(packets, 1):
        if packet.size > heaviest:
            raise TooLarge(
                f"A packet of it has {packet.size / 1e6:.0f} MB; at most {limits.packet_bytes / 1e6:.0f} are allowed.",
                advice=_CONVERT,
            )
        if most is not None and number > most:
            raise TooLarge(f"It has more than {most} packets.", advice="Cut it in parts.")
        if number % _EVERY == 0:
            passed = cover.passed(packet)
            if number > limits.packets_at_once + limits.packets_per_s * passed / MICROSECONDS:
                raise TooLarge(
                    f"It is cut into too many packets: {number} for {passed / MICROSECONDS:.0f} s.", advice=_CONVERT
                )
        yield packet


class _Cover:
    """How much time the packets of a source cover so far. Jumps and wraps of its clock count for nothing."""

    def __init__(self, clock: Clock | None) -> None:
        self._clock = clock
        self._begun = clock.monotonic() if clock is not None else 0.0
        self._last: int | None = None
        self._passed = 0

    def passed(self, packet: Packet) -> int:
        """Microseconds up to `packet`."""
        if self._clock is not None:
            return seconds(self._clock.monotonic() - self._begun)
        if packet.dts is not None and packet.time_base is not None:
            now = microseconds(packet.dts, packet.time_base)
            self._passed += min(max(0, now - self._last), _STEP) if self._last is not None else 0
            self._last = now
        return self._passed
