"""What was watched, what was recorded, and what was named along a stream's time."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, Table, delete, select

from ingest.audio import UNDER_WAY
from ingest.plan import Known
from ingest.questions import Picture, Scope
from ingest.reasons import AWAY, MISDATED, UNSEEING
from ingest.records import (
    Box,
    Coverage,
    Gap,
    Mark,
    Moment,
    Observation,
    ObservationKind,
    Segment,
    Span,
    StreamId,
    seconds,
)
from ingest.unlooked import APART
from memory.store import schema
from memory.store.database import Database
from memory.store.rows import Numbered
from memory.store.streams import LAST_GAPS, read_mark, read_settings

_LAG: Final = seconds(30)
"""Sound is listened to in pieces: so much of it is always on its way."""
SLACK: Final = seconds(0.5)
"""Segments this far apart have a gap between them."""
_MOST_VALUES = 500
"""A database takes so many in one statement."""


class Thumbnails(Protocol):
    def thumbnail(self, stream: StreamId, moment: Moment) -> Picture | None: ...


class Timeline:
    """When streams were watched and when not, their recordings, and what was observed."""

    def __init__(self, database: Database, pictures: Thumbnails, folder: Path, *, listens: bool) -> None:
        """`folder`: of everything, wherever it was when something was recorded. `listens`: whether a stream is listened
        to that has nothing of its own about it."""
        self._database = database
        self._folder = folder
        self._pictures = pictures
        self._listens = listens

    def thumbnail(self, stream: StreamId, moment: Moment) -> Picture | None:
        """The remembered picture closest to `moment`."""
        return self._pictures.thumbnail(stream, moment)

    def coverage(self, stream: StreamId, span: Span | None = None) -> tuple[Span, ...]:
        """When we were watching and may remember it, clipped to `span`, oldest first. Epochs that overlap are
        one."""
        clipped = (covered if span is None else covered.intersection(span) for covered in self._watched(stream, span))
        erased = self.erased(stream, span)
        return tuple(left for covered in clipped if covered is not None for left in without(covered, erased))

    def _watched(self, stream: StreamId, span: Span | None) -> list[Span]:
        return union(_span(row) for row in self._rows(schema.coverage, stream, span))

    def behind(self, stream: StreamId, mark: Mark) -> tuple[Span, ...]:
        """What was watched behind `mark`, epoch by epoch: one may begin before the one before it ended."""
        table = schema.coverage
        later = select(table).where(table.c.stream == stream, table.c.epoch >= mark.epoch).order_by(table.c.epoch)
        with self._database.read() as connection:
            rows = connection.execute(later).all()
        reached = [Span(Moment(0), mark.moment)]
        erased = self.erased(stream, None) if rows else []
        spans = ((_span(row), [*reached, *erased] if row.epoch == mark.epoch else erased) for row in rows)
        return tuple(left for span, holes in spans for left in without(span, holes))

    def gaps(self, stream: StreamId, span: Span | None = None) -> tuple[Gap, ...]:
        """When we were blind or did not listen, or were told to forget, within `span`, oldest first, each whole."""
        blind = [Gap(stream, _span(row), row.reason, row.detail) for row in self._rows(schema.gaps, stream, span)]
        blind += [Gap(stream, _span(row), "unheard", row.detail) for row in self._rows(schema.unheard, stream, span)]
        blind += self._unheard_yet(stream, span, [gap.span for gap in blind])
        forgotten = [Gap(stream, gone, "erased") for gone in self.erased(stream, span)]
        told = self._seen_after_all(stream, blind)
        if span is not None:
            told = [gap for gap in told if gap.span.overlaps(span) or gap.span.start == span.start]
        return tuple(sorted([*told, *forgotten], key=lambda gap: gap.span))

    def _seen_after_all(self, stream: StreamId, gaps: list[Gap]) -> list[Gap]:
        """Gaps without what was watched all the same: from files that were put into a folder while it could not be
        reached, or in an epoch that overlaps this one because the clock was put back."""
        away = [gap.span for gap in gaps if gap.reason in AWAY]
        watched = self._watched(stream, reduce(Span.hull, away)) if away else []
        starts, ends = [one.start for one in watched], [one.end for one in watched]
        left: list[Gap] = []
        for gap in gaps:
            over = watched[bisect_right(ends, gap.span.start) : bisect_left(starts, gap.span.end)]
            if gap.reason in AWAY and over:
                left += [replace(gap, span=part) for part in without(gap.span, over)]
            else:
                left.append(gap)
        return left

    def _unheard_yet(self, stream: StreamId, within: Span | None, told: Sequence[Span]) -> list[Gap]:
        """What came of a camera's sound and waits to be listened to, where that is wanted and takes long. Files wait
        for it, also those of a folder, of which some may have no sound."""
        streams = schema.streams.c
        camera = select(streams.settings).where(
            streams.id == stream, streams.kind == "live", ~streams.source.like("folder:%")
        )
        with self._database.read() as connection:
            heard, settings = read_mark(connection, stream, "sound"), connection.scalar(camera)
        own = read_settings(settings).audio if settings is not None else False
        listens = self._listens if own is None else own
        waits = self.behind(stream, heard) if listens and heard is not None else ()
        if not _LAG < sum(span.duration for span in waits) <= UNDER_WAY:
            return []
        parts = (span if within is None else span.intersection(within) for span in union(waits))
        left = (part for span in parts if span is not None for part in without(span, told))
        return [Gap(stream, part, "unheard", "It is not listened to yet.") for part in left]

    def watched_to(self, stream: StreamId) -> Moment | None:
        """Up to when it is told what was seen of a live stream."""
        with self._database.read() as connection:
            return _watched_to(connection, stream)

    def known(self, stream: StreamId) -> Known:
        """What is told of a live stream: its newest epoch, from when and up to when, and the gap that ends there."""
        numbers = schema.last_segments
        with self._database.read() as connection:
            covered = connection.execute(_newest(schema.coverage, stream, by="epoch")).one_or_none()
            recorded = connection.execute(_newest(schema.segments, stream)).one_or_none()
            last = connection.execute(select(numbers).where(numbers.c.stream == stream)).one_or_none()
            mark, seen = read_mark(connection, stream, "frame"), _watched_to(connection, stream)
            gap = _blind_behind(connection, stream, seen)
        epoch = max([-1, *(one.epoch for one in (covered, recorded, last, mark) if one is not None)])
        begun = covered.start if covered is not None else None
        if gap is None:
            return Known(epoch, seen, begun=begun)
        return Known(epoch, gap.span.end, None if gap.reason in UNSEEING else gap, begun)

    def segments(self, stream: StreamId, span: Span | None = None) -> tuple[Segment, ...]:
        """Recordings that overlap `span`, in the order in which they were made."""
        return tuple(self._recorded(row) for row in sorted(self._rows(schema.segments, stream, span), key=_made))

    def numbered(self, stream: StreamId, span: Span) -> list[Numbered]:
        """Recordings that overlap `span`, in the order in which they were made, with their numbers."""
        rows = sorted(self._rows(schema.segments, stream, span), key=_made)
        return [Numbered(self._recorded(row), row.number, row.breaks) for row in rows]

    def recorded_at(self, paths: Sequence[str]) -> list[Segment]:
        """Recordings of ours that were written at one of `paths`, in any order."""
        table, found = schema.segments, list[Segment]()
        either = [*paths, *map(self._written, paths)]
        with self._database.read() as connection:
            for first in range(0, len(either), _MOST_VALUES):
                some = table.c.path.in_(either[first : first + _MOST_VALUES])
                found += map(self._recorded, connection.execute(select(table).where(some, table.c.owned)))
        return found

    def _written(self, path: str) -> str:
        """How the path of a recording of ours is written down: as it lies in the folder, which may be copied."""
        return path.removeprefix(f"{self._folder}/")

    def _recorded(self, row: Any) -> Segment:
        """Whole paths were written down once: what a copy erases must not be what it was copied from."""
        path, (_, named, name) = row.path, row.path.rpartition(f"recordings/{row.stream}/")
        if row.owned and (named or not path.startswith("/")):
            path = f"{self._folder}/{named}{name}"
        span = Span(row.start, row.end)
        return Segment(StreamId(row.stream), row.epoch, span, path, row.size, row.first_pts, row.owned)

    def happened(self, stream: StreamId) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
        """When something came, went or changed, and when there were alerts; each in order."""
        seen, alerts = schema.observations, schema.alerts
        told = select(seen.c.start, seen.c.end).where(seen.c.stream == stream, seen.c.kind == "event")
        raised = select(alerts.c.start, alerts.c.end).where(alerts.c.stream == stream)
        with self._database.read() as connection:
            found = [connection.execute(wanted.order_by("start")) for wanted in (told, raised)]
            events, alarms = (tuple(Span(row.start, row.end) for row in rows) for rows in found)
        return events, alarms

    def observations(
        self, scope: Scope, *, kinds: Sequence[ObservationKind] = (), limit: int = 1000
    ) -> tuple[Observation, ...]:
        """Observations that overlap the scope, oldest first."""
        table = schema.observations
        wanted = select(table).where(*within(table, scope)).order_by(table.c.start, table.c.key).limit(limit)
        if kinds:
            wanted = wanted.where(table.c.kind.in_(kinds))
        with self._database.read() as connection:
            return tuple(_observation(row) for row in connection.execute(wanted))

    def followed(self, scope: Scope, labels: Sequence[str], colour: str = "") -> NDArray[np.int64]:
        """Starts and ends, int64 [N, 2], of the things of `labels`, and of `colour` if any, that overlap the scope."""
        table = schema.observations
        named = [table.c.kind == "thing", table.c.label.in_(labels), *([table.c.colour == colour] if colour else [])]
        wanted = select(table.c.start, table.c.end).where(*within(table, scope), *named)
        with self._database.read() as connection:
            times = (moment for row in connection.execute(wanted) for moment in (row.start, row.end))
            return np.fromiter(times, np.int64).reshape(-1, 2)

    def events(self, scope: Scope, label: str, limit: int = 2000) -> tuple[Observation, ...]:
        """The newest comings or goings in the scope, whoever came or went, newest first."""
        table = schema.observations
        wanted = select(table).where(*within(table, scope), table.c.kind == "event", table.c.label == label)
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(table.c.start.desc()).limit(limit))
            return tuple(_observation(row) for row in rows)

    def record(self, connection: Connection, record: Segment | Coverage | Gap) -> None:
        """Write one journal record; of the same key, a later one replaces or extends the earlier."""
        match record:
            case Segment():
                row = _segment(record) | self._next_number(connection, record)
                if record.owned:
                    row["path"] = self._written(record.path)
                self._database.upsert(connection, schema.segments, [row], update=("end", "path", "size", "first_pts"))
                if not record.owned:  # a file that takes the name of another takes its place
                    held = schema.segments.c
                    same = (held.stream == record.stream) & (held.path == record.path) & (held.key != record.key)
                    connection.execute(delete(schema.segments).where(same))
            case Gap(reason="unheard"):
                self._join(connection, schema.unheard, record)
            case Gap(reason="set aside"):
                self._join(connection, schema.gaps, record)
            case Gap():
                row = {"stream": record.stream, "start": record.span.start, "end": record.span.end}
                row |= {"reason": record.reason, "detail": record.detail}
                self._database.upsert(connection, schema.gaps, [row], update=("end", "reason", "detail"))
                gaps = schema.gaps  # one that was told before from a later moment on is part of this one
                part = (gaps.c.stream == record.stream) & (gaps.c.reason == record.reason)
                within_it = (gaps.c.start > record.span.start) & (gaps.c.end <= record.span.end)
                connection.execute(delete(gaps).where(part & within_it))
            case Coverage():
                self._cover(connection, record)

    def observe(self, connection: Connection, observations: Sequence[Observation]) -> None:
        """Write observations; a later version of the same track replaces the earlier, or withdraws it."""
        table = schema.observations
        columns = [column.name for column in table.columns if column.name != "key"]
        latest = {one.key: one for one in observations}
        self._database.upsert(connection, table, [_flat(one) for one in latest.values() if one.label], update=columns)
        if withdrawn := [key for key, one in latest.items() if not one.label]:
            connection.execute(delete(table).where(table.c.key.in_(withdrawn)))

    def _cover(self, connection: Connection, record: Coverage) -> None:
        table = schema.coverage
        known = connection.execute(
            select(table.c.start, table.c.end).where(table.c.stream == record.stream, table.c.epoch == record.epoch)
        ).one_or_none()
        span = record.span if known is None else record.span.hull(Span(known.start, known.end))
        row = {"stream": record.stream, "epoch": record.epoch, "start": span.start, "end": span.end}
        self._database.upsert(connection, table, [row], update=("start", "end"))

    def _next_number(self, connection: Connection, segment: Segment) -> dict[str, int]:
        """The number of a recording that is new, and how often time or the header did not go on before it. None has one
        that came after a later one: it has no place among those that were told."""
        last, known = schema.last_segments, schema.segments.c.key == segment.key
        before = connection.execute(select(last).where(last.c.stream == segment.stream)).one_or_none()
        again = connection.scalar(select(schema.segments.c.key).where(known)) is not None
        if again or not segment.owned or (before is not None and _made(segment) < (before.epoch, before.end - SLACK)):
            return {}
        went_on = before is not None and before.epoch == segment.epoch and segment.span.start <= before.end + SLACK
        number, apart = 0 if before is None else before.number + 1, segment.begins_anew or not went_on
        placed = {"number": number, "breaks": 0 if before is None else before.breaks + apart}
        row = {"stream": segment.stream, "epoch": segment.epoch, "start": segment.span.start, "end": segment.span.end}
        self._database.upsert(connection, last, [row | placed], update=("epoch", "start", "end", *placed))
        return placed

    def _join(self, connection: Connection, table: Table, gap: Gap) -> None:
        """What is told piece by piece is one stretch with what lies near it, however often that happens in a year."""
        kind = {"reason": gap.reason} if "reason" in table.c else {}
        before = [table.c.stream == gap.stream, table.c.start <= gap.span.end + APART]
        before += [table.c.reason == reason for reason in kind.values()]
        rows = connection.execute(select(table).where(*before).order_by(table.c.start.desc()).limit(LAST_GAPS)).all()
        near = [_span(row) for row in rows if row.end >= gap.span.start - APART]
        mine = (table.c.stream == gap.stream) & table.c.start.in_([span.start for span in near])
        connection.execute(delete(table).where(mine))
        whole = reduce(Span.hull, near, gap.span)
        row = {"stream": gap.stream, "start": whole.start, "end": whole.end, "detail": gap.detail, **kind}
        self._database.upsert(connection, table, [row], update=("end", "detail", *kind))

    def erased(self, stream: StreamId, span: Span | None) -> list[Span]:
        """What was forgotten on request and overlaps `span`, each whole."""
        rows = [row for row in self._rows(schema.erasures, stream, None) if row.start is not None]
        spans = (Span(row.start, row.end) for row in rows)
        return [gone for gone in spans if gone.duration and (span is None or gone.overlaps(span))]

    def _rows(self, table: Table, stream: StreamId, span: Span | None) -> list[Any]:
        wanted = select(table).where(*within(table, Scope((stream,), span))).order_by(table.c.start)
        with self._database.read() as connection:
            return list(connection.execute(wanted))


def _newest(table: Table, stream: StreamId, *, by: str = "start", most: int = 1) -> Select[Any]:
    """The last rows of a live stream: read from the end of an index."""
    return select(table).where(table.c.stream == stream).order_by(table.c[by].desc()).limit(most)


def _watched_to(connection: Connection, stream: StreamId) -> Moment | None:
    covered = connection.execute(_newest(schema.coverage, stream, by="epoch")).one_or_none()
    mark = read_mark(connection, stream, "frame")
    ends = [*([(covered.epoch, covered.end)] if covered else []), *([(mark.epoch, mark.moment)] if mark else [])]
    return max(ends)[1] if ends else None


def _blind_behind(connection: Connection, stream: StreamId, seen: Moment | None) -> Gap | None:
    """The last of the gaps that follow closely on what was `seen`; others were told while the clock was ahead."""
    gaps, last = schema.gaps, None
    told = select(gaps).where(gaps.c.stream == stream, gaps.c.reason.not_in(MISDATED))
    reach = 0 if seen is None else seen
    before = told.where(gaps.c.start <= reach).order_by(gaps.c.start.desc()).limit(LAST_GAPS)
    after = told.where(gaps.c.start > reach).order_by(gaps.c.start)
    for row in (*reversed(connection.execute(before).all()), *connection.execute(after)):
        if row.end > reach and (seen is None or row.start <= reach + APART):
            reach, last = row.end, row
    return None if last is None else Gap(stream, _span(last), last.reason, last.detail)


def union(spans: Iterable[Span]) -> list[Span]:
    """Spans in order of time; those that overlap are one."""
    joined: list[Span] = []
    for span in sorted(spans):
        joined.append(joined.pop().hull(span) if joined and joined[-1].overlaps(span) else span)
    return joined


def without(span: Span, holes: Sequence[Span]) -> list[Span]:
    """What is left of `span` outside all `holes`, oldest first."""
    left = [span]
    for hole in holes:
        left = [
            part
            for whole in left
            for part in (
                Span(whole.start, Moment(max(whole.start, min(whole.end, hole.start)))),
                Span(Moment(min(whole.end, max(whole.start, hole.end))), whole.end),
            )
            if part.duration
        ]
    return left


EVERYWHERE = Scope()
"""All streams, all time."""


def within(table: Table, scope: Scope) -> list[ColumnElement[bool]]:
    """Conditions for rows of `table` that overlap `scope`; an instant lies in a span that holds it."""
    conditions: list[ColumnElement[bool]] = []
    if scope.streams:
        conditions.append(table.c.stream.in_(scope.streams))
    if scope.span is not None:
        instant = (table.c.end == table.c.start) & (table.c.start == scope.span.start)
        conditions += [table.c.start < scope.span.end, (table.c.end > scope.span.start) | instant]
    return conditions


def _made(row: Any) -> tuple[int, int]:
    """The place of a recording among those of its stream: epochs may overlap."""
    return (row.epoch, row.span.start if isinstance(row, Segment) else row.start)


def _span(row: Any) -> Span:
    return Span(row.start, row.end)


def _segment(segment: Segment) -> dict[str, Any]:
    row = {name: getattr(segment, name) for name in ("key", "stream", "epoch", "path", "size", "first_pts", "owned")}
    return row | {"start": segment.span.start, "end": segment.span.end}


def _flat(o: Observation) -> dict[str, Any]:
    names = ("key", "stream", "epoch", "kind", "track", "label", "score", "colour", "text")
    box = json.dumps([o.box.left, o.box.top, o.box.right, o.box.bottom]) if o.box else ""
    return {
        **{name: getattr(o, name) for name in names},
        "start": o.span.start,
        "end": o.span.end,
        "actions": json.dumps(o.actions),
        "box": box,
    }


def _observation(row: Any) -> Observation:
    return Observation(
        stream=StreamId(row.stream),
        epoch=row.epoch,
        track=row.track,
        kind=row.kind,
        label=row.label,
        span=Span(row.start, row.end),
        score=row.score,
        colour=row.colour,
        actions=tuple(json.loads(row.actions)),
        text=row.text,
        box=Box(*json.loads(row.box)) if row.box else None,
    )
