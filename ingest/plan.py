"""What to capture, and how it is going."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.load import Shedding
from ingest.reasons import GapReason
from ingest.recording import Recording
from ingest.records import Gap, Mark, Moment, Segment, StreamId, StreamState
from ingest.sampling import Sampling
from ingest.sources import SourceSpec


@dataclass(frozen=True, slots=True)
class Known:
    """What is told of a live stream. `epoch`: the newest that anything was told of, -1 for none; `end`: up to when it
    is told what was seen and what was not; `gap`: the gap that ends there, if one does; `begun`: when it began."""

    epoch: int = -1
    end: Moment | None = None
    gap: Gap | None = None
    begun: Moment | None = field(default=None, compare=False)

    def later(self, other: Known) -> Known:
        """What is known when both are."""
        further = max((self, other), key=lambda known: (known.epoch, -1 if known.end is None else known.end))
        return Known(max(self.epoch, other.epoch), further.end, further.gap, further.begun)

    def blind_since(self, reason: GapReason) -> Moment | None:
        """Where a gap for `reason` that follows on what is known begins: it goes on with one that has the same."""
        return self.gap.span.start if self.gap is not None and self.gap.reason == reason else self.end


@dataclass(frozen=True, slots=True)
class Ways:
    """How a stream is captured, as far as that may change without opening it anew. `audio`: whether its sound is
    listened to, and recorded with its pictures; `record`: whether it is recorded, where it has a place for that;
    `language`: which is spoken, if a person has said so."""

    audio: bool = True
    record: bool = True
    language: str = ""


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What to capture and from where on.

    `starts_at`: moment of a file's first picture (None: now). `recording`: for live streams and remote files.
    `resume`: how far the stream's pictures are remembered; `heard`: how far its sound was listened to. `known`: what
    is told of a live stream, and `blind_because`: why nothing was seen of it since. `taken`: the files of a watched
    folder that were begun before.
    """

    stream: StreamId
    source: SourceSpec
    starts_at: Moment | None = None
    sampling: Sampling = field(default_factory=Sampling)
    recording: Recording | None = None
    resume: Mark | None = None
    heard: Mark | None = None
    ways: Ways = field(default_factory=Ways)
    known: Known = field(default_factory=Known)
    blind_because: GapReason = "service stopped"
    taken: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """`progress` is 0..1 for a file, None for a live stream; `reconnects` counts since the stream was started."""

    state: StreamState
    detail: str
    since: Moment
    last_frame: Moment | None
    progress: float | None
    reconnects: int
    shedding: Shedding = "nothing"
    """What is given up of a live stream because the machine cannot keep up."""
    skipped: int = 0
    """Pictures that were not decoded for that reason since the stream was started."""
    resting: bool = False
    """Whether only key frames are decoded because nothing moves."""
    failures: int = 0
    """How often capturing failed in a way that nobody thought of, and began anew, since the stream was started."""
