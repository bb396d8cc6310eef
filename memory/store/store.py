"""The store: one door per kind of row."""

from __future__ import annotations

from pathlib import Path

from memory.store.alerts import Alerts, Outbox, Rules
from memory.store.chapters import Chapters
from memory.store.database import Database
from memory.store.facts import Erasures, Facts
from memory.store.features import Features
from memory.store.holds import Holds
from memory.store.streams import Streams
from memory.store.timeline import Thumbnails, Timeline


class Store:
    """Everything that is kept in rows."""

    def __init__(
        self,
        database: Database,
        pictures: Thumbnails,
        features: Features,
        chapters: Chapters,
        folder: Path,
        *,
        listens: bool,
    ) -> None:
        """`folder`: of everything. `listens`: whether a stream is listened to that has nothing of its own about it."""
        self.database = database
        self.streams = Streams(database)
        self.timeline = Timeline(database, pictures, folder, listens=listens)
        self.features = features
        self.chapters = chapters
        self.rules = Rules(database)
        self.alerts = Alerts(database)
        self.outbox = Outbox(database)
        self.facts = Facts(database)
        self.erasures = Erasures(database)
        self.holds = Holds(database)
