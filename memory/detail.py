"""The fine log wherever it lies: in rows while a chapter is open, in its file once it is sealed."""

from __future__ import annotations

import logging

import numpy as np

from ingest.errors import StoreCorrupt
from ingest.questions import Picture, Scope
from ingest.records import Moment, StreamId
from memory.chapter_files import ChapterFiles
from memory.store.chapters import Chapters
from memory.store.database import Database
from memory.store.features import Features
from memory.store.rows import ChapterRow
from memory.tables import FineLog

logger = logging.getLogger(__name__)


class Detail:
    """Reads fine features and thumbnails. A damaged file is set aside, never served: its slots remain."""

    def __init__(self, database: Database, files: ChapterFiles, chapters: Chapters, features: Features) -> None:
        self._database = database
        self._files = files
        self._chapters = chapters
        self._features = features

    def sealed(self, row: ChapterRow) -> FineLog | None:
        """The log of a sealed chapter; None when its detail is gone."""
        if not row.path:
            return None
        try:
            return self._files.read(row.path, row.sha256)
        except StoreCorrupt as error:
            current = next((c for c in self._chapters.all(Scope((row.stream,), row.span)) if c.id == row.id), None)
            if current is None or current.path != row.path:
                return None  # erased or folded while we looked
            logger.warning("%s It is set aside; its summary still answers.", error.message)
            self.set_aside(row)
            return None

    def set_aside(self, row: ChapterRow) -> None:
        """Take a damaged file out of service."""
        self._files.set_aside(row.path)
        with self._database.write() as connection:
            self._chapters.drop_detail(connection, [row.id])

    def open(self, stream: StreamId) -> FineLog:
        """The log of the open chapter, without its thumbnails."""
        return self._features.log(stream, thumbnails=False)

    def thumbnail(self, stream: StreamId, moment: Moment) -> Picture | None:
        """The remembered picture closest to `moment`."""
        candidates = [self._features.nearest(stream, moment)]
        for row in self._chapters.pictured(stream, moment):
            log = self.sealed(row)
            if log is not None:
                candidates.append(_nearest(log, moment))
        found = [picture for picture in candidates if picture is not None]
        return min(found, key=lambda picture: abs(picture.moment - moment), default=None)


def _nearest(log: FineLog, moment: Moment) -> Picture | None:
    shown = np.flatnonzero([bool(jpeg) for jpeg in log.thumbnails])
    if len(shown) == 0:
        return None
    best = shown[int(np.argmin(np.abs(log.starts[shown] - moment)))]
    return Picture(Moment(int(log.starts[best])), log.thumbnails[best])
