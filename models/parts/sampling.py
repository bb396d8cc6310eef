"""Which frames of a file the authors look at. Evidence from a memory is chosen by recall and needs none of this."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def evenly(length: int, frames: int) -> list[int]:
    """MA-LMM at evaluation: `frames` indices from first to last of `length`, halves to the even; repeats if short."""
    return _rounded(np.linspace(0, length - 1, frames))


def evenly_in_window(start: int, end: int, frames: int, *, length: int, rate: int = 10) -> list[int]:
    """MA-LMM on LVU: `frames` indices from second `start` to second `end` of a clip of `length` at `rate` fps."""
    return _rounded(np.linspace(start * rate, min(end * rate, length - 1), frames))


def one_per_segment(length: int, frames: int, random: np.random.RandomState) -> list[int]:
    """MA-LMM when it is trained: one index at random from each of `frames` equal segments of `length`."""
    borders = np.linspace(0, length, frames + 1).astype(int)
    segments = pairwise(borders.tolist())
    return [random.randint(start, end) if start < end else start for start, end in segments]


def evenly_between(start: float, end: float, frames: int, *, fps: float) -> list[int]:
    """MA-LMM's demonstration: `frames` indices between two seconds of a file."""
    return _rounded(np.linspace(round(start * fps), round(end * fps) - 1, frames))


def strided(length: int, frames: int) -> list[int]:
    """Video-LLaMA: the first index of each of at most `frames` equal stretches."""
    frames = min(frames, length)
    return [int(index) for index in np.arange(0, length, length / frames)[:frames]]


def spaced(length: int, frames: int) -> list[int]:
    """MiniGPT4-video: every n-th frame from the first, n rounded down, until there are `frames`; the tail is cut."""
    return list(range(0, length, spacing(length, frames)))[:frames]


def spacing(length: int, frames: int) -> int:
    """The n of `spaced`."""
    return max(length // frames, 1)


def frames_message(indices: list[int], fps: float) -> str:
    """How Video-LLaMA is told when its frames were taken; the blank at the end belongs to it."""
    times = ", ".join(str(round(index / fps, 1)) for index in indices)
    return f"The video contains {len(indices)} frames sampled at {times} seconds. "


def _rounded(indices: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[int]:
    return [int(index) for index in np.rint(indices)]
