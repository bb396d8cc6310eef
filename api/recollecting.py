"""A system that remembers by itself: it watches while footage comes, and answers where the footage is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ingest.bus import FRAMES
from ingest.errors import HindsightError
from ingest.questions import Evidence
from ingest.records import Ended, Frame, Moment, Record, Span, StreamId, seconds
from memory.memory import Memory
from memory.store.features import Open
from models.protocols import Recollector, VideoSystem

EVERY_US = seconds(1)
"""At most a frame a second is watched: such a system is slow, and a chapter is minutes."""

_log = logging.getLogger(__name__)


class RecollectStage:
    """Shows the system what comes, chapter by chapter, and has the memory keep what it remembers of each.

    Nothing here may stop the stream: what fails is told to the log, and the system begins a new recollection.
    """

    name = "recollect"
    consumes: tuple[str, ...] = (FRAMES,)
    produces: str | None = None

    def __init__(self, system: Recollector, memory: Memory) -> None:
        self._system = system
        self._memory = memory
        self._open: dict[StreamId, Open] = {}
        self._last: dict[StreamId, Moment] = {}

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        for record in batch:
            if isinstance(record, Frame):
                self._frame(record)
            elif isinstance(record, Ended):
                self._close(record.stream)
        return []

    def _frame(self, frame: Frame) -> None:
        opened = self._open.get(frame.stream)
        if opened is not None and self._memory.cut.between(opened, frame):
            self._close(frame.stream)
            opened = None
        if opened is None:
            self._forget_removed()
        elif 0 <= frame.moment - self._last[frame.stream] < EVERY_US:
            return
        try:
            self._system.watch([frame])
        except HindsightError as error:
            _log.warning("%s does not watch %s: %s", self.name, frame.stream, error)
            self._close(frame.stream)
            return
        self._last[frame.stream] = frame.moment
        self._open[frame.stream] = Open(frame.epoch, opened.start if opened else frame.moment, 1)

    def _close(self, stream: StreamId) -> None:
        """The chapter is over. What was seen of one that was erased meanwhile is not kept."""
        if self._open.pop(stream, None) is None:
            return
        try:
            recollection = self._system.recollect(stream)
            if recollection is not None and not self._memory.recollections.keep(recollection):
                _log.info("A recollection of %s is not kept: it was erased, or is too large.", stream)
        except HindsightError as error:
            _log.warning("A recollection of %s is lost: %s", stream, error)

    def _forget_removed(self) -> None:
        for gone in set(self._open) - {row.id for row in self._memory.store.streams.all()}:
            self._close(gone)


def recollecting(system: VideoSystem, memory: Memory, most_mb: int) -> tuple[RecollectStage, ...]:
    """The stage, for a system that remembers by itself and may."""
    return (RecollectStage(system, memory),) if most_mb and isinstance(system, Recollector) else ()


def with_recollection(evidence: Evidence, system: VideoSystem, memory: Memory) -> Evidence:
    """For such a system: with what it remembers of the best exhibit's time, when that cannot be watched any more, or
    nothing is left to be shown of any exhibit."""
    if not isinstance(system, Recollector) or not evidence.exhibits:
        return evidence
    hit = evidence.exhibits[0].hit
    span = Span(hit.span.start, Moment(max(hit.span.end, hit.span.start + 1)))
    recorded = any(map(memory.recordings.kept, memory.store.timeline.segments(hit.stream, span)))
    if recorded and any(exhibit.pictures for exhibit in evidence.exhibits):
        return evidence
    return replace(evidence, recollection=memory.recollections.of(hit.stream, span))
