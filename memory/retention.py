"""How far back detail reaches: a byte budget per stream and an age for recordings, oldest first.

The wall clock alone never empties a memory. Ages are measured on a clock that has been seen to run evenly: after a
jump nothing is removed for its age until the clock has kept step for a day, and no run removes more than a fifth of a
stream's recordings for their age.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, func, select

from ingest.clock import Clock
from ingest.records import Segment, Span, StreamId, seconds
from memory import durable
from memory.chapter_files import ChapterFiles
from memory.store import schema
from memory.store.rows import ChapterRow
from memory.store.store import Store

logger = logging.getLogger(__name__)

_JUMP_US = seconds(3600)
"""Wall and monotonic time may disagree by this much between two looks."""
_AWAY_US = seconds(30 * 86_400)
"""Longer than this between two runs of the service is taken for a wrong clock first."""
_PATIENCE_US = seconds(86_400)
"""A suspicious clock is believed again after keeping step for so long."""
_LARGEST_SHARE = 0.2
RECORDINGS_SHARE = 0.8
"""Of a stream's budget, recordings may take so much; memory has the rest, and what recordings leave."""


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """Where a stream's bytes are, what they may be, and how far back each level of detail reaches."""

    stream: StreamId
    bytes: Mapping[str, int]
    limit: int | None
    reach: Mapping[str, Span]

    @property
    def total(self) -> int:
        return sum(self.bytes.values())


class SteadyClock:
    """Tells whether the wall clock can be trusted with removing things."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: tuple[int, float] | None = None

    def trusted(self) -> bool:
        """Look at both clocks; False for a day after they disagreed."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        last = int(self._store.facts.get("wall") or now)
        wait = int(self._store.facts.get("patience") or 0)
        if self._seen is None:
            passed, expected, allowed = now - last, 0, _AWAY_US
        else:
            passed, expected, allowed = now - self._seen[0], seconds(monotonic - self._seen[1]), _JUMP_US
        if abs(passed - expected) > allowed or passed < -_JUMP_US:
            logger.warning("The clock jumped by %.1f hours: nothing is removed for its age today.", passed / 3.6e9)
            wait = _PATIENCE_US
        elif self._seen is not None:
            wait = max(wait - expected, 0)
        self._seen = now, monotonic
        self._store.facts.set(wall=str(now), patience=str(wait))
        return wait == 0


class Retention:
    def __init__(
        self, store: Store, files: ChapterFiles, clock: Clock, keep_us: int | None, budget: int | None
    ) -> None:
        self._store = store
        self._files = files
        self._clock = clock
        self._steady = SteadyClock(store, clock)
        self._keep_us = keep_us
        self._budget = budget

    def enforce(self, stream: StreamId, *, trusted: bool) -> None:
        """Bring one stream within its age and its budget."""
        probe = self._store.database.probe
        probe("during retention")
        if self._keep_us is not None and trusted:
            self._expire(stream, self._clock.now() - self._keep_us)
        if self._budget is not None:
            self._fit_recordings(stream, int(self._budget * RECORDINGS_SHARE))
            self._fit_memory(stream, self._budget)
        probe("during retention")

    def trusted(self) -> bool:
        return self._steady.trusted()

    def report(self, stream: StreamId) -> BudgetReport:
        return BudgetReport(stream, self._spent(stream), self._budget, self._store.chapters.reach(stream))

    def _expire(self, stream: StreamId, before: int) -> None:
        owned = [segment for segment in self._store.timeline.segments(stream) if segment.owned]
        old = [segment for segment in owned if segment.span.end < before]
        self._remove(old[: max(1, int(len(owned) * _LARGEST_SHARE))])

    def _fit_recordings(self, stream: StreamId, limit: int) -> None:
        owned = [segment for segment in self._store.timeline.segments(stream) if segment.owned]
        excess = sum(segment.size for segment in owned) - limit
        going = []
        for segment in owned:
            if excess <= 0:
                break
            excess -= segment.size
            going.append(segment)
        self._remove(going)

    def _fit_memory(self, stream: StreamId, limit: int) -> None:
        excess = sum(self._spent(stream).values()) - limit
        going: list[ChapterRow] = []
        for row in self._store.chapters.all_with_detail(stream):
            if excess <= 0:
                break
            excess -= row.fine_bytes + row.thumbnail_bytes
            going.append(row)
        if going:
            with self._store.database.write() as connection:
                self._store.chapters.drop_detail(connection, [row.id for row in going])
            for row in going:
                self._files.delete(row.path, row.sha256)

    def _remove(self, segments: Sequence[Segment]) -> None:
        table = schema.segments
        for segment in segments:
            durable.delete(Path(segment.path))
        with self._store.database.write() as connection:
            for segment in segments:
                connection.execute(delete(table).where(table.c.key == segment.key))

    def _spent(self, stream: StreamId) -> dict[str, int]:
        features, observations = schema.features.c, schema.observations.c
        text = func.length(observations.text) + func.length(observations.label) + func.length(observations.key) + 100
        spent = self._store.chapters.bytes(stream)
        with self._store.database.read() as connection:
            opened = select(func.sum(func.length(features.vector) + func.length(features.thumbnail)))
            spent["open chapter"] = int(connection.scalar(opened.where(features.stream == stream)) or 0)
            spent["text"] = int(connection.scalar(select(func.sum(text)).where(observations.stream == stream)) or 0)
        spent["recordings"] = sum(s.size for s in self._store.timeline.segments(stream) if s.owned)
        return spent
