"""What was under way of a camera when the service ended: it came, and nobody will look at it or listen to it."""

from __future__ import annotations

from typing import Final

from ingest.audio import UNDER_WAY
from ingest.records import Gap, Mark, Moment, Span, StreamId, seconds
from ingest.sampling import Sampling
from memory.store import Store

_LEAST: Final = seconds(3)
"""Less lies between the newest that was seen and the newest that is remembered at any time."""
_RARE: Final = seconds(20)
"""The same where key frames alone are decoded."""
_QUIET: Final = seconds(2)
"""By so much the newest sound may be older than the newest picture."""


def lost(store: Store, stream: StreamId, sampling: Sampling, *, listens: bool) -> list[Gap]:
    """Gaps beside what was watched, from what is remembered up to what was told of. `listens`: whether anyone does."""
    seen = store.streams.mark(stream)
    heard = store.streams.mark(stream, "sound") if listens else None
    pictures = [span for span in _since(store, stream, seen) if span.duration > _explained(sampling)]
    sounds = [span for span in _since(store, stream, heard) if span.duration > _QUIET]
    if sum(span.duration for span in sounds) > UNDER_WAY:
        sounds = []
    behind = [Span(Moment(span.start + 1), span.end) for span in pictures]  # where no gap of another reason begins
    return [
        *(Gap(stream, span, "cut short", "The service ended before it was looked at.") for span in behind),
        *(Gap(stream, span, "unheard", "The service ended before it was listened to.") for span in sounds),
    ]


def _since(store: Store, stream: StreamId, mark: Mark | None) -> tuple[Span, ...]:
    """What was watched behind `mark`."""
    return () if mark is None else store.timeline.behind(stream, mark)


def _explained(sampling: Sampling) -> int:
    """Microseconds between two pictures that sampling explains."""
    usual = _RARE if sampling.keyframes_only or sampling.rests else _LEAST
    return max(usual, 2 * seconds(1 / sampling.floor_hz))
