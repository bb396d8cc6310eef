"""What travels between the parts: frozen records, each with a deterministic key.

Time on a stream is an integer of microseconds UTC (`Moment`). Floats of seconds exist only in JSON and on the
command line. A record's `key` is the same whenever the same input is processed again, so a store can ignore what it
already has and at-least-once delivery has an exactly-once effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NewType, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ingest.reasons import GapReason

StreamId = NewType("StreamId", str)
Moment = NewType("Moment", int)
"""An instant on a stream's timeline: microseconds since 1970-01-01 UTC."""

MICROSECONDS = 1_000_000

SAMPLE_RATE = 16_000
"""Samples per second of every `Sound`."""

Pixels: TypeAlias = NDArray[np.uint8]
"""RGB picture, uint8 [H, W, 3]."""
Vector: TypeAlias = NDArray[np.float32]
"""float32 [D]."""

SampleReason = Literal["rate", "motion", "scene", "key"]
StreamKind = Literal["file", "live"]
StreamState = Literal[
    "connecting", "live", "reading", "finished", "stalled", "offline", "paused", "failed", "frozen", "dark"
]  # fmt: skip
ObservationKind = Literal["thing", "event", "read", "heard", "scene"]


def seconds(value: float) -> int:
    """Microseconds in `value` seconds, rounded to the nearest."""
    return round(value * MICROSECONDS)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open interval [start, end) on a stream's timeline."""

    start: Moment
    end: Moment

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a span cannot end ({self.end}) before it starts ({self.start})")

    @property
    def duration(self) -> int:
        """Length in microseconds."""
        return self.end - self.start

    def __contains__(self, moment: int) -> bool:
        return self.start <= moment < self.end

    def overlaps(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end

    def intersection(self, other: Span) -> Span | None:
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None

    def hull(self, other: Span) -> Span:
        """The smallest span that holds both."""
        return Span(min(self.start, other.start), max(self.end, other.end))

    def iou(self, other: Span) -> float:
        """Temporal intersection over union, 0..1."""
        shared = self.intersection(other)
        if shared is None:
            return 0.0
        return shared.duration / (self.duration + other.duration - shared.duration)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a picture, in fractions of its width and height (0..1, origin top left)."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream has been remembered: everything of `epoch` up to and including `pts`."""

    epoch: int
    pts: int
    moment: Moment


# --- what a source gives ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A sampled picture with its moment. `pts` is microseconds on the epoch's own unwrapped clock."""

    stream: StreamId
    epoch: int
    pts: int
    moment: Moment
    pixels: Pixels
    reason: SampleReason = "rate"

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.pts}"


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Audio from `moment` on: mono float32 [N] in -1..1 at `SAMPLE_RATE`; empty where there are subtitles alone."""

    stream: StreamId
    epoch: int
    pts: int
    moment: Moment
    samples: NDArray[np.float32]
    captions: tuple[Utterance, ...] = ()
    """What the subtitles of a file say that begin in it, in order of time."""
    language: str = ""
    """Which is spoken, where a person has said so; ISO 639."""

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.pts}/sound"

    @property
    def span(self) -> Span:
        return Span(self.moment, Moment(self.moment + len(self.samples) * MICROSECONDS // SAMPLE_RATE))

    @property
    def last(self) -> Mark:
        """Its last microsecond: the sound that follows begins behind this mark."""
        return Mark(self.epoch, self.pts + self.span.duration - 1, Moment(self.span.end - 1))


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of recorded video on disk. For a file stream, the file itself is its one segment."""

    stream: StreamId
    epoch: int
    span: Span
    path: str
    size: int
    first_pts: int = 0
    """Container time, in microseconds, of the picture shown at `span.start`."""
    owned: bool = True
    """False for a user's own file, which retention and erasing never delete."""
    begins_anew: bool = False
    """Whether its header is another than that of the segment before it in its epoch, or may be. It is told once, with
    the segment, and counted as a break of time is; what is looked up later does not have it."""
    intact: bool = True
    """Whether nothing in its span was erased. Only who has a clip cut says so."""

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.span.start}/segment"


@dataclass(frozen=True, slots=True)
class Coverage:
    """We were watching throughout `span`. Later records with the same key extend earlier ones."""

    stream: StreamId
    epoch: int
    span: Span

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/coverage"


@dataclass(frozen=True, slots=True)
class Gap:
    """We were blind throughout `span`, and why. An open gap is re-sent with the same start as it grows.

    While a picture is frozen or dark, in overload, and where sound was lost, there is coverage, too: pictures came.
    """

    stream: StreamId
    span: Span
    reason: GapReason
    detail: str = ""

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.span.start}/gap"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A stream's supervisor entered `state` at `at`; `detail` says why in words for a person."""

    stream: StreamId
    state: StreamState
    at: Moment
    detail: str = ""

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.at}/{self.state}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A file was read to its end. Travels behind its frames, so whoever receives it has received them all.

    A second one of origin "sound" travels behind its sounds and subtitles: the file is remembered to its end once both
    have come. `detail` says in words what is wrong with the end.
    """

    stream: StreamId
    epoch: int
    moment: Moment
    origin: Literal["frame", "sound"] = "frame"
    detail: str = ""

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/ended/{self.origin}"


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything that sounded up to `pts` was listened to, whether or not someone spoke."""

    stream: StreamId
    epoch: int
    pts: int
    moment: Moment

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.pts}/heard"


# --- what a model makes of it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observation:
    """Something an encoder can put a name to, over a span.

    kind    label                                     other fields
    thing   what it is ("something", "person", "car") colour, box, actions ("moves right", "stays")
    event   "enters", "leaves", "appears", "vanishes" colour, text (what did it: the thing's label)
    read    "text"                                    text as read in the picture
    heard   "speech", "subtitle"                      text as heard or written, actions (its language,)
    scene   "cut", "dark", "bright", "still"

    `track` names a thing over time: a later observation of its key replaces the earlier, without a label withdraws it.
    """

    stream: StreamId
    epoch: int
    track: str
    kind: ObservationKind
    label: str
    span: Span
    score: float
    colour: str = ""
    actions: tuple[str, ...] = ()
    text: str = ""
    box: Box | None = None

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.kind}/{self.track}"


@dataclass(frozen=True, slots=True)
class Word:
    span: Span
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech as text, or what a file's subtitles say. `language`: as in ISO 639, "und" if nobody knows."""

    stream: StreamId
    epoch: int
    pts: int
    span: Span
    text: str
    confidence: float
    words: tuple[Word, ...] = ()
    language: str = "en"
    kind: Literal["speech", "subtitle"] = "speech"

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.pts}/utterance"


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """What an encoder made of a frame (origin "frame") or an utterance (origin "sound").

    `vector` is float32 [D] with norm at most 1, comparable by inner product with the vector of a `Query` of the same
    encoder; a mean of vectors then scores the mean of their scores, which is what the memory bank relies on.
    `tokens`, when present, is float32 [N, C] for a language model. `thumbnail` is a JPEG.
    """

    stream: StreamId
    epoch: int
    pts: int
    span: Span
    vector: Vector
    origin: Literal["frame", "sound"] = "frame"
    tokens: NDArray[np.float32] | None = None
    observations: tuple[Observation, ...] = ()
    thumbnail: bytes = b""

    @property
    def key(self) -> str:
        return f"{self.stream}/{self.epoch}/{self.pts}/{self.origin}"

    @property
    def moment(self) -> Moment:
        return self.span.start


# --- what a rule makes of it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alert:
    """One time a rule came true. An open alert is re-sent with the same key as its span grows."""

    rule: str
    stream: StreamId
    span: Span
    score: float
    peak: Moment
    why: str
    """The explanation shown to a person: what was seen, and how sure."""

    @property
    def key(self) -> str:
        return f"{self.rule}/{self.stream}/{self.span.start}"


Record: TypeAlias = (
    Frame | Sound | Segment | Coverage | Gap | StateChange | Ended | Heard | Utterance | Feature | Observation | Alert
)
"""Everything that may travel on the bus."""
