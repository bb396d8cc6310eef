"""When the key frames of a user's own file are shown: there it can be cut without encoding anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ingest.child import Decoder
from ingest.clips import moment_of, open_segment
from ingest.cutting import COPIED
from ingest.errors import BrokenVideo, HindsightError, Transient
from ingest.limits import Limits
from ingest.records import MICROSECONDS, Moment, Segment, seconds

if TYPE_CHECKING:
    from av import Packet

    from ingest.decode import Emit
    from ingest.opening import Opened

Keys: TypeAlias = tuple[Moment, ...]
"""In order."""
REORDERED: Final = 16
"""Pictures of H.264 that are sent before one that is shown before them are no more."""
LEAD: Final = seconds(10)
"""So long before a file's first picture its time begins here: it is decoded before, and sound may be heard before."""
_LOOKED_S: Final = 30.0
"""So long a file whose container has no index is read for its key frames."""
_APART: Final = seconds(60)
"""An index that tells of nothing for longer is not of all of the file."""
_PROGRESS: Final = 1000
"""Packets between two signs of progress."""


def keys(segments: Sequence[Segment]) -> list[Keys | None]:
    """Of each file; None of what has to be encoded, as it has where its key frames cannot be known in time."""
    found: list[Keys | None] = []
    while len(found) < len(segments):
        rest = list(segments[len(found) :])
        with Decoder("keys", {"segments": rest}, Limits()) as decoder:
            try:
                decoder.result(
                    _LOOKED_S + len(rest), lambda message: found.append(message[1]) if message[0] == "keys" else None
                )
            except (BrokenVideo, Transient):
                found.append(None)
    return found


# --- the child's side ------------------------------------------------------------------------------------------


def job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> None:
    """The child's side of `keys`: says those of one file after the other."""
    for segment in details["segments"]:
        try:
            found = _keys(segment, limits, emit)
        except HindsightError:  # whoever asks for a piece of it is told
            found = None
        emit(("keys", found))


class Timing:
    """When the pictures of a file are decoded and shown, by one clock for all of it: its packets tell when they are
    decoded (`told`), or, in Matroska, only when they are shown."""

    def __init__(self, opened: Opened, segment: Segment) -> None:
        """Reads the first picture of what was `opened`."""
        self._segment = segment
        video, named = opened.video, opened.container.format.name.split(",")
        assert video is not None
        first = next(iter(opened.packets(video)), None) if "mov" in named else None
        if first is not None and first.pts is not None and first.dts is not None:
            self.told, self.delay = True, round((first.pts - first.dts) * first.time_base * MICROSECONDS)
        else:
            interval = 1 / Fraction(video.average_rate or 25)
            self.told, self.delay = False, min(round(REORDERED * interval * MICROSECONDS), LEAD // 2)

    def tick(self, packet: Packet) -> int | None:
        """What of its times is the one that the container's index has."""
        tick: int | None = packet.dts if self.told else packet.pts
        return tick

    def shown(self, tick: int, base: Fraction) -> Moment:
        """When a key frame is shown: `delay` after it is decoded."""
        return Moment(moment_of(self._segment, tick, base) + (self.delay if self.told else 0))


def is_copied(opened: Opened) -> bool:
    """Whether its pictures are of a kind that browsers play, in a container that can be cut."""
    return opened.one_timeline and opened.video is not None and opened.video.codec_context.name == COPIED


def _keys(segment: Segment, limits: Limits, emit: Emit) -> Keys | None:
    with open_segment(segment, limits) as opened:
        if not is_copied(opened):
            return None
        timing, ticks = Timing(opened, segment), _indexed(opened)
        base = opened.video.time_base
    if ticks is None:
        with open_segment(segment, limits) as opened:
            ticks = _read(opened, timing, emit)
    return tuple(sorted({timing.shown(tick, base) for tick in ticks}))


def _indexed(opened: Opened) -> list[int] | None:
    """As the container's index says; None where it is not of all of the file."""
    import av.error

    video, container = opened.video, opened.container
    assert video is not None
    begin = container.start_time or 0
    end = begin + (container.duration or 0)
    try:
        container.seek(end)  # Matroska reads its index then
    except av.error.FFmpegError:
        return None
    entries = [(entry.timestamp, entry.is_keyframe) for entry in video.index_entries]
    base = Fraction(video.time_base or 1)
    times = [round(tick * base * MICROSECONDS) for tick, _ in entries]
    if not entries or max(after - before for before, after in pairwise([begin, *times, end])) > _APART:
        return None
    return [tick for tick, is_key in entries if is_key]


def _read(opened: Opened, timing: Timing, emit: Emit) -> list[int]:
    from av.stream import Discard

    ticks = []
    assert opened.video is not None
    opened.video.discard = Discard.nonkey  # where a container can leave them out, the others are not read
    for number, packet in enumerate(opened.packets(opened.video)):
        if number % _PROGRESS == 0:
            emit(("reading",))
        tick = timing.tick(packet) if packet.is_keyframe else None
        if tick is not None:
            ticks.append(tick)
    return ticks
