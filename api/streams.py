"""Streams: added after they were really opened, paused, resumed, taken up again after a restart."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from api import times
from api.lost import lost
from api.schemas import StreamIn, StreamOut, StreamPatch
from api.scope import Scopes
from api.settings import Settings
from api.vault import CredentialsLost, Vault
from api.views import Views
from ingest.capture import CapturePlan, Fleet, Known, Recording, Ways
from ingest.clock import Clock
from ingest.errors import Busy, Conflict, DeadlineExceeded, HindsightError, Invalid, NotFound, Unreachable
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.probe import MediaInfo, filmed, probe
from ingest.reasons import GapReason
from ingest.records import Gap, Moment, Span, StateChange, StreamId
from ingest.sampling import Sampling, policy
from ingest.sources import MASK, Secret, SourceSpec, parse
from memory.store import Store, StreamRow, StreamSettings
from models.protocols import Transcriber

OPEN_S = 10.0
"""A camera that has neither answered nor refused by then is added all the same."""
FILE_OPEN_S = 60.0
_OF_RECORDINGS: Final = tuple(name for name in StreamSettings.__slots__ if "record" in name or "keep" in name)


@dataclass(frozen=True, slots=True)
class Capturing:
    """What turns a source into frames, and who understands what is said in it. `waiting`: what the stages behind it
    wait for just now."""

    fleet: Fleet
    guard: Guard
    ledger: Ledger
    vault: Vault
    transcriber: Transcriber | None
    waiting: Mapping[str, str]


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
        self._turning = threading.Lock()
        """Held while a stream is started or stopped, and while is told which are not captured."""
        self._leaving = set[StreamId]()
        """Those that are being removed."""

    def add(self, request: StreamIn) -> StreamOut:
        """Opens the source before anything is written: what is refused, or refuses, leaves no trace. A camera that
        merely says nothing is added, and its state tells."""
        name = checked_name(request.name)
        self._free(name)
        source = _with_login(parse(request.source), request)
        row = self._row(name, request, source)
        self._fit(row, set(request.handling))
        info = self._probe(source, silent=True)
        row = self._dated(replace(row, kind=_as_found(source, info).kind), request, source, info)
        with self._turning:
            self._store.streams.add(row)
            try:
                self._start(row, self._store.timeline.known(row.id))
            except BaseException:
                failed = StateChange(row.id, "failed", self._clock.now(), "It could not be started.")
                self._store.streams.set_state(failed)
                raise
        return self.get(row.id)

    def all(self) -> list[StreamOut]:
        return [self._shown(row) for row in self._store.streams.all()]

    def has(self, source: str) -> bool:
        """Whether a stream was made of `source`."""
        return any(row.source == source for row in self._store.streams.all())

    def get(self, id_or_name: str) -> StreamOut:
        return self._shown(self._store.streams.get(id_or_name))

    def change(self, id_or_name: str, patch: StreamPatch) -> StreamOut:
        """What refuses, or makes no sense, changes nothing; what cannot be reached, nothing of a stream that sees."""
        row = self._store.streams.get(id_or_name)
        self._refuse_moving(row, patch.starts_at)
        self._fit(_with(row, patch), set(patch.handling))
        source = None
        if patch.source is not None or patch.username is not None or patch.password is not None:
            source = self._moved(row, self._changed(row, patch))
        with self._turning:
            row = self._staying(row.id)
            changed = _with(row, patch)
            changed = changed if source is None else self._sealed(changed, source)
            self._store.streams.change(changed)
            if not row.paused and row.state != "finished":
                self._go_on(row, changed)
        return self.get(row.id)

    def _go_on(self, before: StreamRow, after: StreamRow) -> None:
        """Open it anew where that is needed for what has changed; otherwise it goes on, in other ways."""
        was, ways = self._ways(before), self._ways(after)
        seen = replace(before, source=after.source, login=after.login) == before
        alike = _endless(after) or replace(was, language=ways.language) == ways
        if seen and alike and self._sampling(before) == self._sampling(after):
            self._capturing.fleet.adjust(after.id, ways)
            return
        seeing = self._sees(after.id)
        self._capturing.fleet.stop(after.id, reason="settings changed")
        self._begin(after, "settings changed" if seeing else "offline")

    def _fit(self, row: StreamRow, said: AbstractSet[str]) -> None:
        """Raises `Invalid` or `Conflict` where what was `said` of its settings is nothing for this stream."""
        self._sampling(row)
        own, transcriber = row.settings, self._capturing.transcriber
        vain = [name for name in _OF_RECORDINGS if getattr(own, name) is not None]
        if vain and not _recordable(row):
            raise Invalid(
                f"{vain[0]}: of a file nothing is recorded, it is there.", advice="Leave it out, or keep the file."
            )
        if transcriber is not None and "language" in said and own.language not in (None, *transcriber.languages):
            raise Invalid(
                f"{transcriber.id} does not understand the language {own.language!r}.",
                advice=f"It knows {', '.join(sorted(transcriber.languages))}.",
            )
        if row.state == "finished" and said & {"audio", "language"}:
            raise Conflict(
                f"{row.name} was read to its end.", advice="Remove it and add it again to have it heard anew."
            )

    def _refuse_moving(self, row: StreamRow, starts_at: str | None) -> None:
        """What is remembered stands where it was filmed: in chapters, their files and the index, and in alerts, which
        were judged by the time of day and told. To move it is to read it again."""
        if starts_at is None:
            return
        if row.kind == "live":
            raise Invalid("A live stream starts when it is seen.", advice="Leave the start time out.")
        if times.read(starts_at, self._scopes.calendar()).start != row.origin:
            raise Conflict(
                f"What is remembered of {row.name} does not move to another time.",
                advice="Remove it and add it again (or send it again, if it was sent) with the time that is right.",
            )

    def _changed(self, row: StreamRow, patch: StreamPatch) -> SourceSpec:
        """The source with what is new of it."""
        if row.kind != "live":
            raise Invalid("A file stays what it is.", advice="Add the other file as a stream of its own.")
        if patch.source not in (None, row.masked):
            return _with_login(self._known_there(row, parse(patch.source), patch), patch)
        if patch.username is not None and patch.password is not None and MASK not in row.source:
            return _with_login(_kept(row), patch)  # also where the old login can no longer be read
        return _with_login(self._source(row), patch)

    def _moved(self, row: StreamRow, source: SourceSpec) -> SourceSpec:
        """The new source of a camera, as it was found. A person may put right what is known of a camera before it is
        there: while nothing is seen of it, one that cannot be reached is taken as it is. Of an address that ends as a
        file's does nobody knows then what it is."""
        try:
            found = _as_found(source, self._probe(source))
        except Unreachable as error:
            if source.kind != "live":
                raise
            if self._sees(row.id):
                advice = f"{error.advice} Pause {row.name} first to have it changed all the same."
                raise Unreachable(error.message, advice=advice) from error
            return source
        if found.kind != row.kind:
            raise Invalid("A camera does not become a file.", advice="Add the file as a stream of its own.")
        return found

    def _sees(self, stream: StreamId) -> bool:
        """Whether pictures of it come just now."""
        status = self._capturing.fleet.status(stream)
        return status is not None and status.state in ("live", "reading", "frozen", "dark")

    def _known_there(self, row: StreamRow, source: SourceSpec, patch: StreamPatch) -> SourceSpec:
        """A new source with the login of before, where none is given and its place is the same: no other is told it."""
        given = patch.username is not None and patch.password is not None
        if given or source.username or source.password or source.place != _kept(row).place:
            return source
        before = self._source(row)
        return replace(source, username=before.username, password=before.password)

    def pause(self, id_or_name: str) -> StreamOut:
        row = self._store.streams.get(id_or_name)
        if row.state == "finished":
            raise Conflict(f"{row.name} was read to its end.", advice="There is nothing to pause.")
        with self._turning:
            if not self._staying(row.id).paused:
                self._store.streams.set_paused(row.id, True)
                self._capturing.fleet.stop(row.id, reason="paused")
                self._store.streams.set_state(StateChange(row.id, "paused", self._clock.now(), "Paused by a person."))
        return self.get(row.id)

    def resume(self, id_or_name: str) -> StreamOut:
        row = self._store.streams.get(id_or_name)
        with self._turning:
            row = self._staying(row.id)
            if row.paused:
                self._store.streams.set_paused(row.id, False)
                if row.state != "finished":
                    self._store.streams.set_state(StateChange(row.id, "connecting", self._clock.now()))
                    self._begin(row, "paused")
        return self.get(row.id)

    @contextmanager
    def leaving(self, stream: StreamId) -> Iterator[None]:
        """Meanwhile the stream is removed: it is captured no more, and nobody starts it again. Where nothing of it
        could go, it is captured as before."""
        with self._turning:
            captured = self._capturing.fleet.status(stream) is not None
            self._leaving.add(stream)
            self._capturing.fleet.stop(stream, reason="paused")
        try:
            if self._capturing.fleet.ending(stream):
                raise Busy("The end of its recording is still being written.", advice="Try again in a minute.")
            yield
            self._capturing.fleet.forget(stream)
        except BaseException:
            if captured:
                with suppress(HindsightError), self._turning:  # it is gone after all, or says why it does not start
                    self._stay(self._store.streams.get(stream))
            raise
        finally:
            self._leaving.discard(stream)

    def _stay(self, row: StreamRow) -> None:
        """One that was to be removed, and could not be."""
        if any(wish.stream == row.id and wish.span is None for wish in self._store.erasures.unfinished()):
            half = StateChange(row.id, "failed", self._clock.now(), "It was removed only in part: remove it again.")
            self._store.streams.set_state(half)
        elif row.state != "finished":
            self._begin(row, "paused")

    def _staying(self, stream: StreamId) -> StreamRow:
        """The stream as it is while `_turning` is held. Raises `Conflict` when it is being removed."""
        row = self._store.streams.get(stream)
        if stream in self._leaving:
            raise Conflict(f"{row.name} is being removed.", advice="Wait until it is gone.")
        return row

    def tell_absence(self) -> None:
        """A camera that nobody captures is a gap while that lasts: it is paused, or could not be started. A folder has
        none: its files wait."""
        with self._turning:
            for row in self._store.streams.all():
                captured = not row.paused and self._capturing.fleet.status(row.id) is not None
                if captured or row.state == "finished" or row.kind != "live" or _kept(row).scheme == "folder":
                    continue
                why: GapReason = "paused" if row.paused else "offline"
                start, now = self._known(row).blind_since(why), self._clock.now()
                if start is not None and start < now:
                    self._capturing.fleet.tell(Gap(row.id, Span(start, now), why, "" if row.paused else row.detail))

    def _known(self, row: StreamRow) -> Known:
        """What is told of a stream; of one that nothing was told of yet, that it was added."""
        known = self._store.timeline.known(row.id).later(self._capturing.fleet.known(row.id))
        return known if known.end is not None else replace(known, end=row.added)

    def restart_all(self) -> None:
        """After a start of the service: every stream from where it is remembered."""
        for row in self._store.streams.all():
            with suppress(HindsightError):
                self._tell_lost(row)
            if row.paused or row.state == "finished":
                continue
            with suppress(HindsightError):  # what cannot be started says so and does not keep the others down
                self._begin(row)

    def _tell_lost(self, row: StreamRow) -> None:
        """Of a camera, what was under way when the service ended. Files and folders are read again."""
        if row.kind == "live" and _kept(row).scheme != "folder":
            for gap in lost(self._store, row.id, self._sampling(row), listens=self._ways(row).audio):
                self._capturing.fleet.tell(gap)

    def seal_all(self) -> None:
        """Credentials that an earlier version kept in the clear are sealed, and the old bytes leave the disk."""
        clear = [row for row in self._store.streams.all() if _kept(row).secrets()]
        for row in clear:
            with suppress(CredentialsLost):  # the stream says so when it is started
                self._store.streams.change(self._sealed(row, self._source(row)))
        if clear:
            with suppress(Busy):  # whoever reads the old bytes had them before; they go when the service stops
                self._store.database.scrub()

    def _sealed(self, row: StreamRow, source: SourceSpec) -> StreamRow:
        login = self._capturing.vault.seal(source.secrets(), row.id)
        return replace(row, source=source.bare, masked=source.masked, login=login)

    def _source(self, row: StreamRow) -> SourceSpec:
        """The source with its credentials. Raises `CredentialsLost`."""
        return _kept(row).with_secrets(self._capturing.vault.open(row.login, row.id))

    def _begin(self, row: StreamRow, blind_because: GapReason = "service stopped") -> None:
        """Start to watch, or say why that cannot be."""
        try:
            self._start(row, self._known(row), blind_because)
        except HindsightError as error:
            self._store.streams.set_state(StateChange(row.id, "failed", self._clock.now(), str(error)))
            raise

    def _free(self, name: str) -> None:
        try:
            self._store.streams.get(name)
        except NotFound:
            return
        raise Conflict(f'There is already a stream called "{name}".', advice="Choose another name.")

    def _probe(self, source: SourceSpec, *, silent: bool = False) -> MediaInfo | None:
        """What `source` is. `silent`: a camera may say nothing in time, as where this machine has too much to do; then
        None. Of a file more has to be known, so it has more time."""
        live = source.kind == "live"
        try:
            return probe(source, self._capturing.guard, timeout_s=OPEN_S if live else FILE_OPEN_S)
        except DeadlineExceeded as error:
            if live and silent:
                return None
            raise Unreachable(error.message, advice=error.advice) from error

    def _row(self, name: str, request: StreamIn, source: SourceSpec) -> StreamRow:
        row = StreamRow(
            id=StreamId(f"{slug(name)}-{secrets.token_hex(3)}"),
            name=name,
            kind=source.kind,
            source=source.bare,
            masked=source.masked,
            state="connecting",
            detail="",
            added=self._clock.now(),
            settings=StreamSettings(**request.handling),
        )
        return self._sealed(row, source)

    def _dated(self, row: StreamRow, request: StreamIn, source: SourceSpec, info: MediaInfo | None) -> StreamRow:
        """The row with what its file tells."""
        if row.kind == "live" and request.starts_at:
            raise Invalid("A live stream starts when it is seen.", advice="Leave the start time out.")
        if row.kind == "live" or info is None:
            return row
        return replace(row, origin=self._origin(request, source, info), duration_us=info.duration_us)

    def _origin(self, request: StreamIn, source: SourceSpec, info: MediaInfo) -> Moment:
        """When a file's first picture was taken: as told, as its camera wrote, or as its last change suggests."""
        if request.starts_at:
            return times.read(request.starts_at, self._scopes.calendar()).start
        return filmed(info, Path(source.location) if source.scheme == "file" else None, self._clock.now())

    def _start(self, row: StreamRow, known: Known, blind_because: GapReason = "service stopped") -> None:
        settings = self._settings
        source = self._source(row)
        watched = source.scheme == "folder"
        plan = CapturePlan(
            stream=row.id,
            source=source,
            starts_at=row.origin,
            sampling=self._sampling(row),
            recording=Recording(settings.folder / "recordings" / row.id) if _recordable(row) else None,
            ways=self._ways(row),
            resume=self._store.streams.mark(row.id),
            known=known,
            heard=self._store.streams.mark(row.id, "sound"),
            blind_because=blind_because,
            taken=self._store.timeline.segments(row.id) if watched else (),
        )
        self._capturing.fleet.start(plan)

    def _sampling(self, row: StreamRow) -> Sampling:
        """Raises `Invalid` where the stream's policy is none."""
        settings = self._settings
        usual = Sampling(settings.sample_floor_hz, settings.sample_ceiling_hz, max_side=settings.sample_side)
        return policy(row.settings.over(settings.usual).sampling or "", usual)

    def _ways(self, row: StreamRow) -> Ways:
        now = row.settings.over(self._settings.usual)
        return Ways(audio=bool(now.audio), record=bool(now.record), language=now.language or "")

    def _shown(self, row: StreamRow) -> StreamOut:
        status = None if row.paused else self._capturing.fleet.status(row.id)
        shown = self._views.stream(row, status, self._capturing.ledger.counts(row.id))
        waiting = next(iter(list(self._capturing.waiting.values())), "")
        if waiting and shown.counters.in_flight and shown.state in ("reading", "live"):
            return shown.model_copy(update={"detail": f"Nothing is remembered just now: {waiting}"})
        return shown


def _kept(row: StreamRow) -> SourceSpec:
    """A stream's source without its login. Earlier versions took no notice of what stood behind a `#`."""
    try:
        source = parse(row.source)
    except Invalid:
        source = parse(row.source.partition("#")[0])
    return replace(source, kind=row.kind)


def _as_found(source: SourceSpec, info: MediaInfo | None) -> SourceSpec:
    """An address that ends as a file's does, and has no end itself, is a camera's."""
    return replace(source, kind="live") if info is not None and not info.ends else source


def _with(row: StreamRow, patch: StreamPatch) -> StreamRow:
    """The row with its new name and settings."""
    name = checked_name(patch.name) if patch.name is not None else row.name
    return replace(row, name=name, settings=replace(row.settings, **patch.handling))


def _endless(row: StreamRow) -> bool:
    """Whether its child is told what changes; a file, also one in a folder, is read on from where it is remembered."""
    return row.kind == "live" and _kept(row).scheme != "folder"


def _recordable(row: StreamRow) -> bool:
    """Whether there is anything to record: what lies in a file on this machine is there."""
    return _kept(row).scheme not in ("file", "folder")


def _with_login(source: SourceSpec, given: StreamIn | StreamPatch) -> SourceSpec:
    """`source` with the user name and the password that were given apart from it."""
    if given.username is None and given.password is None:
        return source
    if not source.remote:
        raise Invalid("Only addresses have a user name and a password.", advice="Leave them out.")
    password = source.password if given.password is None else Secret(given.password.get_secret_value())
    return replace(source, username=source.username if given.username is None else given.username, password=password)


def checked_name(name: str) -> str:
    """Names appear in addresses and questions: no slashes, no control characters. Signs may be joined, as families are
    and letters of some scripts."""
    name = name.strip()
    joined = name.split("\N{ZERO WIDTH JOINER}")
    shown = all(part and part == part.strip() and part.isprintable() for part in joined)
    if name in (".", "..") or "/" in name or not shown:
        raise Invalid(f'"{name}" cannot be a name.', advice="Use letters, digits, spaces and dashes.")
    return name


def slug(name: str) -> str:
    """Of a name, what may stand in an address, a folder name and a log."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "stream"
