"""The only file that wires. Data flows one way: capture → bus → encode, hear → bus → remember, watch."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Self

from api.accounts import Accounts
from api.ask import Asker, Memories
from api.cameras import Cameras
from api.erase import Eraser
from api.find import Finder
from api.footage import Footage
from api.health import Health
from api.hold import Holding
from api.housekeeping import Housekeeping
from api.lookout import Lookout
from api.metrics import Metrics, Watched
from api.notify import Courier
from api.playlist import Playlists
from api.profile import Models, chosen
from api.recollecting import recollecting
from api.refining import Refiner
from api.rules import Rules
from api.scope import Scopes
from api.settings import Settings
from api.sprite import Sprites
from api.streams import Capturing, Streams
from api.summary import Summariser
from api.timeline import Timelines
from api.uploads import Uploads
from api.vault import Vault
from api.views import Views
from api.watch import Watch
from api.webhooks import Webhooks
from api.workers import Workers
from ingest import wire
from ingest.bus_memory import MemoryBus
from ingest.capture import Fleet
from ingest.clock import Clock, SystemClock
from ingest.guard import Guard
from ingest.ledger import Ledger
from ingest.stage import Stage, drive
from memory.blobs import opened
from memory.memory import Memory, MemoryOptions
from models import registry

DELIVER_EVERY_S = 1.0
TIDY_EVERY_S = 60.0
CARRY_EVERY_S = 5.0
ABSENCE_EVERY_S = 5.0
STOP_S = 9.0
"""From being told to stop to the end of everything, however many are at work."""
DRAINED_BY_S = 3.0
"""Of these, what is left when what was captured is no longer waited for."""
COUNTING = ("encode", "hear", "remember")
"""The stages that a frame or a sound passes on its way to the store: they account for it."""


class Service:
    """Everything, wired. `start` begins to watch; `close` ends so that nothing acknowledged is lost."""

    def __init__(self, settings: Settings, models: Models | None = None, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock = clock or SystemClock()
        self.guard = Guard(settings.readable, settings.networks, private=settings.private)
        self.models = models or chosen(settings, self.guard)
        self._accounts = Accounts(settings.folder / "accounts")
        self.ledger = Ledger(self._accounts.keep)
        try:
            self.memory = open_memory(settings, self.models, self.ledger, clock)
        except BaseException:
            self.models.close()
            raise
        self.store = store = self.memory.store
        self.workers = Workers(clock)
        self.stopping = threading.Event()
        self._end: float | None = None
        self._watch = Watch(self.memory, self.models.encoder)
        self._stages: tuple[Stage, ...] = (
            *self.models.stages(),
            self.memory.remember,
            self._watch,
            Lookout(store, clock, settings),
            *recollecting(self.models.system, self.memory, settings.recollections_mb),
        )
        budget = room(settings)
        self.bus = MemoryBus(groups(self._stages), budget=budget, ledger=self.ledger, clock=clock)
        self._fleet = Fleet(self.bus, self.guard, self.ledger, clock, memory=wire.Memory(2 * budget))

        self.scopes = Scopes(store, clock, settings)
        views = Views(self.memory.recordings, clock, self.scopes, settings.usual)
        vault = Vault(settings.key_file)
        self._webhooks = Webhooks(store, vault, self.guard, settings)
        capturing = Capturing(
            self._fleet, self.guard, self.ledger, vault, self.models.transcriber, self.workers.waiting
        )
        self.streams = Streams(store, capturing, self.scopes, views, clock, settings)
        self.cameras = Cameras(self.guard)
        self.uploads = Uploads(self.streams, clock, settings)
        self.footage = Footage(self.memory.recordings, settings)
        self.playlists = Playlists(self.memory.recordings, self.footage, self.scopes, clock)
        self.sprites = Sprites(store, self.footage)
        self.eraser = Eraser(self.memory, self.streams, self.footage, self.uploads, self.scopes, views)
        self.holds = Holding(self.memory, self.scopes, views)
        refiner = Refiner(self.models.system, clock)
        self.finder = Finder(self.memory, self.models.encoder, refiner, self.scopes, views, settings)
        memories = Memories(self.memory, self.finder, self.scopes, views)
        self.asker = Asker(memories, self.models.system, refiner, settings, clock)
        self.summariser = Summariser(memories)
        self.rules = Rules(store, self._watch, self.models.encoder, self.scopes, views, self._webhooks)
        self.timelines = Timelines(store, self.rules, self.scopes, views)
        self.health = Health(self.memory, self.models, self.workers, self.streams.all, self._webhooks.lost, settings)
        self._courier = Courier(store, self.guard, self._webhooks, views, clock, settings)
        self.housekeeping = Housekeeping(self.memory, self.footage, self.uploads)
        self.metrics = Metrics(Watched(self.streams.all, self.bus.depth, lambda: self._courier.results))

    def start(self) -> Self:
        """Catches up on what was stored but not judged, then watches every stream from where it is remembered."""
        self._accounts.restore(self.store, self.ledger)
        self.streams.seal_all()
        self._webhooks.seal_all()
        self._watch.reload()
        self._watch.catch_up()
        self.memory.recordings.finish_untold()
        for stage in self._stages:
            ledger = self.ledger if stage.name in COUNTING else None
            told = partial(self.workers.waits, stage.name)
            work = partial(drive, stage, self.bus, self.workers.stop, ledger=ledger, clock=self.clock, waiting=told)
            self.workers.run(stage.name, work)
        self.workers.every(DELIVER_EVERY_S, "outbox", self._courier.deliver_due)
        self.workers.every(TIDY_EVERY_S, "housekeeping", self.housekeeping.tidy)
        if self.memory.recordings.elsewhere:
            self.workers.every(CARRY_EVERY_S, "recordings", self.memory.recordings.carry)
        self.streams.restart_all()
        self.workers.every(ABSENCE_EVERY_S, "absence", self.streams.tell_absence)
        return self

    def ask_to_stop(self) -> None:
        """From now on `STOP_S` are left. May be called from a signal handler."""
        if self._end is None:
            self._end = self.clock.monotonic() + STOP_S
        self.stopping.set()

    def close(self) -> None:
        """Capture first, so that what is under way can still be remembered; models before the stages that wait for
        them. What is not done in time is left as after a kill, which loses nothing either."""
        self.ask_to_stop()
        assert self._end is not None
        self._fleet.close(self._left(DRAINED_BY_S))
        while any(self.bus.depth().values()) and self._left(DRAINED_BY_S):
            self.clock.sleep(0.05)
        self.workers.stop.set()
        self.bus.close()
        self.models.close()
        late = self.workers.close(self._left(1.0))
        if late:
            logging.getLogger("hindsight").warning("Stopped without waiting for %s any longer.", ", ".join(late))
            return
        self.memory.close()

    def _left(self, reserve: float) -> float:
        """Seconds until the end, but for a reserve."""
        return max(0.0, (self._end or 0.0) - reserve - self.clock.monotonic())


def open_memory(settings: Settings, models: Models, ledger: Ledger, clock: Clock) -> Memory:
    """The memory of the data folder, within the bounds that were set. Also what `doctor` opens."""
    options = MemoryOptions(
        budget_bytes=settings.memory_budget_mb * 1_000_000 or None,
        recordings_bytes=settings.recordings_budget_mb * 1_000_000 or None,
        recollections_bytes=settings.recollections_mb * 1_000_000,
        blobs=opened(place) if (place := settings.recordings.get_secret_value()) else None,
        fetched_bytes=settings.fetched_mb * 1_000_000,
        listens=settings.audio,
        keep_recordings_s=settings.keep_recordings_hours * 3600,
        keep_events_s=settings.keep_events_hours * 3600,
        keep_alerts_s=settings.keep_alerts_hours * 3600,
    )
    return Memory.open(
        settings.folder,
        encoder=models.encoder.id,
        dim=models.encoder.dim,
        ledger=ledger,
        clock=clock,
        options=options,
        database=settings.database,
    )


def room(settings: Settings) -> int:
    """Bytes that may wait before a stage: as many pictures of 16:9 as the profile says, as they are looked at."""
    width, height = settings.sample_side, settings.sample_side * 9 // 16
    return registry.profile(settings.profile).waiting * width * height * 3


def groups(stages: Sequence[Stage]) -> Mapping[str, tuple[str, ...]]:
    """Topic -> the groups that receive it."""
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for stage in stages:
        for topic in stage.consumes:
            found[topic] += (stage.name,)
    return found
