"""What to capture, and how it is going."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.load import Shedding
from ingest.recording import Recording
from ingest.records import GapReason, Mark, Moment, Segment, StreamId, StreamState
from ingest.sampling import Sampling
from ingest.sources import SourceSpec


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What to capture and from where on.

    `starts_at`: moment of a file's first picture (None: now). `recording`: for live streams and remote files.
    `resume`: how far the stream's pictures are remembered; `heard`: how far its sound was listened to. `listened`:
    whether anyone listens, so that a file has ended only when its sound has, too. `blind_because`: why nothing was
    seen between `resume` and now. `taken`: the files of a watched folder that were begun before.
    """

    stream: StreamId
    source: SourceSpec
    starts_at: Moment | None = None
    sampling: Sampling = field(default_factory=Sampling)
    recording: Recording | None = None
    resume: Mark | None = None
    heard: Mark | None = None
    listened: bool = True
    audio: bool = True
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
