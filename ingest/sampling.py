"""Which decoded pictures become frames.

Time is divided into cells of 1/ceiling seconds on the source's own clock; the first picture of each cell is a
candidate, and each candidate is judged against the one before it. For a moment after something moved every candidate
is kept, so that the end of a movement is seen as sharply as its beginning; and for a moment at the very beginning, so
that a scene is soon known. So what is kept depends on the footage near it and, but for that moment, not on where
decoding began: reading the same stretch again gives the same frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.errors import Invalid
from ingest.records import MICROSECONDS, SampleReason

Grey = NDArray[np.float32]
"""A small grey picture, float32 [H, W] in 0..255."""

WIDTH: Final = 96
HEIGHT: Final = 54
CHANGED: Final = 12.0
"""Grey levels by which a cell must differ at least."""
NOISE: Final = 7.5
"""Times the median difference by which it must differ: five standard deviations of normal noise."""
MOVING: Final = 4
"""Cells that must differ: a person 30 m away in a wide picture covers about eight."""
LINGER: Final = MICROSECONDS
"""Time after a movement, and after the beginning, in which all is kept."""
STILL: Final = 10 * MICROSECONDS
"""Time without movement after which a stream may rest."""
FASTEST: Final = 60
CUT_SHARE: Final = 0.5
"""Share of cells that differ at a cut."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """`floor_hz` pictures a second whatever happens, up to `ceiling_hz` where something moves or the scene changes."""

    floor_hz: float = 0.5
    ceiling_hz: float = 4.0
    motion: bool = True
    scene_cuts: bool = True
    keyframes_only: bool = False
    rests: bool = False
    """Of a live stream, decode key frames alone while nothing moves."""
    max_side: int = 640


POLICIES: Final = ("motion", "adaptive", "scene", "rate", "keys")
"""motion: the lower rate always, up to the higher where something moves. adaptive: the same, and of a live stream only
key frames are decoded while nothing moves. scene: the lower rate, and where the picture changes as a whole. rate: one
rate, whatever happens. keys: key frames alone, up to the higher rate."""
_POLICY: Final = re.compile(r"([a-z]+)(?::(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?)?")


def policy(text: str, usual: Sampling) -> Sampling:
    """What `motion`, `rate:1` or `adaptive:0.5-4` means: a policy, and pictures a second in place of the usual ones.

    Raises `Invalid`. Of `rate`, the lower of the usual rates is taken.
    """
    found = _POLICY.fullmatch(text)
    if found is None or found[1] not in POLICIES:
        raise Invalid(f'"{text}" is no sampling policy.', advice=f"Say {', '.join(POLICIES)}, or like motion:0.5-4.")
    name, floor = found[1], usual.floor_hz if found[2] is None else float(found[2])
    ceiling = float(found[3]) if found[3] else floor if name == "rate" else max(floor, usual.ceiling_hz)
    if not 0 < floor <= ceiling <= FASTEST:
        raise Invalid(
            f'"{text}": pictures a second lie between 0 and {FASTEST}, the lower first.', advice="Like motion:0.5-4."
        )
    moves = name in ("motion", "adaptive")
    return replace(
        usual,
        floor_hz=floor,
        ceiling_hz=ceiling,
        motion=moves,
        scene_cuts=moves or name == "scene",
        keyframes_only=name == "keys",
        rests=name == "adaptive",
    )


class Sampler:
    """`wants` each picture by its time, then `judge` the wanted ones by their looks, in order."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._cell: int | None = None
        self._floor: int | None = None
        self._grey: Grey | None = None
        self._moved: int | None = None
        self._begun: int | None = None
        self._stirred: int | None = None

    def wants(self, pts: int, *, floor: bool = False) -> bool:
        """Whether the picture at `pts` (microseconds) is a candidate: the first of its cell, or `floor` of the lower
        rate's."""
        if self.served(pts, floor=floor):
            return False
        self._cell = _cell(pts, self._rate(floor))
        return True

    def served(self, pts: int, *, floor: bool = False) -> bool:
        """Whether the cell at `pts` has its candidate already."""
        return _cell(pts, self._rate(floor)) == self._cell

    def _rate(self, floor: bool) -> float:
        return self._sampling.floor_hz if floor else self._sampling.ceiling_hz

    def judge(self, pts: int, grey: Grey) -> SampleReason | None:
        """Why to keep the candidate, or None."""
        floor, before = _cell(pts, self._sampling.floor_hz), self._grey
        if self._begun is None:
            self._begun = self._stirred = pts
        due = floor != self._floor or pts - self._begun <= LINGER
        self._floor, self._grey = floor, grey
        if self._sampling.keyframes_only:
            return "key"
        difference = _difference(before, grey)
        if _moves(difference):
            self._stirred = pts
        if self._sampling.scene_cuts and np.count_nonzero(difference > CHANGED) > CUT_SHARE * grey.size:
            return "scene"
        stirs = self._sampling.motion and self._stirs(pts, difference)
        return "rate" if due else "motion" if stirs else None

    def still(self, pts: int) -> bool:
        """Whether nothing has moved for long."""
        return self._stirred is not None and pts - self._stirred > STILL

    def differs(self, grey: Grey) -> bool:
        """Whether something moved between the newest candidate and this picture, which is not taken for one."""
        return _moves(_difference(self._grey, grey))

    def _stirs(self, pts: int, difference: Grey) -> bool:
        """Whether something moves, or did a moment ago."""
        if self._stirred == pts:
            self._moved = pts
        return self._moved is not None and pts - self._moved <= LINGER

    def forget(self) -> None:
        """A new epoch: nothing before it is comparable."""
        self._cell = self._floor = self._grey = self._moved = self._begun = self._stirred = None


def _cell(pts: int, rate: float) -> int:
    return int(pts * round(rate * 1000) // (1000 * MICROSECONDS))


def _difference(before: Grey | None, grey: Grey) -> Grey:
    if before is None or before.shape != grey.shape:
        return np.zeros_like(grey)
    return np.asarray(np.abs(grey - before), dtype=np.float32)


def _moves(difference: Grey) -> bool:
    """Whether enough cells differ by more than this picture's own noise."""
    least = max(CHANGED, NOISE * float(np.median(difference)))
    return int(np.count_nonzero(difference > least)) >= MOVING


def shrink(luma: NDArray[np.uint8]) -> Grey:
    """A full-size luma plane uint8 [H, W] -> about `HEIGHT` x `WIDTH` cells, each the mean of up to 4 x 4 samples."""
    rows, columns = max(1, luma.shape[0] // (4 * HEIGHT)), max(1, luma.shape[1] // (4 * WIDTH))
    sparse = np.ascontiguousarray(luma[::rows, ::columns])
    down, across = max(1, sparse.shape[0] // HEIGHT), max(1, sparse.shape[1] // WIDTH)
    height, width = sparse.shape[0] // down, sparse.shape[1] // across
    bands = sparse[: height * down, : width * across].reshape(height, down, width * across)
    bands = bands.sum(axis=1, dtype=np.uint16)
    total = bands[:, ::across].astype(np.uint32)
    for column in range(1, across):  # eight times faster than a mean over both at once
        total += bands[:, column::across]
    return np.asarray(total / (down * across), dtype=np.float32)
