"""libav's sounds -> arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, SAMPLE_RATE

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler

_MEET: Final = 20_000
"""Microseconds between the end of one frame and the beginning of the next up to which they follow each other."""


def mono_resampler() -> AudioResampler:
    import av

    return av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)


def samples(resampler: AudioResampler, frame: AudioFrame | None) -> NDArray[np.float32]:
    """float32 [N] as decoded: a broken track's may lie anywhere, or nowhere. None drains what the resampler holds."""
    parts = [np.frombuffer(part.planes[0], np.float32, part.samples) for part in resampler.resample(frame)]
    return np.concatenate([*parts, np.zeros(0, np.float32)])


def joined(heard: Iterable[tuple[int, AudioFrame]]) -> Iterator[tuple[int, AudioFrame]]:
    """(pts in microseconds, frame): frames that are alike and follow each other as one, since resampling one costs
    almost as much as resampling sixteen. The frames given lose their own times."""
    import av

    fifo, start, end, kind = av.AudioFifo(), 0, 0, None
    for pts, frame in heard:
        its_kind = frame.format.name, frame.layout.nb_channels, frame.sample_rate
        if its_kind != kind or abs(pts - end) > _MEET:
            if (whole := fifo.read()) is not None:
                yield start, whole
            fifo, start, end, kind = av.AudioFifo(), pts, pts, its_kind
        frame.pts = None
        fifo.write(frame)
        end += frame.samples * MICROSECONDS // frame.sample_rate
    if (whole := fifo.read()) is not None:
        yield start, whole
