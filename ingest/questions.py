"""Questions, standing ones too, and what they are answered from: frozen records like those that travel on the bus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, Gap, Moment, Observation, Span, StreamId, Vector


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A sentence or a picture in the encoder's space.

    The calibrated probability that a frame with inner product s matches is sigmoid(slope * s + offset).
    `understood` and `unknown` are the query's words that the encoder can and cannot look for; `unsure` are words it can
    only compare with the picture as a whole. A match must last for `lasting` microseconds. When all that is asked is
    that things are there: `least` of them at a time, each observed under one of the labels `kinds`, in `colour` if any;
    or that one of them comes or goes: the event `doing`; or that one "passes".
    """

    text: str
    vector: Vector
    slope: float = 1.0
    offset: float = 0.0
    understood: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    lasting: int = 0
    kinds: tuple[str, ...] = ()
    colour: str = ""
    least: int = 1
    doing: str = ""

    def probability(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32, of inner products of any shape."""
        logits = np.clip(self.slope * np.asarray(scores, dtype=np.float64) + self.offset, -60.0, 60.0)
        return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: all streams when `streams` is empty, all time when `span` is None."""

    streams: tuple[StreamId, ...] = ()
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A stretch of footage that matches a query; `score` is a calibrated probability, `peak` its best moment."""

    stream: StreamId
    span: Span
    score: float
    peak: Moment
    level: Literal["fine", "chapter", "hour", "day"] = "fine"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture that may be shown or given to a model: JPEG bytes."""

    moment: Moment
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Exhibit:
    """One numbered piece of evidence: what an answer may cite as [number]."""

    number: int
    hit: Hit
    pictures: tuple[Picture, ...] = ()
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class Recollection:
    """What a video-language system remembers of a stretch of a stream: bytes that mean something to it alone."""

    stream: StreamId
    span: Span
    frames: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything an answer may be built from.

    `exhibits` come best first; `observations` is every observation in scope (bounded, oldest first), for counting;
    `searched` is the span that footage was looked for in, per stream; `gaps` are the blind stretches within it.
    """

    exhibits: tuple[Exhibit, ...]
    observations: tuple[Observation, ...] = ()
    searched: tuple[tuple[StreamId, Span], ...] = ()
    gaps: tuple[Gap, ...] = ()
    unknown: tuple[str, ...] = ()
    """Words of the question that the encoder cannot look for."""
    unsure: tuple[str, ...] = ()
    """Words of the question that it can only compare with the picture as a whole."""
    origins: tuple[tuple[StreamId, Moment], ...] = ()
    """Moment zero of each file stream, so that times can be told as offsets into the file."""
    names: tuple[tuple[StreamId, str], ...] = ()
    """What people call each stream."""
    wanted: str = ""
    """The question without the times and the streams that it names; empty where nothing is left, or nothing known."""
    recollection: Recollection | None = None
    """What the system that is asked remembers of the best exhibit's time, where that can be watched no more."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a rule is armed: ISO weekdays (1 = Monday) and minutes of the day [start, end) in `timezone`.

    An end before the start runs over midnight.
    """

    days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    start_minute: int = 0
    end_minute: int = 24 * 60
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Rule:
    """A standing question in words. It fires when the probability stays at or above `threshold` for `hold_us`, ends
    when it falls below `release`, and then rests for `cooldown_us`."""

    id: str
    name: str
    text: str
    streams: tuple[StreamId, ...] = ()
    threshold: float = 0.6
    release: float = 0.4
    hold_us: int = 0
    cooldown_us: int = 60 * MICROSECONDS
    schedule: Schedule = field(default_factory=Schedule)
    webhook: str = ""
    """As it may be shown: without what may be a secret in it."""
    enabled: bool = True
    address: str = field(default="", repr=False)
    """The whole webhook, sealed; empty when `webhook` is whole."""
