"""Stretches of a live stream whose pictures came and were recorded, and that nobody looked at: the machine is too slow.

Pictures left out one after the other make a hole. A hole counts when sampling does not explain it, and holes that lie
near each other are told as one stretch: of it, only part was looked at. So a machine that is too slow for a year
writes a row for every time it began to be, and not one for every picture.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from ingest.load import STEPS, Shedding
from ingest.records import Frame, Gap, Moment, Record, Span, StreamId, seconds

APART: Final = seconds(30)
"""Holes that are nearer to each other than this are one stretch."""
LEAST: Final = seconds(3)
"""Shorter holes do not count, whatever the sampling."""
_MOST: Final = seconds(20)
"""What sampling explains at most."""
_TELL_EVERY: Final = seconds(5)
"""How far a stretch grows before it is told again."""
WHY: Final = "More came than the machine could look at."
NOTE: Final = "More comes than the machine can look at."
"""The same while it lasts."""


class Unlooked:
    """Holes of one kind in, in order of time; out, what there is to tell of their stretches, each as it grows."""

    def __init__(self, stream: StreamId) -> None:
        self._stream = stream
        self._hole: Span | None = None
        self._stretch: Span | None = None
        self._told: Moment | None = None
        """Up to where the stretch was told."""
        self._at = Moment(0)

    @property
    def open(self) -> bool:
        """Whether there is a stretch that may grow."""
        return self._stretch is not None

    def add(self, hole: Span, least: int, now: Moment) -> list[Gap]:
        """Nothing in `hole` was looked at, of which sampling explains `least` microseconds; it is known since `now`."""
        before = self._hole
        self._hole = hole = before.hull(hole) if before is not None and before.end >= hole.start else hole
        if hole.duration < max(least, LEAST):
            return []
        ended = self.end() if self._stretch is not None and hole.start - self._stretch.end > APART else []
        self._stretch = hole if self._stretch is None else self._stretch.hull(hole)
        self._hole, self._at = hole, now
        due = self._told is None or self._stretch.end - self._told >= _TELL_EVERY
        return ended + (self._tell() if due else [])

    def calm(self, now: Moment) -> list[Gap]:
        """It is `now`: a stretch that has not grown for long is over."""
        return self.end() if self.open and now - self._at > APART else []

    def end(self) -> list[Gap]:
        """A stretch, if there is one, is over."""
        last = self._tell()
        self._hole = self._stretch = self._told = None
        return last

    def _tell(self) -> list[Gap]:
        if self._stretch is None or self._told == self._stretch.end:
            return []
        self._told = self._stretch.end
        return [Gap(self._stream, self._stretch, "overload", WHY)]


class Attention:
    """What of a live stream is looked at, and the gaps where it is not.

    `interval`: microseconds between two pictures that sampling takes at most. Twice that is explained, or twice the
    most that lay between two while nothing was given up, as with cameras of which key frames alone are decoded.
    """

    def __init__(self, stream: StreamId, interval: int) -> None:
        self._usual = interval
        self._dropped, self._passed = Unlooked(stream), Unlooked(stream)
        self._newest: Moment | None = None
        """The newest picture that was decoded for looking at."""
        self._shed = False

    @property
    def complete(self) -> bool:
        """Whether all is looked at that sampling wants."""
        return not (self._dropped.open or self._passed.open)

    def dropped(self, gone: Record, oldest: Record | None, now: Moment) -> list[Gap]:
        """A picture had to make room before it was looked at; `oldest` is the next that was not."""
        if not isinstance(gone, Frame):
            return []
        follows = isinstance(oldest, Frame) and oldest.epoch == gone.epoch and oldest.moment > gone.moment
        until = oldest.moment if follows and isinstance(oldest, Frame) else gone.moment
        return self._dropped.add(Span(gone.moment, until), self._explained, now)

    def sampled(self, moment: Moment) -> list[Gap]:
        """A picture is going to be looked at."""
        gaps = self._pass(moment)
        if self._newest is not None and not self._shed:
            self._usual = max(self._usual, moment - self._newest)
        self._newest, self._shed = moment, False
        return gaps

    def came(self, moment: Moment, shedding: Shedding) -> list[Gap]:
        """Pictures came up to `moment`, and so much was given up of them."""
        self._shed = self._shed or shedding != "nothing"
        passed = self._pass(moment) if shedding == STEPS[-1] else []
        return [*passed, *self._dropped.calm(moment), *self._passed.calm(moment)]

    def begin(self) -> list[Gap]:
        """Pictures come no more, or with times that have nothing to do with those before."""
        self._newest, self._shed = None, False
        return list(chain(self._dropped.end(), self._passed.end()))

    @property
    def _explained(self) -> int:
        return min(2 * self._usual, _MOST)

    def _pass(self, moment: Moment) -> list[Gap]:
        """Nothing was decoded between the newest picture and `moment`."""
        if self._newest is None or not self._shed or moment <= self._newest:
            return []
        return self._passed.add(Span(Moment(self._newest + 1), moment), self._explained, moment)
