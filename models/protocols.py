"""The seams of everything with weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from ingest.questions import Evidence, Query, Recollection
from ingest.records import Feature, Frame, Pixels, Sound, Span, StreamId, Utterance


class FrameEncoder(Protocol):
    """Pictures, speech and sentences in one vector space.

    Vectors of encoders with different `id` are never compared. An encoder may keep state per stream (a background
    model, tracks): frames of a stream arrive in order, and what it returns must not depend on how they are batched.
    """

    @property
    def id(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        """One feature per frame, in order."""

    def encode_utterances(self, utterances: Sequence[Utterance]) -> list[Feature]:
        """One feature of origin "sound" per utterance, so that what was said can be found."""

    def encode_queries(self, queries: Sequence[str | Pixels]) -> list[Query]:
        """Sentences, or RGB pictures uint8 [H, W, 3], as calibrated queries."""


class Transcriber(Protocol):
    """Speech as timed text."""

    @property
    def id(self) -> str: ...

    @property
    def languages(self) -> frozenset[str]:
        """Those that it understands; ISO 639."""

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        """Utterances in consecutive sounds of any streams, each in the language that it says, if it says one of
        `languages`. Silence gives none."""


class VideoSystem(Protocol):
    """Answers questions about evidence. It sees nothing but the evidence it is given."""

    @property
    def id(self) -> str: ...

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        """The answer piece by piece, citing exhibits as [1], [2]. Closing the iterator stops the work."""


@runtime_checkable
class Grounder(Protocol):
    """A video system that can also say when, within an exhibit."""

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        """Spans of the event, each inside an exhibit."""


@runtime_checkable
class Recollector(Protocol):
    """A video system with a memory of its own: it watches while footage comes, and later answers from what it then
    gave away, when that is the evidence's `recollection` and the footage is gone."""

    def watch(self, frames: Sequence[Frame]) -> None:
        """More frames of any streams, each stream's in order, into what is remembered of each."""

    def recollect(self, stream: StreamId) -> Recollection | None:
        """What was watched of a stream since the last time; it begins anew. None when nothing was."""
