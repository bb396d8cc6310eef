"""An audio track at 16 kHz mono -> `Sound` chunks of about ten seconds, cut where it is quiet.

The cut near every tenth second lies at the quietest place within 2.5 s of it, on a grid of 20 ms. Like sampling, this
depends on nothing but the sound near the cut: reading the same stretch again gives the same chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, SAMPLE_RATE

Samples = NDArray[np.float32]

PERIOD: Final = 10 * MICROSECONDS
REACH: Final = 5 * MICROSECONDS // 2
GRID: Final = 20_000
HOLE: Final = 100_000
"""A distance between what should meet that is silence left out and not rounding."""
UNDER_WAY: Final = 900 * MICROSECONDS
"""The queue of sounds is full before so much of a stream waits in it: where more lies between the newest sound and the
newest picture, no sound comes any more."""
_STEP: Final = GRID * SAMPLE_RATE // MICROSECONDS


class SoundCutter:
    """Feed it decoded sound in order; it yields (pts in microseconds, float32 samples [N] in -1..1)."""

    def __init__(self, *, from_start: bool = True) -> None:
        """`from_start`: False when reading begins amid the track, so that the first, partial chunk is left out."""
        self._parts: list[Samples] = []
        self._clean = False
        """Whether they are one part, in -1..1."""
        self._count = 0
        self._start = 0
        self._whole = from_start

    def add(self, pts: int, samples: Samples) -> Iterator[tuple[int, Samples]]:
        """Sound that starts at `pts`. A hole or a step back ends the chunk before it."""
        if self._count and abs(pts - self._end) > HOLE:
            yield from self.flush()
        if not self._count:
            self._start = pts
        self._parts.append(samples)
        self._clean = False
        self._count += len(samples)
        while (target := self._target()) is not None and self._end >= target + REACH + GRID:
            yield from self._cut(self._quietest(target))

    def flush(self) -> Iterator[tuple[int, Samples]]:
        """What is left: at the end, at a hole, at a new epoch."""
        start, rest, whole = self._start, self._joined(), self._whole
        self._parts, self._count, self._whole, self._clean = [], 0, True, False
        if whole and len(rest):
            yield start, rest

    @property
    def _end(self) -> int:
        return self._start + self._count * MICROSECONDS // SAMPLE_RATE

    def _target(self) -> int | None:
        """The first tenth second whose neighbourhood lies wholly behind the chunk's start."""
        if not self._count:
            return None
        return ((self._start + REACH) // PERIOD + 1) * PERIOD

    def _joined(self) -> Samples:
        """All that is held, in -1..1 whatever a broken track held: made so once for many parts, which is cheaper."""
        if not self._clean:
            joined = np.concatenate(self._parts) if self._parts else np.zeros(0, np.float32)
            if not np.isfinite(joined.sum()):  # looked for at once: cleaning costs more than resampling
                joined = np.nan_to_num(joined)
            self._parts, self._clean = [np.clip(joined, -1.0, 1.0, out=joined)], True
        return self._parts[0]

    def _quietest(self, target: int) -> int:
        """The pts on the grid with the least energy in the 100 ms around it."""
        joined = self._joined()
        first = -(-max(target - REACH, self._start) // GRID)
        last = (target + REACH) // GRID
        begin = (first * GRID - self._start) * SAMPLE_RATE // MICROSECONDS
        window = joined[begin : begin + (last - first + 1) * _STEP]
        blocks = window[: len(window) // _STEP * _STEP].reshape(-1, _STEP)
        near = np.ones(5)
        energy = np.convolve((blocks**2).mean(axis=1), near, "same") / np.convolve(np.ones(len(blocks)), near, "same")
        return (first + int(np.argmin(np.round(energy, 5)))) * GRID

    def _cut(self, at: int) -> Iterator[tuple[int, Samples]]:
        joined = self._joined()
        size = max(1, (at - self._start) * SAMPLE_RATE // MICROSECONDS)
        if self._whole:
            yield self._start, joined[:size]
        self._start, self._whole = at, True
        self._parts, self._count = [joined[size:]], len(joined) - size
