"""Streams: added after they were really opened, paused, resumed, taken up again after a restart."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from api import times
from api.schemas import StreamIn, StreamOut
from api.scope import Scopes
from api.settings import Settings
from api.views import Views
from ingest.capture import CapturePlan, Fleet, Recording
from ingest.clock import Clock
from ingest.errors import Conflict, DeadlineExceeded, HindsightError, Invalid, NotFound, SourceUnavailable
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.probe import MediaInfo, probe
from ingest.records import GapReason, Moment, StateChange, StreamId, seconds
from ingest.sampling import Sampling
from ingest.sources import SourceSpec, parse
from memory.store import Store, StreamRow

EARLIEST = Moment(seconds(315_532_800))
"""1980: a file that says it is older has no clock in its camera."""


@dataclass(frozen=True, slots=True)
class Capturing:
    """What turns a source into frames. `listened`: whether anything turns its sound into words."""

    fleet: Fleet
    guard: Guard
    ledger: Ledger
    listened: bool


class Streams:
    """Streams in the terms of the HTTP interface."""

    def __init__(
        self, store: Store, capturing: Capturing, scopes: Scopes, views: Views, clock: Clock, settings: Settings
    ) -> None:
        self._store = store
        self._capturing = capturing
        self._scopes = scopes
        self._views = views
        self._clock = clock
        self._settings = settings

    def add(self, request: StreamIn) -> StreamOut:
        """Opens the source before anything is written: what cannot be opened leaves no trace."""
        name = checked_name(request.name)
        self._free(name)
        source = parse(request.source)
        info = self._probe(source)
        row = self._row(name, request, source, info)
        self._store.streams.add(row)
        try:
            self._start(row)
        except BaseException:
            self._store.streams.set_state(StateChange(row.id, "failed", self._clock.now(), "It could not be started."))
            raise
        return self.get(row.id)

    def all(self) -> list[StreamOut]:
        return [self._shown(row) for row in self._store.streams.all()]

    def has(self, source: str) -> bool:
        """Whether a stream was made of `source`."""
        return any(row.source == source for row in self._store.streams.all())

    def get(self, id_or_name: str) -> StreamOut:
        return self._shown(self._store.streams.get(id_or_name))

    def pause(self, id_or_name: str) -> StreamOut:
        row = self._store.streams.get(id_or_name)
        if row.state == "finished":
            raise Conflict(f"{row.name} was read to its end.", advice="There is nothing to pause.")
        if not row.paused:
            self._store.streams.set_paused(row.id, True)
            self._capturing.fleet.stop(row.id, reason="paused")
            self._store.streams.set_state(StateChange(row.id, "paused", self._clock.now(), "Paused by a person."))
        return self.get(row.id)

    def resume(self, id_or_name: str) -> StreamOut:
        row = self._store.streams.get(id_or_name)
        if row.paused:
            self._store.streams.set_paused(row.id, False)
            if row.state != "finished":
                self._store.streams.set_state(StateChange(row.id, "connecting", self._clock.now()))
                self._start(row, "paused")
        return self.get(row.id)

    def restart_all(self) -> None:
        """After a start of the service: every stream from where it is remembered."""
        for row in self._store.streams.all():
            if row.paused or row.state == "finished":
                continue
            try:
                self._start(row)
            except HindsightError as error:  # a source that is no longer allowed must not keep the others down
                self._store.streams.set_state(StateChange(row.id, "failed", self._clock.now(), str(error)))

    def _free(self, name: str) -> None:
        try:
            self._store.streams.get(name)
        except NotFound:
            return
        raise Conflict(f'There is already a stream called "{name}".', advice="Choose another name.")

    def _probe(self, source: SourceSpec) -> MediaInfo:
        try:
            return probe(source, self._capturing.guard)
        except DeadlineExceeded as error:
            raise SourceUnavailable(error.message, advice=error.advice) from error

    def _row(self, name: str, request: StreamIn, source: SourceSpec, info: MediaInfo) -> StreamRow:
        now = self._clock.now()
        file = source.kind == "file"
        if request.starts_at and not file:
            raise Invalid("A live stream starts when it is seen.", advice="Leave the start time out.")
        return StreamRow(
            id=StreamId(f"{slug(name)}-{secrets.token_hex(3)}"),
            name=name,
            kind=source.kind,
            source=request.source if source.scheme != "file" else source.location,
            masked=source.masked,
            state="connecting",
            detail="",
            added=now,
            origin=self._origin(request, source, info) if file else None,
            duration_us=info.duration_us if file else None,
        )

    def _origin(self, request: StreamIn, source: SourceSpec, info: MediaInfo) -> Moment:
        """When a file's first picture was taken: as told, as its camera wrote, or as its last change suggests."""
        if request.starts_at:
            return times.read(request.starts_at, self._scopes.calendar()).start
        now = self._clock.now()
        if info.created is not None and EARLIEST < info.created < now:
            return info.created
        if source.scheme == "file":
            changed = seconds(Path(source.location).stat().st_mtime)
            return Moment(max(EARLIEST, min(changed, now) - (info.duration_us or 0)))
        return Moment(now - (info.duration_us or 0))

    def _start(self, row: StreamRow, blind_because: GapReason = "service stopped") -> None:
        settings = self._settings
        sampling = Sampling(
            floor_hz=min(settings.sample_floor_hz, settings.sample_ceiling_hz),
            ceiling_hz=settings.sample_ceiling_hz,
            max_side=settings.sample_side,
        )
        source = parse(row.source)
        records = source.scheme != "file" and settings.record
        plan = CapturePlan(
            stream=row.id,
            source=source,
            starts_at=row.origin,
            sampling=sampling,
            recording=Recording(settings.folder / "recordings" / row.id) if records else None,
            resume=self._store.streams.mark(row.id),
            heard=self._store.streams.mark(row.id, "sound"),
            listened=self._capturing.listened,
            audio=settings.audio,
            blind_because=blind_because,
        )
        self._capturing.fleet.start(plan)

    def _shown(self, row: StreamRow) -> StreamOut:
        status = None if row.paused else self._capturing.fleet.status(row.id)
        return self._views.stream(row, status, self._capturing.ledger.counts(row.id))


def checked_name(name: str) -> str:
    """Names appear in addresses and questions: no slashes, no control characters."""
    name = name.strip()
    if name in ("", ".", "..") or "/" in name or any(not character.isprintable() for character in name):
        raise Invalid(f'"{name}" cannot be a name.', advice="Use letters, digits, spaces and dashes.")
    return name


def slug(name: str) -> str:
    """Of a name, what may stand in an address, a folder name and a log."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "stream"
