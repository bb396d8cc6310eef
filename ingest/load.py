"""Overload of a live stream: how far decoding is behind the camera, and what is given up to catch up.

A decoder that is too slow leaves packets in bounded buffers of the kernel and shows pictures later and later. How late
is told by the distance between when a packet is taken and its own time, above the least such distance lately: camera
clocks that are wrong or drift cancel out, and so does waiting for the next segment of HLS. First fewer pictures are
looked at, then only key frames are decoded, and what is older than `STALE` is not decoded at all, so that the newest
is seen. Each step is taken back when it has been calm for a while, later each time it had to be taken again.

What encodes pictures may be too slow, too: then their queue fills. It is treated like being late, one step when it is
half full and one more when that was not enough.
"""

from __future__ import annotations

from typing import Final, Literal

from ingest.records import seconds

Shedding = Literal["nothing", "rate", "pictures"]
STEPS: Final[tuple[Shedding, ...]] = ("nothing", "rate", "pictures")
"""Nothing is given up; the lower rate is looked at; only key frames are decoded."""

LATE: Final = seconds(1)
"""Further behind than this is too far."""
STALE: Final = seconds(3)
"""What is further behind than this is not decoded, key frame or not."""
CAUGHT_UP: Final = seconds(0.3)
SETTLE: Final = seconds(2)
"""Time that a step is given to help before the next is taken."""
CALM: Final = seconds(10)
CALM_MOST: Final = seconds(160)
WINDOW: Final = seconds(60)
FULL: Final = (0.5, 0.75)
"""How much of the queue of pictures is filled when the first and the second step are taken."""
EMPTY: Final = 0.25
"""How much of it is filled at most when a step is taken back."""
_JUMP: Final = seconds(10)


class Load:
    """Told of each video packet as it is taken; says which step of shedding it is to be treated with."""

    def __init__(self, burst: int = 0) -> None:
        """`burst`: microseconds of packets that come at once, as an HLS segment does: the newest waited so long."""
        self.step = 0
        self.behind = 0
        """Microseconds behind the camera."""
        self.filled = 0.0
        """How full the queue is that pictures wait in until they are encoded, 0..1."""
        self._least: tuple[int, int] | None = None
        """The least distance of this window and of the one before it."""
        self._window = 0
        self._before: tuple[int, int] | None = None
        self._changed = 0
        self._relieved: int | None = None
        """When a step was taken back, unless one was taken since."""
        self._late_at = 0
        self._calm = CALM
        self._patience = 2 * burst
        """A segment late, and one more until the playlist told of it."""

    @property
    def shedding(self) -> Shedding:
        return STEPS[self.step]

    @property
    def stale(self) -> bool:
        return self.step == len(STEPS) - 1 and self.behind > STALE

    def observe(self, dts: int, now: int) -> None:
        """`dts`: the packet's own time, `now`: the monotonic clock, both in microseconds."""
        self.behind = self._measured(dts, now)
        if self.behind > LATE or self.filled > FULL[min(self.step, len(FULL) - 1)]:
            self._late_at = now
            if self.step < len(STEPS) - 1 and now - self._changed >= SETTLE:
                relapse = self._relieved is not None and now - self._relieved < 4 * self._calm
                self._calm = min(2 * self._calm, CALM_MOST) if relapse else self._calm if self.step else CALM
                self.step, self._changed, self._relieved = self.step + 1, now, None
        elif self.behind > CAUGHT_UP or self.filled > EMPTY:
            self._late_at = max(self._late_at, now - self._calm // 2)
        elif self.step and now - max(self._changed, self._late_at) >= self._calm:
            self.step, self._changed, self._relieved = self.step - 1, now, now

    def _measured(self, dts: int, now: int) -> int:
        distance = now - dts
        if self._before is None or abs(distance - (self._before[1] - self._before[0])) > _JUMP + now - self._before[1]:
            self._least, self._window = (distance, distance), now
        self._before = dts, now
        assert self._least is not None
        this, last = self._least
        if now - self._window > WINDOW and not self.step:
            self._least, self._window = (distance, this), now
        else:
            self._least = min(this, distance), last
        return max(0, distance - min(self._least) - self._patience)
