"""Times, things and lists in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from ingest.questions import Evidence
from ingest.reasons import by_kind
from ingest.records import MICROSECONDS, Gap, Moment, Observation, Span, StreamId

_UNCOUNTED: Final = ("furniture", "food", "wildlife")


class Teller:
    """Tells the times and citations of one body of evidence."""

    def __init__(self, evidence: Evidence, zone: str = "UTC") -> None:
        """`zone` is the name of the time zone that live times are told in."""
        self._zone = ZoneInfo(zone)
        self._origins = dict(evidence.origins)
        self._names = dict(evidence.names)
        self._exhibits = evidence.exhibits
        streams = {stream for stream, _ in evidence.searched} | {one.hit.stream for one in evidence.exhibits}
        self._several = len(streams | {one.stream for one in evidence.observations}) > 1

    def name(self, stream: StreamId) -> str:
        """What people call a stream."""
        return self._names.get(stream, stream)

    def where(self, stream: StreamId) -> str:
        """ " on door-cam", where several streams are in question."""
        return f" on {self.name(stream)}" if self._several else ""

    def moment(self, stream: StreamId, moment: int) -> str:
        """On the stream's own clock: the offset into a file, else the time of day."""
        if stream in self._origins:
            elapsed = max(0, moment - self._origins[stream]) // MICROSECONDS
            return f"{elapsed // 3600:02d}:{elapsed // 60 % 60:02d}:{elapsed % 60:02d}"
        return datetime.fromtimestamp(moment // MICROSECONDS, self._zone).strftime("%Y-%m-%d %H:%M:%S %Z")

    def span(self, stream: StreamId, span: Span) -> str:
        start, end = self.moment(stream, span.start), self.moment(stream, span.end)
        if start == end:
            return start
        if stream not in self._origins and start[:10] == end[:10]:
            start, end = start.rpartition(" ")[0], end[11:]
        return f"{start}–{end}"

    def at(self, observation: Observation) -> str:
        """When, where if several streams are in question, and the exhibits that show it."""
        stream, span = observation.stream, observation.span
        return f"{self.span(stream, span)}{self.where(stream)}{self.cite(stream, span)}"

    def cite(self, stream: StreamId, span: Span) -> str:
        """The exhibit that shows it most closely, as " [2]"; nothing when none does. One that shows much else beside
        it would send a reader to another moment."""
        shared = [
            (common.duration / max(exhibit.hit.span.hull(span).duration, 1), -exhibit.number)
            for exhibit in self._exhibits
            if exhibit.hit.stream == stream and (common := exhibit.hit.span.intersection(span)) is not None
        ]
        return f" [{-max(shared)[1]}]" if shared else ""

    def blind(self, evidence: Evidence, limit: int) -> tuple[list[str], ...]:
        """When no pictures came, those that came showed nothing, were not all looked at, their sound was lost, or
        they may have been earlier: the `limit` longest of each, and how many more there were."""
        tell = (self._gap, self._unseeing, self._gap, self._gap, self._gap)
        return tuple(map(self._longest, by_kind(evidence.gaps), [limit] * len(tell), tell))

    def _longest(self, gaps: Sequence[Gap], limit: int, tell: Callable[[Gap], str]) -> list[str]:
        longest = sorted(range(len(gaps)), key=lambda at: -gaps[at].span.duration)[:limit]
        more = [f"and {len(gaps) - limit} more times"] if len(gaps) > limit else []
        return [tell(gaps[at]) for at in sorted(longest)] + more

    def _gap(self, gap: Gap) -> str:
        return f"{self.span(gap.stream, gap.span)}{self.where(gap.stream)} ({gap.reason})"

    def _unseeing(self, gap: Gap) -> str:
        """ "frozen 14:00:00–14:10:00"."""
        return f"{gap.reason} {self.span(gap.stream, gap.span)}{self.where(gap.stream)}"

    def searched(self, evidence: Evidence) -> str:
        return join([f"{self.name(stream)}, {self.span(stream, span)}" for stream, span in evidence.searched])


def thing(observation: Observation) -> str:
    """ "something red", "a red car"; of an event, what did it."""
    name = observation.label if observation.kind == "thing" else observation.text
    if name in ("something", ""):
        return f"something {observation.colour}".strip()
    return a(f"{observation.colour} {name}".strip())


def a(words: str) -> str:
    """With its article: "an orange cat", "some food"."""
    if words.rpartition(" ")[2] in _UNCOUNTED:
        return f"some {words}"
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def join(parts: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def some(parts: Sequence[str], limit: int) -> str:
    """The first `limit` of `parts`, and how many more there are."""
    if len(parts) <= limit:
        return "; ".join(parts)
    return f"{'; '.join(parts[:limit])}; and {len(parts) - limit} more"


def duration(microseconds: int) -> str:
    """ "4 seconds", "2 min 5 s"."""
    total = max(1, round(microseconds / MICROSECONDS))
    if total < 60:
        return f"{total} second{'s' if total != 1 else ''}"
    return f"{total // 60} min {total % 60} s" if total < 3600 else f"{total // 3600} h {total % 3600 // 60} min"


def at_once(spans: Sequence[Span], within: Span) -> list[tuple[int, Span]]:
    """How many of `spans` go on at the same time, stretch by stretch within `within`."""
    edges = sorted({within.start, within.end, *(edge for span in spans for edge in (span.start, span.end))})
    edges = [edge for edge in edges if within.start <= edge <= within.end]
    stretches = [Span(start, end) for start, end in pairwise(edges)]
    return [(sum(span.overlaps(stretch) for span in spans), stretch) for stretch in stretches]


def merged(spans: Sequence[Span], within_us: int = MICROSECONDS) -> list[Span]:
    """`spans` in order of time, those less than `within_us` apart joined."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end + within_us:
            joined[-1] = joined[-1].hull(span)
        else:
            joined.append(Span(Moment(span.start), Moment(span.end)))
    return joined
