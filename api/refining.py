"""Start and end of an event, asked of a system that can look: recall proposes, the system refines, evidence bounds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ingest.clock import Clock
from ingest.errors import HindsightError
from ingest.questions import Evidence, Exhibit, Hit
from ingest.records import Moment
from models.protocols import Grounder, VideoSystem

BUDGET_S = 30.0
"""No proposal is looked at after so long; a first look may still take its time."""

_log = logging.getLogger(__name__)


class Refiner:
    """Narrows proposals with a `Grounder`; with any other system they stay as they are."""

    def __init__(self, system: VideoSystem, clock: Clock) -> None:
        self._grounder = system if isinstance(system, Grounder) else None
        self._clock = clock

    def evidence(self, event: str, evidence: Evidence) -> Evidence:
        """Best first, as they come: exhibits with the start and end of `event`, where something was seen of it."""
        if self._grounder is None or not event:
            return evidence
        return replace(evidence, exhibits=tuple(self._refined(event, evidence.exhibits)))

    def _refined(self, event: str, exhibits: Sequence[Exhibit]) -> list[Exhibit]:
        end = self._clock.monotonic() + BUDGET_S
        refined = list(exhibits)
        for index, exhibit in enumerate(exhibits):
            if self._clock.monotonic() > end:
                break
            try:
                refined[index] = replace(exhibit, hit=self._narrowed(event, exhibit))
            except HindsightError as error:
                _log.warning("proposals stay as recall made them: %s", error)
                break
        return refined

    def _narrowed(self, event: str, exhibit: Exhibit) -> Hit:
        """What the system says, and nothing of it that lies outside; "never" and nonsense leave the proposal."""
        assert self._grounder is not None
        hit = exhibit.hit
        said = self._grounder.ground(event, Evidence((exhibit,)))
        inside = [common for span in said if (common := span.intersection(hit.span))]
        if not inside:
            return hit
        span = inside[0]
        for more in inside[1:]:
            span = span.hull(more)
        return replace(hit, span=span, peak=Moment(min(max(hit.peak, span.start), span.end - 1)))
