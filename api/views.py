"""Records as the JSON that leaves the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import quote

from api import schemas
from api.describe import describe
from api.lookout import RULE
from api.scope import Scopes
from api.times import Calendar, label, utc
from ingest.capture import CaptureStatus
from ingest.clock import Clock
from ingest.ledger import Counts
from ingest.questions import Exhibit, Hit
from ingest.records import MICROSECONDS, Alert, Gap, Moment, Observation, Span, StreamId, seconds
from memory.recordings import SETTLING, Recordings
from memory.store import StreamRow, StreamSettings

AROUND_CLIP = seconds(1)
"""Shown before and after a hit, so that a clip of an instant is watchable."""
STILL_OPEN = seconds(15)
_AWAY = ("offline", "stalled", "failed")
"""States in which no picture comes."""
_AT_REST = ("finished", "paused")
"""States in which nobody waits for one."""
MOST_GAPS = 100
"""Shown with an answer."""


@dataclass(frozen=True, slots=True)
class Blind:
    """Gaps as they are shown: the longest of them in order of time, and how many there are beside them."""

    gaps: list[schemas.GapOut]
    more: int = 0


class Views:
    """Needs the store for names, the recordings for what can be played and the clock for ages."""

    def __init__(self, recordings: Recordings, clock: Clock, scopes: Scopes, usual: StreamSettings) -> None:
        """`usual`: what is in force of a stream that has nothing of its own."""
        self._recordings, self._store = recordings, recordings.store
        self._clock = clock
        self._scopes = scopes
        self._usual = usual

    def span(self, span: Span, row: StreamRow | None = None) -> schemas.SpanOut:
        calendar = self._scopes.calendar((row,) if row else ())
        start, end = (None, None) if calendar.file is None else _offsets(span, calendar)
        return schemas.SpanOut(
            start=utc(span.start),
            end=utc(span.end),
            start_offset_s=start,
            end_offset_s=end,
            label=label(span, calendar),
        )

    def stream(self, row: StreamRow, status: CaptureStatus | None, counts: Counts) -> schemas.StreamOut:
        """What capture says of it now, unless it is finished: then all of it is remembered, and capture is over."""
        extent = self._store.streams.extent(row.id)
        told = self._store.streams.told(row.id) if row.kind == "live" else extent
        newest = status.last_frame if status is not None else None
        age = max(0.0, (self._clock.now() - newest) / MICROSECONDS) if newest is not None else None
        finished = row.state == "finished"
        state, detail = (row.state, row.detail) if status is None or finished else (status.state, status.detail)
        return schemas.StreamOut(
            id=row.id,
            name=row.name,
            kind=row.kind,
            source=row.masked,
            state=state,
            detail=detail,
            added=utc(row.added),
            span=self.span(extent, row) if extent else None,
            known_to=utc(told.end) if told else None,
            progress=1.0 if finished else self._progress(row),
            last_frame_age_s=age if row.kind == "live" else None,
            listening_lag_s=self._lag(row, status),
            in_force=schemas.Handling.model_construct(**asdict(row.settings.over(self._usual))),
            resting=status is not None and status.resting,
            shedding=status.shedding if status is not None else "nothing",
            pictures_skipped=status.skipped if status is not None else 0,
            reconnects=status.reconnects if status is not None else 0,
            failures=status.failures if status is not None else 0,
            counters=_counters(row, counts),
            **row.settings.given,
        )

    def _lag(self, row: StreamRow, status: CaptureStatus | None) -> float | None:
        """Seconds between the newest frame and how far its sound was listened to; None where nothing was heard yet, or
        is to be."""
        camera = row.kind == "live" and not row.source.startswith("folder:")
        listens = camera and row.settings.over(self._usual).audio
        mark = self._store.streams.mark(row.id, "sound") if listens else None
        if mark is None or status is None or status.last_frame is None:
            return None
        return max(0.0, (status.last_frame - mark.moment) / MICROSECONDS)

    def _progress(self, row: StreamRow) -> float | None:
        """How much of a file is remembered, not how much was read: what a person may already ask about."""
        mark = self._store.streams.mark(row.id)
        if row.kind != "file" or row.origin is None or not row.duration_us:
            return None
        return min(1.0, max(0.0, (mark.moment - row.origin) / row.duration_us)) if mark else 0.0

    def gap(self, gap: Gap, row: StreamRow) -> schemas.GapOut:
        return schemas.GapOut(stream=row.name, span=self.span(gap.span, row), reason=gap.reason, detail=gap.detail)

    def blind(self, gaps: Sequence[Gap], most: int = MOST_GAPS) -> Blind:
        """The longest `most` of them, those of streams that are no more left out."""
        rows = {row.id: row for row in self._store.streams.all()} if gaps else {}
        longest = sorted(gaps, key=lambda gap: -gap.span.duration)[:most]
        in_time = sorted(longest, key=lambda gap: gap.span)
        shown = [self.gap(gap, rows[gap.stream]) for gap in in_time if gap.stream in rows]
        return Blind(shown, len(gaps) - len(longest))

    def observation(self, observation: Observation, row: StreamRow) -> schemas.ObservationOut:
        return schemas.ObservationOut(
            kind=observation.kind,
            label=observation.label,
            description=describe(observation),
            span=self.span(observation.span, row),
            score=observation.score,
            colour=observation.colour,
            text=observation.text,
            language=observation.actions[0] if observation.kind == "heard" and observation.actions else "",
        )

    def hit(self, hit: Hit, observations: Sequence[Observation] = ()) -> schemas.HitOut:
        row = self._store.streams.get(hit.stream)
        return schemas.HitOut(
            stream=row.id,
            stream_name=row.name,
            span=self.span(hit.span, row),
            score=hit.score,
            peak=utc(hit.peak),
            thumbnail_url=self.thumbnail_url(row.id, hit.peak),
            clip_url=self.clip_url(row.id, hit.span),
            observations=[self.observation(seen, row) for seen in observations],
        )

    def citation(self, exhibit: Exhibit) -> schemas.CitationOut:
        hit = self.hit(exhibit.hit, exhibit.observations)
        return schemas.CitationOut(
            number=exhibit.number, **{name: getattr(hit, name) for name in type(hit).model_fields}
        )

    def alert(self, alert: Alert, rule_name: str) -> schemas.AlertOut:
        row = self._store.streams.get(alert.stream)
        return schemas.AlertOut(
            id=alert.key,
            rule=alert.rule,
            rule_name=rule_name,
            stream=row.id,
            stream_name=row.name,
            span=self.span(alert.span, row),
            open=self._goes_on(alert, row),
            score=alert.score,
            why=alert.why,
            thumbnail_url=self.thumbnail_url(row.id, alert.peak),
            clip_url=self.clip_url(row.id, alert.span),
        )

    def _goes_on(self, alert: Alert, row: StreamRow) -> bool:
        """Whether it reaches up to the newest picture, or, where none comes any more, is what is told of that."""
        if alert.rule == RULE and row.state in _AWAY:
            gap = self._store.timeline.known(row.id).gap
            return gap is not None and gap.span.start == alert.span.start
        found_again = alert.rule == RULE and row.source.startswith("folder:")
        if found_again or row.state in _AT_REST:
            return False
        mark = self._store.streams.mark(row.id)
        return mark is not None and abs(mark.moment - alert.span.end) < STILL_OPEN

    def searched(self, rows: Sequence[StreamRow], span: Span | None) -> schemas.SearchedOut:
        row = rows[0] if len(rows) == 1 else None
        return schemas.SearchedOut(streams=[row.name for row in rows], span=self.span(span, row) if span else None)

    def thumbnail_url(self, stream: StreamId, moment: Moment) -> str:
        return f"/v1/streams/{stream}/thumbnail?at={_iso(moment)}"

    def clip_url(self, stream: StreamId, span: Span) -> str | None:
        """None where nothing is recorded any more; what is being recorded can be had in some seconds."""
        if not self._store.timeline.segments(stream, span) and not self._written(stream, span):
            return None
        start, end = Moment(span.start - AROUND_CLIP), Moment(span.end + AROUND_CLIP)
        return f"/v1/streams/{stream}/clip?from={_iso(start)}&to={_iso(end)}"

    def _written(self, stream: StreamId, span: Span) -> bool:
        """Whether some of it is in a segment that is not finished, or was until just now."""
        written = self._recordings.unfinished(stream)
        if written is not None:
            return span.end >= written.span.start
        before = Span(Moment(span.start - SETTLING), Moment(span.end + SETTLING))
        return self._recordings.lately(span.end) and bool(self._store.timeline.segments(stream, before))


def _counters(row: StreamRow, counts: Counts) -> schemas.Counters:
    """What came twice is no loss, and does not stand among the dropped: a file is read again where it was cut off."""
    twice = {"already remembered"} | ({"restart"} if row.kind == "file" else set())
    return schemas.Counters(
        captured=counts.captured,
        stored=counts.stored,
        repeated=sum(count for reason, count in counts.dropped.items() if reason in twice),
        dropped={reason: count for reason, count in counts.dropped.items() if reason not in twice},
        parked=dict(counts.parked),
        in_flight=counts.in_flight,
        unheard_s={reason: lost / MICROSECONDS for reason, lost in counts.unheard.items()},
    )


def _iso(moment: int) -> str:
    return quote(utc(moment).isoformat().replace("+00:00", "Z"), safe=":")


def _offsets(span: Span, calendar: Calendar) -> tuple[float, float]:
    assert calendar.file is not None
    return (span.start - calendar.file.start) / MICROSECONDS, (span.end - calendar.file.start) / MICROSECONDS
