"""Uploads: large files in pieces, straight to disk; an interrupted one continues where it stopped."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from api.schemas import StreamIn, StreamOut, UploadComplete, UploadIn, UploadOut
from api.settings import Settings
from api.streams import Streams, checked_name
from ingest.captions import LARGEST, MOST_TRACKS, is_timed, language_of, neighbours
from ingest.clock import Clock
from ingest.errors import Conflict, Invalid, NotFound, Poison, StorageFull, TooLarge
from ingest.records import seconds
from memory import durable
from memory.store import no_probe

RESERVE = 256 * 1024 * 1024
"""Bytes of disk that an upload may not take."""
ABANDONED = seconds(24 * 3600)
_ID = re.compile(r"u[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class _Upload:
    folder: Path
    filename: str
    size: int
    mark: str

    @property
    def file(self) -> Path:
        return self.folder / self.filename

    @property
    def received(self) -> int:
        return self.file.stat().st_size

    def shown(self) -> UploadOut:
        return UploadOut(
            id=self.folder.name,
            filename=self.filename,
            size=self.size,
            received=self.received,
            mark=self.mark,
            subtitles=[path.name for path in neighbours(self.file) if path != self.file],
        )


class Uploads:
    """Each upload is a folder with the file so far and a note of its announced size."""

    def __init__(self, streams: Streams, clock: Clock, settings: Settings) -> None:
        self._streams = streams
        self._clock = clock
        self._folder = settings.folder / "uploads"
        self._limit = round(settings.upload_limit_gb * 1e9)
        self._writing: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, request: UploadIn) -> UploadOut:
        if request.size > self._limit:
            raise TooLarge(f"The file has {request.size} bytes, the limit is {self._limit}.", advice="Cut it in parts.")
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free - RESERVE < request.size:
            raise StorageFull("The disk of the service has no room for this file.", advice="Free some space.")
        folder, filename = self._folder / f"u{secrets.token_hex(8)}", safe_filename(request.filename)
        upload = _Upload(folder, filename, request.size, request.mark)
        upload.folder.mkdir()
        about = {"filename": upload.filename, "size": upload.size, "mark": upload.mark}
        (upload.folder / "upload.json").write_text(json.dumps(about))
        upload.file.touch()
        return upload.shown()

    def get(self, identity: str) -> UploadOut:
        return self._get(identity).shown()

    def unfinished(self) -> list[UploadOut]:
        """Those that are no stream, oldest first: each goes on at the offset of what was received."""
        found = [self._get(note.parent.name) for note in self._folder.glob("u*/upload.json")]
        found = [upload for upload in found if upload.file.exists() and not self._streams.has(str(upload.file))]
        return [upload.shown() for upload in sorted(found, key=lambda one: one.folder.stat().st_ctime_ns)]

    def abandon(self, identity: str) -> None:
        """Deletes what has come of it. Raises `Conflict` while it is written to, and once it is a stream."""
        upload = self._get(identity)
        self._claim(identity)
        try:
            if self._streams.has(str(upload.file)):
                raise Conflict("This upload is a stream already.", advice="Remove the stream, and its file goes too.")
            shutil.rmtree(upload.folder, ignore_errors=True)
        finally:
            self._writing.discard(identity)

    async def receive(self, identity: str, offset: int, pieces: AsyncIterator[bytes]) -> UploadOut:
        """Appends what arrives at `offset`, which must be where the file ends. A failed write leaves what was there."""
        upload = self._get(identity)
        self._claim(identity)
        try:
            received = upload.received
            if offset != received:
                raise Conflict(
                    f"The file has {received} bytes, not {offset}.", advice=f"Continue at offset {received}."
                )
            async with await anyio.open_file(upload.file, "ab") as file:
                async for piece in pieces:
                    received += len(piece)
                    if received > upload.size:
                        raise TooLarge(
                            f"More than the announced {upload.size} bytes came; nothing of this piece is kept.",
                            advice=f"Continue at offset {offset}, or begin a new upload if the file has grown.",
                        )
                    await file.write(piece)
                await file.flush()
                await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
        except TooLarge:
            os.truncate(upload.file, offset)
            raise
        except OSError as error:
            os.truncate(upload.file, offset)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise StorageFull("The disk of the service is full.", advice="Free some space and continue.") from error
        finally:
            self._writing.discard(identity)
        return upload.shown()

    async def subtitles(self, identity: str, filename: str, pieces: AsyncIterator[bytes]) -> UploadOut:
        """Puts a subtitle file beside the film, whole or not at all: the decoder reads it from there like any other."""
        upload = self._get(identity)
        path = upload.folder / _subtitle_name(filename, upload)
        self._claim(identity)
        try:
            self._still_open(upload)
            if len({*upload.shown().subtitles, path.name}) > MOST_TRACKS:
                raise Conflict(f"The film has {MOST_TRACKS} subtitle files already.", advice="Leave some of them out.")
            data = bytearray()
            async for piece in pieces:
                data += piece
                if len(data) > LARGEST:
                    raise TooLarge(
                        f"Subtitles have at most {LARGEST >> 20} MB.", advice="Is it a subtitle file at all?"
                    )
            if not await anyio.to_thread.run_sync(is_timed, bytes(data)):
                raise Invalid(f"There is no line with times in {path.name}.", advice="Send SubRip or WebVTT.")
            await anyio.to_thread.run_sync(durable.write, path, bytes(data), no_probe)
        finally:
            self._writing.discard(identity)
        return upload.shown()

    def complete(self, identity: str, request: UploadComplete) -> StreamOut:
        """Becomes a stream, or, when it is no video, is thrown away."""
        upload = self._get(identity)
        if upload.received != upload.size:
            raise Conflict(
                f"{upload.received} of {upload.size} bytes have arrived.", advice=f"Continue at {upload.received}."
            )
        name = checked_name(request.name)
        self._claim(identity)
        try:
            self._still_open(upload)
            return self._streams.add(
                StreamIn(name=name, source=str(upload.file), starts_at=request.starts_at, **request.handling)
            )
        except Poison:
            shutil.rmtree(upload.folder, ignore_errors=True)
            raise
        finally:
            self._writing.discard(identity)

    def discard(self, source: str) -> bool:
        """Deletes the uploaded file that a stream came from; False when it was somebody's own file."""
        folder = Path(source).parent
        if folder.parent != self._folder or not _ID.fullmatch(folder.name):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True

    def sweep(self, sources: set[str]) -> None:
        """Deletes uploads that nobody continued for a day and that are no stream. Only when the clock is trusted."""
        for folder in self._folder.glob("u*"):
            age = self._clock.now() - seconds(max(path.stat().st_mtime for path in (folder, *folder.iterdir())))
            if age > ABANDONED and not any(Path(source).parent == folder for source in sources):
                shutil.rmtree(folder, ignore_errors=True)

    def _still_open(self, upload: _Upload) -> None:
        if self._streams.has(str(upload.file)):
            raise Conflict("This upload is a stream already.", advice="Upload the file again for another one.")

    def _claim(self, identity: str) -> None:
        with self._lock:
            if identity in self._writing:
                raise Conflict("Another request is writing to this upload.", advice="Send one piece at a time.")
            self._writing.add(identity)

    def _get(self, identity: str) -> _Upload:
        folder = self._folder / identity
        try:
            if not _ID.fullmatch(identity):
                raise FileNotFoundError(identity)
            about = json.loads((folder / "upload.json").read_text())
        except FileNotFoundError as error:
            raise NotFound(f"There is no upload {identity[:40]}.", advice="Begin a new one.") from error
        return _Upload(folder, about["filename"], about["size"], about.get("mark", ""))


def _subtitle_name(filename: str, upload: _Upload) -> str:
    """Made of the film's own name and of what such names may end in: nothing that a path could be made of."""
    name = re.split(r"[\\/]", filename)[-1]
    if language_of(Path(name), upload.file) is None or name == upload.filename:
        raise Invalid(
            f'"{name[:80]}" is not called like subtitles of this film.',
            advice=f"Call it {upload.file.stem}.srt or, with its language, {upload.file.stem}.de.srt; or .vtt.",
        )
    return name


def safe_filename(name: str) -> str:
    """The last part of what the browser said, with nothing that a path could be made of."""
    last = re.split(r"[\\/]", name)[-1]
    cleaned = re.sub(r"[^\w.\- ]", "_", last).strip(". ").encode()[-120:].decode(errors="ignore").strip(". ")
    if not cleaned:
        raise Invalid(f'"{name[:80]}" cannot be a file name.', advice="Use letters, digits and a suffix such as .mp4.")
    return cleaned if cleaned != "upload.json" else "upload.mp4"
