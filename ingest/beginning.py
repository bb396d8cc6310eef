"""Where the reading of a source begins: what was asked for, and what is known before the first picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.clock import Clock, together
from ingest.records import MICROSECONDS, Mark, Moment, seconds
from ingest.sampling import Sampling
from ingest.timeline import PUT, Arrival, microseconds

if TYPE_CHECKING:
    from av import Packet
    from av.stream import Stream

    from ingest.opening import Opened

LEAD: Final = seconds(20)
"""Decoded again before where reading resumes: two sound chunks, and any group of pictures."""
AGAIN: Final = seconds(4)
"""Published again before where reading resumes, so that an encoder that looks at neighbours finds its feet."""
MOST_EARLY: Final = 500
_WAITED_S: Final = 0.01
_WAITS: Final = 3
_CALM: Final = 5
"""So many packets that were waited for, and came no earlier than others, are no burst that is still being read."""
_SAME: Final = seconds(0.02)
_ANCHOR_S: Final = 1.0
_LONGEST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Task:
    """What the supervisor asks for. `starts_at`: moment of a file's first picture, and up to when a live stream was
    seen. `resume`: the frame that reading goes on from; `heard`: the end of the sound that was listened to. `skip`:
    nothing up to this pts, it kills its decoder."""

    stream: str
    live: bool
    epoch: int
    starts_at: int
    sampling: Sampling
    audio: bool
    resume: Mark | None
    heard: Mark | None
    skip: int | None
    folder: str | None
    segment_s: float
    record: bool = True


def earliest(task: Task, clock: Clock) -> Moment:
    """The earliest moment that a live stream's first picture may have: up to when it was seen, unless that is still to
    come because this machine's clock was put back."""
    return Moment(task.starts_at if task.starts_at - clock.now() <= PUT else 0)


def seek_to(task: Task, opened: Opened, *, hears: bool) -> int | None:
    """Where to seek before reading on; None: read from the start, as is exact for clocks that may jump. `hears`:
    whether anything but pictures is to be taken in."""
    mark = task.resume
    if task.live or mark is None or mark.epoch or not opened.seekable:
        return None
    if task.skip is not None:
        return task.skip
    if not hears:
        return mark.pts - LEAD
    return min(mark.pts, task.heard.pts) - LEAD if task.heard is not None else None


def publish_from(task: Task) -> tuple[int, int]:
    """(epoch, pts) of the first frame to publish."""
    mark = task.resume
    if task.live or mark is None:
        return (-1, 0)
    return (mark.epoch, mark.pts - AGAIN)


@dataclass(frozen=True, slots=True)
class Early:
    """The first packets of a live source. `offset`: moment minus pts, the least that any of them shows, and `known`
    what the clocks said then, where they tell it; `apart_s`: how long was waited for one of the leading track, at
    most."""

    packets: list[Packet]
    offset: int | None
    known: Arrival | None
    apart_s: float


def read_early(packets: Iterable[Packet], lead: Stream | None, clock: Clock, *, filmed: Moment | None) -> Early:
    """As many as it takes to know when pictures come. `filmed`: when the first one was, if that is known.

    What came while the source was being opened lies in a buffer and comes late in a rush; the packets behind it
    come when they come. A child that gets little time reads even the rush slowly, as if it waited for each packet. So
    read until packets have to be waited for and come no less late than before, and keep what was read.
    """
    early: list[Packet] = []
    least: int | None = None
    settled = 0
    """The offset that the ones which come no less late are compared with."""
    calm, enough, begun = 0, _CALM if filmed is None else _WAITS, clock.monotonic()
    fell, led, before, apart = begun, begun, begun, 0.0
    for packet in packets:
        now = clock.monotonic()
        early.append(packet)
        if packet.stream is lead:
            led, apart = now, max(apart, now - led)
        if packet.stream is lead and packet.dts is not None and packet.time_base is not None:
            offset = seconds(now) - round(packet.dts * packet.time_base * MICROSECONDS)
            if filmed is None and (least is None or offset < settled - _SAME):
                settled, calm, fell = offset, 0, now
            elif now - before > _WAITED_S and (filmed is not None or offset <= settled + _SAME):
                calm += 1
            least = offset if least is None else min(least, offset)
        before = now
        if calm >= enough or now - fell > _ANCHOR_S or now - begun > _LONGEST_S or len(early) >= MOST_EARLY:
            break
    _date_back([packet for packet in early if packet.stream is lead])
    first = next((one for one in early if one.stream is lead and one.pts is not None and one.time_base), None)
    if filmed is not None and first is not None:
        return Early(early, filmed - microseconds(first.pts, first.time_base), None, apart)
    known = Arrival(*together(clock))
    return Early(early, None if least is None else least + known.moment - known.ticks, known, apart)


def _date_back(packets: list[Packet]) -> None:
    """RTSP sources often send the first key frame without a time, Matroska without one of decoding: count back from the
    first that has one. What is shown next may be sent later."""
    known = next((place for place, packet in enumerate(packets) if packet.dts is not None), 0)
    for place in range(known - 1, -1, -1):
        packet, lasts = packets[place], packets[place].duration or 1
        shown = [after.pts for after in packets[place + 1 : known + 1] if after.pts is not None]
        packet.dts = packets[place + 1].dts - lasts
        if packet.pts is None:
            packet.pts = min(shown, default=packet.dts + lasts) - lasts
