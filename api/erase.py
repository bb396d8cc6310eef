"""Erasing: a stretch of a stream, or all of it, everywhere it left a trace."""

from __future__ import annotations

from contextlib import nullcontext

from api.footage import Footage
from api.schemas import EraseIn, EraseOut
from api.scope import Scopes
from api.streams import Streams
from api.uploads import Uploads
from api.views import Views
from ingest.records import Span
from memory.memory import Memory
from memory.store import StreamRow

_WRITTEN = (
    "The last seconds are in a recording that is still being written. Nobody is shown them; they go when it is whole, "
    "unless it is held as evidence by then."
)


class Eraser:
    """The one way to forget: memory, recordings, cached clips, uploads."""

    def __init__(
        self, memory: Memory, streams: Streams, footage: Footage, uploads: Uploads, scopes: Scopes, views: Views
    ) -> None:
        self._memory = memory
        self._streams = streams
        self._footage = footage
        self._uploads = uploads
        self._scopes = scopes
        self._views = views

    def erase(self, request: EraseIn) -> EraseOut:
        """Without times the whole stream goes, and with it the stream itself."""
        row = self._memory.store.streams.get(request.stream)
        span = self._scopes.span(request.start, request.end, row)
        return self._erase(row, span, request.force)

    def remove(self, id_or_name: str, *, force: bool = False) -> EraseOut:
        return self._erase(self._memory.store.streams.get(id_or_name), None, force)

    def _erase(self, row: StreamRow, span: Span | None, force: bool) -> EraseOut:
        if not force:
            self._memory.refuse_held(row.id, span)
        shown = self._views.span(span, row) if span else None
        with self._streams.leaving(row.id) if span is None else nullcontext():
            receipt = self._memory.erase(row.id, span, force=force)
        removed = {**receipt.removed, "clips": self._footage.forget(row.id, span)}
        if span is None and self._uploads.discard(row.source):
            removed["uploads"] = 1
        verified = (*receipt.verified_gone, *self._gone(row, span))
        note = "" if "recordings" in verified else _WRITTEN
        return EraseOut(stream=row.name, span=shown, removed=removed, verified_gone=list(verified), note=note)

    def _gone(self, row: StreamRow, span: Span | None) -> tuple[str, ...]:
        """Looked for again, after everything else."""
        return () if self._footage.forget(row.id, span) else ("clips",)
