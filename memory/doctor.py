"""Compares database, chapter files, recordings and index, and repairs what can be repaired."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, update

from ingest.errors import StoreCorrupt
from ingest.questions import Scope
from memory import durable
from memory.blobs import BlobsUnavailable
from memory.chapter_files import ChapterFiles
from memory.detail import Detail
from memory.indexing import Indexing
from memory.recordings import Recordings
from memory.store import schema


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, whether it is sound, and in words."""

    name: str
    ok: bool
    detail: str


class Doctor:
    """Compares database, chapter files, recordings and index."""

    def __init__(self, recordings: Recordings, files: ChapterFiles, detail: Detail, indexing: Indexing) -> None:
        self._store = recordings.store
        self._all = recordings
        self._files = files
        self._detail = detail
        self._indexing = indexing

    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Look at everything; with `repair`, mend what can be mended and say so."""
        return [
            self._database(),
            self._chapter_files(repair),
            self._leftovers(repair),
            self._counts(repair),
            self._recordings(repair),
            self._index(repair),
        ]

    def _database(self) -> Finding:
        wrong = self._store.database.check()
        return Finding("database", not wrong, "; ".join(wrong[:5]) or "Sound.")

    def _chapter_files(self, repair: bool) -> Finding:
        damaged = []
        rows = [row for row in self._store.chapters.all() if row.path]
        for row in rows:
            try:
                durable.read(self._files.folder / row.path, row.sha256)
            except StoreCorrupt:
                damaged.append(row)
                if repair:
                    self._detail.set_aside(row)
        aside = len(list(self._files.aside.glob("*"))) if self._files.aside.exists() else 0
        noted = f" {aside} damaged earlier lie in {self._files.aside}." if aside else ""
        if not damaged:
            return Finding("chapters", True, f"{len(rows)} files are what was written.{noted}")
        done = "set aside; their summaries still answer." if repair else "`--repair` sets them aside."
        return Finding("chapters", repair, f"{len(damaged)} of {len(rows)} files are damaged or missing: {done}{noted}")

    def _leftovers(self, repair: bool) -> Finding:
        expected = set(self._store.chapters.paths())
        count = self._files.sweep(expected) if repair else len(self._files.names() - expected)
        if not count:
            return Finding("leftovers", True, "None.")
        return Finding("leftovers", repair, f"{count} files that no row speaks of{' were removed' if repair else ''}.")

    def _counts(self, repair: bool) -> Finding:
        wrong = []
        for stream in self._store.streams.all():
            frames = int((~self._store.features.log(stream.id, thumbnails=False).sounds).sum())
            found = self._store.chapters.remembered(stream.id) + frames
            claimed = self._store.streams.frames(stream.id)
            if found != claimed:
                wrong.append(f"{stream.name}: {claimed} claimed, {found} found")
                if repair:
                    table = schema.streams
                    with self._store.database.write() as connection:
                        connection.execute(update(table).where(table.c.id == stream.id).values(frames=found))
        return Finding("frames", repair or not wrong, "; ".join(wrong) or "Slots and rows stand for every frame.")

    def _recordings(self, repair: bool) -> Finding:
        rows = [row for stream in self._store.streams.all() for row in self._store.timeline.segments(stream.id)]
        try:
            missing = self._all.audit(rows)
        except BlobsUnavailable as error:
            return Finding("recordings", False, str(error))
        held = [one for one in missing if self._store.holds.all(Scope((one.stream,), one.span))]
        if repair:
            with self._store.database.write() as connection:
                for segment in missing:
                    if segment.owned and segment not in held:
                        table = schema.segments
                        connection.execute(delete(table).where(table.c.key == segment.key))
        unread = [path for stream in self._store.streams.all() for path, _ in self._all.unreadable(stream.id)]
        noted = f" Nothing can be made of {len(unread)}, kept while held: {unread[0].parent}." if unread else ""
        if not missing:
            return Finding("recordings", True, f"Every recording is where it should be.{noted}")
        users = sum(not segment.owned for segment in missing)
        one = len(missing) == 1
        text = f"{len(missing)} {'recording is' if one else 'recordings are'} missing"
        text += ", now forgotten." if repair and not held else "."
        if held:
            text += f" Held as evidence, and not forgotten: {len(held)}. Is the disk there? Put them back."
        if users:
            text += f" Files of your own: {users}. Put them back, or remove their streams."
        return Finding("recordings", repair and not users and not held, text + noted)

    def _index(self, repair: bool) -> Finding:
        lacking, extra = self._indexing.missing()
        if not lacking and not extra:
            return Finding("index", True, f"Holds the {len(self._store.chapters.all())} chapters.")
        if repair:
            self._indexing.refresh()
            self._indexing.save()
        return Finding(
            "index", repair, f"Lacks {lacking} chapters and has {extra} too many{'; mended' if repair else ''}."
        )
