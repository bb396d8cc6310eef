"""Evidence as a video-language system takes it: pictures in order of time, and what was said meanwhile."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from ingest.questions import Evidence
from ingest.records import MICROSECONDS, Moment, Observation, Pixels, StreamId


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture of an exhibit: RGB uint8 [H, W, 3] at a moment of its stream."""

    exhibit: int
    stream: StreamId
    moment: Moment
    pixels: Pixels


def shots(evidence: Evidence, limit: int) -> list[Shot]:
    """At most `limit` pictures of the exhibits, each moment once, stream by stream in order of time.

    Too many are thinned evenly, so that every exhibit keeps some.
    """
    found = {
        (exhibit.hit.stream, picture.moment): (exhibit.number, picture.jpeg)
        for exhibit in reversed(evidence.exhibits)
        for picture in exhibit.pictures
    }
    order = sorted(found)
    if len(order) > limit:
        order = [order[round(index)] for index in np.linspace(0, len(order) - 1, limit)]
    return [Shot(found[key][0], *key, _decode(found[key][1])) for key in order]


def said(evidence: Evidence) -> list[Observation]:
    """What was read and heard within the exhibits, each once, in order of time."""
    found = {
        observation.key: observation
        for exhibit in evidence.exhibits
        for observation in exhibit.observations
        if observation.kind in {"read", "heard"} and observation.text.strip()
    }
    return sorted(found.values(), key=lambda observation: (observation.stream, observation.span.start))


def clock(evidence: Evidence, stream: StreamId, moment: Moment) -> str:
    """A moment on the stream's own clock: "14:03:07" UTC, or "1:07" into a file."""
    for known, origin in evidence.origins:
        if known == stream:
            minutes, seconds = divmod((moment - origin) // MICROSECONDS, 60)
            return f"{minutes}:{seconds:02}"
    return datetime.fromtimestamp(moment / MICROSECONDS, UTC).strftime("%H:%M:%S")


def citations(shown: Sequence[Shot]) -> str:
    """What an answer about these pictures rests on: " [1] [3]"."""
    return "".join(f" [{number}]" for number in sorted({shot.exhibit for shot in shown}))


def _decode(jpeg: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
