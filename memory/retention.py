"""How far back detail reaches: byte budgets per stream, and an age for recordings, oldest first.

The wall clock alone never empties a memory. Ages are measured on a clock that has been seen to run evenly: after a
jump nothing is removed for its age until the clock has kept step for a day, and no run removes more than a fifth of a
stream's recordings for their age.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from ingest.clock import Clock
from ingest.questions import Scope
from ingest.records import Segment, Span, StreamId, seconds
from memory.recollections import Recollections
from memory.recordings import Recordings
from memory.shedding import TEXT_ROW, Shedding
from memory.store import StreamSettings, schema
from memory.store.holds import overlapped
from memory.store.store import Store

logger = logging.getLogger(__name__)

_JUMP_US = seconds(3600)
"""Wall and monotonic time may disagree by this much between two looks."""
_AWAY_US = seconds(30 * 86_400)
"""Longer than this between two runs of the service is taken for a wrong clock first."""
_PATIENCE_US = seconds(86_400)
"""A suspicious clock is believed again after keeping step for so long."""
_LARGEST_SHARE = 0.2
_FULL, _FILL = 0.95, 0.9
"""Memory that with the chapter to come would exceed the first part of its budget is brought down to the second, so
that not every chapter has to make room."""
OPEN = "open chapter"
RECORDINGS, TOKENS = "recordings", "tokens"

AROUND_US = seconds(30)
"""Recordings this close to an event or an alert are kept as long as it is."""
HELD = 3
"""What a recording is worth: 0 nothing happened, 1 something came or went, 2 an alert, 3 held as evidence."""


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """Where a stream's bytes are, what they may be, and how far back each level of detail reaches. `limit` is of the
    memory, `recordings_limit` of the recordings beside it."""

    stream: StreamId
    bytes: Mapping[str, int]
    limit: int | None
    recordings_limit: int | None
    reach: Mapping[str, Span]

    @property
    def memory(self) -> int:
        """Bytes of everything but recordings."""
        return sum(self.bytes.values()) - self.recordings

    @property
    def recordings(self) -> int:
        return self.bytes[RECORDINGS]


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


@dataclass(frozen=True, slots=True)
class Bounds:
    """`keep_us`: how old recordings may become, `events_us` those of something that came or went, `alerts_us` those of
    an alert; never less than what is worth less. `memory` and `recordings`: bytes that either of a stream may take,
    whatever the other does. None is without bound."""

    keep_us: int | None = None
    memory: int | None = None
    recordings: int | None = None
    events_us: int = 0
    alerts_us: int = 0

    def age(self, worth: int) -> int | None:
        """How old a recording of this worth may become."""
        if self.keep_us is None or worth == HELD:
            return None
        return max(self.keep_us, *(self.events_us, self.alerts_us)[:worth]) if worth else self.keep_us

    def of(self, own: StreamSettings) -> Bounds:
        """These bounds, but for what a stream has of its own."""
        hours = (own.keep_recordings_hours, own.keep_events_hours, own.keep_alerts_hours)
        usual = (self.keep_us, self.events_us, self.alerts_us)
        keep, events, alerts = (
            otherwise if given is None else seconds(3600 * given) for given, otherwise in zip(hours, usual, strict=True)
        )
        budget = own.recordings_budget_mb
        recordings = self.recordings if budget is None else budget * 1_000_000 or None
        return Bounds(keep, self.memory, recordings, events or 0, alerts or 0)


class Retention:
    """Keeps streams within their age and their bytes, oldest detail first."""

    def __init__(
        self, shedding: Shedding, recordings: Recordings, recollections: Recollections, clock: Clock, bounds: Bounds
    ) -> None:
        self._store = store = recordings.store
        self._all = recordings
        self._recollections = recollections
        self._shedding = shedding
        self._clock = clock
        self._steady = SteadyClock(store, clock)
        self._bounds = bounds
        self._largest: dict[StreamId, int] = {}
        """Of every stream, the most that an open chapter has taken: room for as much is kept."""

    def look(self, stream: StreamId) -> None:
        """See how large the open chapter has become, before it is sealed."""
        if self._bounds.memory is not None:
            self._largest[stream] = max(self._largest.get(stream, 0), self._opened(stream))

    def expire(self, stream: StreamId) -> None:
        """Remove recordings that are too old for what they show. Only when the clock is `trusted`."""
        bounds = self._of(stream)
        if bounds.keep_us is None:
            return
        now, owned = self._clock.now(), self._recordings(stream)
        ages = [bounds.age(worth) for worth in self._worth(stream, owned)]
        old = [one for one, age in zip(owned, ages, strict=True) if age is not None and one.span.end < now - age]
        self._all.remove(old[: max(1, int(len(owned) * _LARGEST_SHARE))])

    def fit(self, stream: StreamId) -> bool:
        """Bring the stream within its budgets, with room for the chapter to come. True when the index must follow."""
        self._store.database.probe("during retention")
        changed = False
        recordings = self._of(stream).recordings
        if recordings is not None:
            self._fit_recordings(stream, recordings)
        if self._bounds.memory is not None:
            changed = self._fit_memory(stream, self._bounds.memory)
        self._store.database.probe("during retention")
        return changed

    def trusted(self) -> bool:
        return self._steady.trusted()

    def report(self, stream: StreamId) -> BudgetReport:
        spent = self._spent(stream) | {RECORDINGS: sum(segment.size for segment in self._recordings(stream))}
        reach = self._store.chapters.reach(stream)
        return BudgetReport(stream, spent, self._bounds.memory, self._of(stream).recordings, reach)

    def _of(self, stream: StreamId) -> Bounds:
        return self._bounds.of(self._store.streams.settings(stream))

    def _recordings(self, stream: StreamId) -> list[Segment]:
        return [segment for segment in self._store.timeline.segments(stream) if segment.owned]

    def _worth(self, stream: StreamId, segments: Sequence[Segment]) -> list[int]:
        """Of each segment, given in order, what it is worth."""
        events, alerts = self._store.timeline.happened(stream)
        held = sorted(hold.span for hold in self._store.holds.all(Scope((stream,))))
        spans = [segment.span for segment in segments]
        kinds = (overlapped(spans, events, AROUND_US), overlapped(spans, alerts, AROUND_US), overlapped(spans, held))
        return [max(worth * marked for worth, marked in enumerate(marks, 1)) for marks in zip(*kinds, strict=True)]

    def _fit_recordings(self, stream: StreamId, limit: int) -> None:
        owned = self._recordings(stream)
        excess = sum(segment.size for segment in owned) - limit
        if excess <= 0:
            return
        going = []
        for worth, segment in sorted(zip(self._worth(stream, owned), owned, strict=True), key=lambda pair: pair[0]):
            if excess <= 0 or worth == HELD:
                break
            excess -= segment.size
            going.append(segment)
        self._all.remove(going)

    def _fit_memory(self, stream: StreamId, budget: int) -> bool:
        spent = self._spent(stream)
        coming = max(self._largest.get(stream, 0) - spent[OPEN], 0)
        total = sum(spent.values()) + coming
        if total <= budget * _FULL:
            return False
        self._shedding.shed(stream, total - int(budget * _FILL))
        return True

    def _opened(self, stream: StreamId) -> int:
        features = schema.features.c
        content = func.length(features.vector) + func.length(features.thumbnail)
        with self._store.database.read() as connection:
            return int(connection.scalar(select(func.sum(content)).where(features.stream == stream)) or 0)

    def _spent(self, stream: StreamId) -> dict[str, int]:
        """Bytes of the memory, by what they are spent on."""
        observations = schema.observations.c
        words = func.length(observations.text) + func.length(observations.label) + func.length(observations.key)
        spent = self._store.chapters.bytes(stream)
        spent[TOKENS] = self._recollections.size(stream)  # other tokens are made anew from the recording
        spent["index"] = self._store.chapters.indexed(stream)
        spent[OPEN] = self._opened(stream)
        with self._store.database.read() as connection:
            text = select(func.sum(words + TEXT_ROW)).where(observations.stream == stream)
            spent["text"] = int(connection.scalar(text) or 0)
        return spent
