"""What the store gives and takes beside the records of `ingest`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ingest.records import Moment, Segment, Span, StreamId, StreamKind, StreamState
from memory.tables import SlotTable

Level = Literal["chapter", "hour", "day"]


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a stream has of its own in place of the service's settings, which are called the same; None where it has
    nothing of its own."""

    sampling: str | None = None
    audio: bool | None = None
    language: str | None = None
    record: bool | None = None
    keep_recordings_hours: float | None = None
    keep_events_hours: float | None = None
    keep_alerts_hours: float | None = None
    recordings_budget_mb: int | None = None

    @property
    def given(self) -> Mapping[str, Any]:
        """Those that it has, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, usual: StreamSettings) -> StreamSettings:
        """What is in force where `usual` is in force otherwise."""
        return replace(usual, **self.given)


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream as it is kept. `source` is without credentials, which are sealed in `login`; `masked` is shown."""

    id: StreamId
    name: str
    kind: StreamKind
    source: str
    masked: str
    state: StreamState
    detail: str
    added: Moment
    origin: Moment | None = None
    duration_us: int | None = None
    paused: bool = False
    login: str = field(default="", repr=False)
    settings: StreamSettings = StreamSettings()


@dataclass(frozen=True, slots=True)
class Numbered:
    """A recording and its place among all that were ever recorded of its stream, whatever of them is left."""

    segment: Segment
    number: int | None
    """None for a user's own file, and for what came after a later one."""
    breaks: int
    """How often before it time or the header did not go on from one to the next: those of one number have the same."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A stretch of a stream that must not go, and why."""

    id: int
    stream: StreamId
    span: Span
    reason: str
    placed: Moment


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """An alert still to be delivered; where to, its rule says."""

    id: int
    alert_key: str
    attempts: int


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How many deliveries wait, how many were given up, and why the newest of these was."""

    waiting: int
    given_up: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChapterRow:
    """A sealed chapter, hour or day without its vectors. `path` is empty once its detail is gone."""

    id: str
    stream: StreamId
    level: Level
    span: Span
    frames: int
    slots: int
    revision: int = 0
    path: str = ""
    sha256: str = ""
    fine_bytes: int = 0
    thumbnail_bytes: int = 0

    @property
    def entry(self) -> str:
        """Its name in the index: rewritten slots get a new one."""
        return f"{self.id}@{self.revision}"

    def with_slots(self, table: SlotTable) -> ChapterRow:
        return replace(self, frames=table.frames, slots=len(table))

    @classmethod
    def of(cls, row: Any) -> ChapterRow:
        return cls(
            id=row.id,
            stream=StreamId(row.stream),
            level=row.level,
            span=Span(row.start, row.end),
            frames=row.frames,
            slots=row.slots,
            revision=row.revision,
            path=row.path,
            sha256=row.sha256,
            fine_bytes=row.fine_bytes,
            thumbnail_bytes=row.thumbnail_bytes,
        )


def chapter_of(entry: str) -> str:
    """The id of the chapter that has this name in the index."""
    return entry.rpartition("@")[0]
