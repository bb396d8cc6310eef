"""The lookout stage: raises an alert when a stream is blind for longer than it may be.

It reads the journal like everyone else, so that an alert has the very span and reason that the timeline shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from api.settings import Settings
from ingest.bus import JOURNAL
from ingest.clock import Clock
from ingest.errors import NotFound
from ingest.reasons import PARTLY, UNSEEING, GapReason
from ingest.records import Alert, Gap, Record, seconds
from memory.store import Store

RULE: Final = "blindness"
"""What such alerts have for a rule."""
_UNWANTED: Final[frozenset[GapReason]] = frozenset({"offline", "stalled", "service stopped", *UNSEEING, *PARTLY})
"""Reasons that nobody chose, and that cost pictures. A jump of a clock costs none: time was skipped, nothing else."""


class Lookout:
    """A `Stage`. Off unless a time is set."""

    name = "lookout"
    consumes: tuple[str, ...] = (JOURNAL,)
    produces: str | None = None

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self._store, self._clock = store, clock
        self._after_us = None if settings.blind_alert_s is None else seconds(settings.blind_alert_s)
        self._told = bool(settings.blind_webhook.get_secret_value())

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        for record in batch:
            if isinstance(record, Gap):
                self._judge(record)
        return ()

    def _judge(self, gap: Gap) -> None:
        after = self._after_us
        if after is None or gap.reason not in _UNWANTED or gap.span.duration < after:
            return
        try:
            name = self._store.streams.get(gap.stream).name
        except NotFound:  # removed meanwhile
            return
        alert = Alert(RULE, gap.stream, gap.span, 1.0, gap.span.start, told(name, gap))
        self._store.alerts.save(alert, told=self._told, due=self._clock.now())


def told(name: str, gap: Gap) -> str:
    """The alert in words: "door-cam sees nothing: offline. The camera does not answer." """
    sees = "is only partly looked at" if gap.reason in PARTLY else "sees nothing"
    return f"{name} {sees}: {gap.reason}. {gap.detail}".rstrip()
