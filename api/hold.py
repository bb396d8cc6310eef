"""Holding evidence: what a person keeps from going, whatever its age and whatever the budget."""

from __future__ import annotations

from api.schemas import HoldIn, HoldOut
from api.scope import Scopes
from api.times import utc
from api.views import Views
from ingest.errors import Invalid
from memory.memory import Memory
from memory.store.holds import ALWAYS
from memory.store.rows import Hold


class Holding:
    """Holds in the terms of the HTTP interface."""

    def __init__(self, memory: Memory, scopes: Scopes, views: Views) -> None:
        self._memory, self._store = memory, memory.store
        self._scopes = scopes
        self._views = views

    def place(self, request: HoldIn) -> HoldOut:
        """From now on; what is gone already is not brought back."""
        row = self._store.streams.get(request.stream)
        span = self._scopes.span(request.start, request.end, row) or ALWAYS
        if not span.duration:
            raise Invalid("Nothing would be held.", advice="Give an end after the start.")
        return self._shown(self._memory.hold(row.id, span, request.reason.strip()))

    def all(self) -> list[HoldOut]:
        return [self._shown(hold) for hold in self._store.holds.all()]

    def release(self, identity: int) -> None:
        """Raises `NotFound`."""
        self._store.holds.release(identity)

    def _shown(self, hold: Hold) -> HoldOut:
        row = self._store.streams.get(hold.stream)
        span = None if hold.span == ALWAYS else self._views.span(hold.span, row)
        return HoldOut(
            id=hold.id, stream=row.id, stream_name=row.name, span=span, reason=hold.reason, placed=utc(hold.placed)
        )
