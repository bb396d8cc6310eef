"""Everything about one stream between two moments, for drawing it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from api.rules import Rules
from api.schemas import AlertOut, TimelineOut
from api.scope import Scopes, extent
from api.views import Views
from ingest.questions import Scope
from ingest.records import Moment, Span
from memory.store import Store, StreamRow

OBSERVATIONS = 2000
ALERTS = 500
STRETCHES = 500
"""Of those watched and of those not: more than can be told apart where they are drawn."""


class Timelines:
    """Stretches of a stream as the page draws them, and the alerts on it."""

    def __init__(self, store: Store, rules: Rules, scopes: Scopes, views: Views) -> None:
        self._store = store
        self._rules = rules
        self._scopes = scopes
        self._views = views

    def timeline(self, stream: str, start: str | None, end: str | None) -> TimelineOut:
        row = self._store.streams.get(stream)
        span = self._asked(row, start, end)
        scope = Scope((row.id,), span)
        seen = self._store.timeline.observations(scope, limit=OBSERVATIONS + 1)
        drawn = self._drawn(row, span)
        return drawn.model_copy(
            update={
                "observations": [self._views.observation(observation, row) for observation in seen[:OBSERVATIONS]],
                "alerts": self.alerts(scope, limit=ALERTS),
                "truncated": drawn.truncated or len(seen) > OBSERVATIONS,
            }
        )

    def coverage(self, stream: str, start: str | None, end: str | None) -> TimelineOut:
        """Only when we were watching and when not."""
        row = self._store.streams.get(stream)
        return self._drawn(row, self._asked(row, start, end))

    def alerts(self, scope: Scope, *, rule: str = "", limit: int = 100) -> list[AlertOut]:
        """Newest first."""
        names = self._rules.names()
        wanted = self._store.rules.get(rule).id if rule else ""
        found = self._store.alerts.list(scope=scope, rule=wanted, limit=limit)
        return [self._views.alert(alert, names.get(alert.rule, alert.rule)) for alert in found]

    def changes(self, sequence: int, limit: int = 100) -> list[tuple[int, AlertOut]]:
        """Alerts that are new or grew since `sequence`, in order."""
        names = self._rules.names()
        since = self._store.alerts.since(sequence, limit)
        return [(number, self._views.alert(alert, names.get(alert.rule, alert.rule))) for number, alert in since]

    def newest(self) -> int:
        """The number of the latest change of any alert."""
        return int(self._store.facts.get("alerts") or 0)

    def _asked(self, row: StreamRow, start: str | None, end: str | None) -> Span:
        known = self._store.streams.told(row.id) if row.kind == "live" else extent(self._store, row)
        whole = known or Span(row.added, row.added)
        asked = self._scopes.span(start, end, row) or whole
        return Span(max(asked.start, min(whole.start, asked.end)), Moment(asked.end))

    def _drawn(self, row: StreamRow, span: Span) -> TimelineOut:
        covered = self._store.timeline.coverage(row.id, span)
        unseen = self._views.blind(self._store.timeline.gaps(row.id, span), STRETCHES)
        return TimelineOut(
            stream=row.name,
            span=self._views.span(span, row),
            covered=[self._views.span(stretch, row) for stretch in fewer(covered, STRETCHES)],
            gaps=unseen.gaps,
            more_gaps=unseen.more,
            observations=[],
            alerts=[],
            truncated=unseen.more > 0 or len(covered) > STRETCHES,
        )


def fewer(spans: Sequence[Span], most: int) -> list[Span]:
    """At most so many, for spans in order of time: those with the least between them are one."""
    between = [(other.start - one.end, at) for at, (one, other) in enumerate(pairwise(spans), start=1)]
    begins = {0, *(at for _, at in sorted(between, reverse=True)[: most - 1])}
    joined: list[Span] = []
    for at, span in enumerate(spans):
        joined.append(span if at in begins else joined.pop().hull(span))
    return joined
