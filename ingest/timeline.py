"""Raw timestamps -> (epoch, pts, moment): pure functions over immutable state.

An epoch is a stretch in which a source's own clock runs on without a jump; `pts` is that clock in microseconds,
unwrapped; `moment = pts + offset`. Whatever the source sends, pts and moment grow strictly within an epoch.

The offset of a live source is led after the arrival of its pictures, since no two clocks run alike: slowly, so that no
distance is wrong by more than half a hundredth, and by the least late of many, since networks only delay. When this
machine's own clock is put forward, beyond where time is, or back, a new epoch begins: where it is put back before the
last one ended, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from ingest.records import MICROSECONDS, Mark, Moment

MPEGTS_WRAP: Final = 1 << 33
"""MPEG-2 Systems (ISO/IEC 13818-1, 2.4.3.7): 33-bit timestamps at 90 kHz, a turn every 26.5 hours."""
FORWARD: Final = 10 * MICROSECONDS
"""A clock that leaps further than this ahead of real time has jumped."""
BACKWARD: Final = MICROSECONDS
"""A clock that steps back further than this has jumped; less is a late or repeated picture."""
APART: Final = MICROSECONDS // 25
"""How far two pictures are apart where nothing tells it."""
PUT: Final = MICROSECONDS // 4
"""How far the wall clock must run ahead of the monotonic one, or behind it, between two looks, to have been put. Less
is led: with what networks delay, no time is wrong by more than half a second meanwhile."""
LOOK: Final = 20 * MICROSECONDS
"""Of all pictures in so long, the least late tells how wrong the offset is."""
SETTLE: Final = 60 * MICROSECONDS
"""In about so long what is wrong is put right."""
HARDEST: Final = 200
"""One part in so many is the most by which distances are changed for it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a picture came: by the wall clock, and in microseconds of the monotonic one, which alone tells durations.

    Of one that came with others, in a segment, when that was there; `held`: for how long the first of them waited for
    it, microseconds; `offset`: moment minus pts by the segments that were read, if they tell it.
    """

    moment: Moment
    ticks: int
    held: int = 0
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where a picture or a sound lies."""

    epoch: int
    pts: int
    moment: Moment


Scale = tuple[int, int]
"""Microseconds per tick: their ratio in lowest terms."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """One track's raw clock, and the number of ticks after which it starts again (0: never)."""

    scale: Scale
    wrap: int = 0
    last: int | None = None

    @classmethod
    def of(cls, base: Fraction, wrap: int = 0) -> Ticks:
        """`base`: seconds per tick."""
        return cls(scale_of(base), wrap)

    def read(self, raw: int) -> tuple[Ticks, int]:
        """Unwrap `raw` to the value nearest to the last one, and give it in microseconds."""
        if not self.wrap:
            return self, scaled(raw, self.scale)
        ticks = unwrap(raw, self.last, self.wrap)
        return Ticks(self.scale, self.wrap, ticks), scaled(ticks, self.scale)

    def at(self, raw: int) -> int:
        """The same microseconds, of something that does not come next."""
        return scaled(unwrap(raw, self.last, self.wrap) if self.wrap else raw, self.scale)

    def lasting(self, ticks: int) -> int:
        """So many of its ticks in microseconds: mostly the same over and over."""
        return _scaled_before(ticks, self.scale)


def scale_of(base: Fraction) -> Scale:
    """Of ticks of `base` seconds."""
    return (base * MICROSECONDS).as_integer_ratio()


def scaled(ticks: int, scale: Scale) -> int:
    """`ticks` in microseconds, rounded half to even. Asked several times a packet: fractions would cost tenfold."""
    above, below = scale
    whole, rest = divmod(ticks * above, below)
    if rest:
        rest *= 2
        return whole + (rest > below or (rest == below and whole & 1))
    return whole


_scaled_before: Final = lru_cache(64)(scaled)


def microseconds(ticks: int, base: Fraction) -> int:
    """`ticks` of `base` seconds, rounded half to even: `round(ticks * base * MICROSECONDS)`."""
    return scaled(ticks, scale_of(base))


def unwrap(raw: int, last: int | None, wrap: int) -> int:
    """The number congruent to `raw` modulo `wrap` that is nearest to `last`."""
    if last is None or not wrap:
        return raw
    return raw + round(Fraction(last - raw, wrap)) * wrap


@dataclass(frozen=True, slots=True)
class Timeline:
    """The state after the newest picture of the leading track.

    `jumps` is False for containers whose timestamps are one timeline by construction (MP4, Matroska): there a long
    distance between pictures is just that. For live sources: `floor` is the earliest moment for the first picture,
    `arrived` when the newest came, `least` how late the least late one since `looked` was, and `due` how much the
    offset is to grow.
    """

    epoch: int = 0
    offset: int | None = None
    last: int | None = None
    jumps: bool = True
    floor: Moment | None = None
    arrived: Arrival | None = None
    least: int | None = None
    looked: int = 0
    due: int = 0


def resumed(mark: Mark, *, jumps: bool) -> Timeline:
    """The timeline of a source that was read up to `mark` before."""
    return Timeline(epoch=mark.epoch, offset=mark.moment - mark.pts, jumps=jumps)


def advance(
    line: Timeline, pts: int | None, *, first: Moment, arrival: Arrival | None
) -> tuple[Timeline, Stamp | None]:
    """Place the leading track's next picture, given in presentation order.

    `pts`: microseconds, unwrapped; without one a picture that came alone was when it came, others follow.
    `first`: the moment of the very first picture. `arrival`: when it came, for a live source; None for a file, whose
    pace is its own. No stamp: leave it out.
    """
    if pts is None:
        if line.last is None:
            return line, None
        alone = arrival is not None and not arrival.held
        pts = line.last + (max(1, _elapsed(line, arrival)) if alone else APART)
    if line.offset is None:
        return _place(replace(line, offset=first - pts), pts, arrival)
    put = _put(line, arrival)
    back = min(0, put)
    if line.last is None:
        low = line.offset + put if line.floor is None else max(line.offset + put, line.floor + back - pts)
        return _place(replace(line, offset=low), pts, arrival)
    step = pts - line.last
    if line.jumps and (step < -BACKWARD or step > FORWARD + _elapsed(line, arrival)):
        before = Moment(line.last + line.offset + APART + back)
        moment = before if arrival is None else max(arrival.moment - arrival.held, before)
        return _place(_anew(line, moment - pts), pts, arrival)
    if step <= 0:
        return line, None
    if arrival is None or line.arrived is None:
        return _place(line, pts, arrival)
    if back:
        return _place(_anew(line, line.offset + back), pts, arrival)
    if put:  # how far time was ahead of the clock, it is there already
        put -= max(0, line.last + line.offset - line.arrived.moment)
        if put > PUT:
            return _place(_anew(line, line.offset + put), pts, arrival)
        line = replace(line, least=None, looked=arrival.ticks, due=0)
    return _place(_led(line, pts, step, arrival), pts, arrival)


def follow(line: Timeline, pts: int) -> Stamp | None:
    """Place something of another track by the leading track's clock; None when it belongs to another epoch."""
    if line.offset is None or (line.last is not None and line.jumps and abs(pts - line.last) > FORWARD):
        return None
    return Stamp(line.epoch, pts, Moment(pts + line.offset))


def _anew(line: Timeline, offset: int) -> Timeline:
    """The next epoch: nothing that was known of how late pictures come holds any more."""
    return Timeline(line.epoch + 1, offset, line.last, line.jumps, line.floor)


def _led(line: Timeline, pts: int, step: int, arrival: Arrival) -> Timeline:
    """The offset, a little nearer to where it should be."""
    assert line.offset is not None
    most = step // HARDEST
    offset = line.offset + max(-most, min(most, line.due * min(step, SETTLE) // SETTLE))  # never past what is due
    late = _late(arrival, pts, offset)
    least: int | None = late if line.least is None or late < line.least else line.least
    looked, due = line.looked or arrival.ticks, line.due
    if arrival.ticks - looked >= LOOK:
        looked, due, least = arrival.ticks, least or 0, None
    return Timeline(line.epoch, offset, line.last, line.jumps, line.floor, line.arrived, least, looked, due)


def _put(line: Timeline, arrival: Arrival | None) -> int:
    """By how much the wall clock was put forward, or back, since the newest picture."""
    return 0 if arrival is None or line.arrived is None else put_between(line.arrived, arrival)


def put_between(before: Arrival, after: Arrival) -> int:
    """By how much the wall clock was put forward, or back if it is less than 0, between two looks at both clocks."""
    put = after.moment - before.moment - (after.ticks - before.ticks)
    return put if abs(put) > PUT else 0


def _late(arrival: Arrival, pts: int, offset: int) -> int:
    """How late a picture came; of one that waited for others, how late their segment was, as it would not tell."""
    if not arrival.held:
        return arrival.moment - pts - offset
    return 0 if arrival.offset is None else arrival.offset - offset


def _place(line: Timeline, pts: int, arrival: Arrival | None) -> tuple[Timeline, Stamp]:
    assert line.offset is not None
    return replace(line, last=pts, arrived=arrival), Stamp(line.epoch, pts, Moment(pts + line.offset))


def _elapsed(line: Timeline, arrival: Arrival | None) -> int:
    """Real time since the newest picture: a camera that was silent so long may leap so far."""
    if arrival is None or line.arrived is None:
        return 0
    return arrival.ticks - line.arrived.ticks
