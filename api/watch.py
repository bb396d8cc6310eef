"""The watch stage: every rule against every feature as it comes, and against what is stored.

Live, after a restart and in a back-test the same `trigger.step` decides. Frames and speech of a stream are judged
apart: they arrive out of step with one another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Literal

import numpy as np

from api import trigger
from api.describe import describe
from api.telling import around, told
from api.trigger import Change, Sample, State
from ingest.bus import FEATURES
from ingest.errors import NotFound
from ingest.questions import Query, Rule, Scope
from ingest.records import Alert, Ended, Feature, Mark, Moment, Observation, Record, Span, StreamId
from memory.memory import Memory
from models.protocols import FrameEncoder

Origin = Literal["frame", "sound"]
TOLD = 3
"""Observations named in an explanation."""
REMEMBERED = 50
"""Observations kept of an event that is going on."""


@dataclass(slots=True)
class _Machine:
    """A rule on one stream's frames or speech."""

    state: State = field(default_factory=State)
    at: tuple[int, int] = (-1, -1)
    """Epoch and pts of the last feature judged: what comes again is ignored."""
    seen: dict[str, Observation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Armed:
    rule: Rule
    query: Query


class Watch:
    """The stage "watch"."""

    name = "watch"
    consumes = (FEATURES,)
    produces = None

    def __init__(self, memory: Memory, encoder: FrameEncoder) -> None:
        self._memory = memory
        self._encoder = encoder
        self._lock = threading.RLock()
        self._armed: list[_Armed] = []
        self._machines: dict[tuple[str, StreamId, Origin], _Machine] = {}

    # --- rules -------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Watch the stored rules that are enabled, from where each stands."""
        rules = [rule for rule in self._memory.store.rules.all() if rule.enabled]
        queries = self._encoder.encode_queries([rule.text for rule in rules]) if rules else []
        with self._lock:
            self._armed = [_armed(rule, query) for rule, query in zip(rules, queries, strict=True)]
            kept = {rule.id for rule in rules}
            self._machines = {key: machine for key, machine in self._machines.items() if key[0] in kept}

    def arm(self, rule: Rule) -> None:
        """Watch a new or changed rule from the present on, on every stream that has a past."""
        with self._lock:
            for row in self._memory.store.streams.all():
                mark = self._memory.store.streams.mark(row.id)
                if mark is not None:
                    self._memory.store.alerts.save_progress(rule.id, row.id, mark)
            self._machines = {key: machine for key, machine in self._machines.items() if key[0] != rule.id}
            self.reload()

    def catch_up(self) -> None:
        """Judge what was stored but not judged before the last stop."""
        for armed in self._armed:
            for row in self._memory.store.streams.all():
                mark = self._memory.store.streams.mark(row.id)
                if mark is not None and _watches(armed.rule, row.id):
                    self._catch_up(armed, row.id, mark)

    def test(self, rule: Rule, scope: Scope) -> list[Alert]:
        """The alerts that `rule` would have raised in `scope`, oldest first; nothing is kept."""
        [query] = self._encoder.encode_queries([rule.text])
        alerts: dict[str, Alert] = {}
        rule = _armed(rule, query).rule
        for stream in scope.streams:
            span = scope.span or self._memory.store.streams.extent(stream)
            if span is None:
                continue
            for origin, samples in self._stored(query, stream, span).items():
                state = State()
                for sample in samples:
                    state, changes = trigger.step(rule, state, sample)
                    for change in changes:
                        alert = self._alert(_Armed(rule, query), stream, change, origin, self._observed(stream, change))
                        alerts[alert.key] = alert
        return sorted(alerts.values(), key=lambda alert: alert.span.start)

    # --- the stage ---------------------------------------------------------------------------------------------

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Judge features in order; alerts are stored before the batch is acknowledged."""
        with self._lock:
            for armed in self._armed:
                self._judge(armed, batch)
        return ()

    def _judge(self, armed: _Armed, batch: Sequence[Record]) -> None:
        alerts: dict[str, Alert] = {}
        marks: dict[StreamId, Mark] = {}
        for record in batch:
            if isinstance(record, Ended):
                self._machine(armed.rule, record.stream, record.origin).state = State()
            if not isinstance(record, Feature) or not _watches(armed.rule, record.stream):
                continue
            for alert in self._alerts(armed, record):
                alerts[alert.key] = alert
            if record.origin == "frame":
                marks[record.stream] = Mark(record.epoch, record.pts, record.moment)
        try:
            for alert in alerts.values():
                self._memory.store.alerts.save(alert, told=bool(armed.rule.webhook))
            for stream, mark in marks.items():
                self._memory.store.alerts.save_progress(armed.rule.id, stream, mark)
        except NotFound:  # the rule or the stream was removed meanwhile
            return

    def _alerts(self, armed: _Armed, feature: Feature) -> Iterator[Alert]:
        machine = self._machine(armed.rule, feature.stream, feature.origin)
        if (feature.epoch, feature.pts) <= machine.at:
            return
        machine.at = (feature.epoch, feature.pts)
        probability = float(armed.query.probability(np.atleast_1d(feature.vector @ armed.query.vector))[0])
        machine.state, changes = trigger.step(armed.rule, machine.state, Sample(feature.span, probability))
        if machine.state.phase == "idle" and not changes:
            machine.seen.clear()
        elif len(machine.seen) < REMEMBERED:
            machine.seen |= {seen.key: seen for seen in feature.observations}
        for change in changes:
            if change.what != "ended":  # it was stored as it grew
                observed = [seen for seen in machine.seen.values() if seen.label and seen.span.overlaps(change.span)]
                yield self._alert(armed, feature.stream, change, feature.origin, observed)

    def _machine(self, rule: Rule, stream: StreamId, origin: Origin) -> _Machine:
        key = (rule.id, stream, origin)
        if key not in self._machines:
            self._machines[key] = self._resumed(rule, stream, origin)
        return self._machines[key]

    def _resumed(self, rule: Rule, stream: StreamId, origin: Origin) -> _Machine:
        """Where the rule stood when the service stopped."""
        mark = self._memory.store.alerts.watermark(rule.id, stream)
        if mark is None or origin == "sound":
            return _Machine()
        judged = Scope((stream,), Span(Moment(0), Moment(mark.moment + 1)))  # one told by a clock put back lies behind
        last = self._memory.store.alerts.list(scope=judged, rule=rule.id, limit=1)
        if not last:
            return _Machine(at=(mark.epoch, mark.pts))
        state = trigger.resume(rule, last[0], mark.moment)
        return _Machine(state, (mark.epoch, mark.pts))

    # --- what is stored ----------------------------------------------------------------------------------------

    def _catch_up(self, armed: _Armed, stream: StreamId, mark: Mark) -> None:
        store = self._memory.store
        done = store.alerts.watermark(armed.rule.id, stream)
        if done is not None and (done.epoch, done.pts) >= (mark.epoch, mark.pts):
            return
        machine = self._machine(armed.rule, stream, "frame")
        alerts: dict[str, Alert] = {}
        for sample in self._unjudged(armed.query, stream, done, mark):
            machine.state, changes = trigger.step(armed.rule, machine.state, sample)
            for change in changes:
                alert = self._alert(armed, stream, change, "frame", self._observed(stream, change))
                alerts[alert.key] = alert
        machine.at = (mark.epoch, mark.pts)
        for alert in alerts.values():
            store.alerts.save(alert, told=bool(armed.rule.webhook))
        store.alerts.save_progress(armed.rule.id, stream, mark)

    def _unjudged(self, query: Query, stream: StreamId, done: Mark | None, mark: Mark) -> list[Sample]:
        """Samples of the pictures stored behind `done`, up to `mark`, which an epoch that began earlier may hold."""
        store = self._memory.store
        extent = store.streams.extent(stream)
        begin = done.moment + 1 if done else (extent.start if extent else mark.moment)
        behind = store.timeline.behind(stream, done) if done else ()
        until_mark = Span(Moment(min(begin, mark.moment)), Moment(mark.moment + 1))
        return self._stored(query, stream, reduce(Span.hull, behind, until_mark), done)["frame"]

    def _stored(
        self, query: Query, stream: StreamId, span: Span, done: Mark | None = None
    ) -> dict[Origin, list[Sample]]:
        """Samples of the stored features, of pictures those behind `done`, in the order in which they came."""
        block = self._memory.recall.replay(stream, span)
        samples: dict[Origin, list[Sample]] = {"frame": [], "sound": []}
        if not len(block.starts):
            return samples
        probabilities = query.probability(block.vectors @ query.vector)
        judged = (-1, -1) if done is None else (done.epoch, done.pts)
        places = zip(block.origins, block.epochs.tolist(), block.pts.tolist(), strict=True)
        times = zip(block.starts.tolist(), block.ends.tolist(), probabilities.tolist(), strict=True)
        for (origin, *at), (start, end, probability) in zip(places, times, strict=True):
            if origin == "sound" or tuple(at) > judged:
                samples[origin].append(Sample(Span(Moment(start), Moment(end)), probability))
        return samples

    def _observed(self, stream: StreamId, change: Change) -> Sequence[Observation]:
        return self._memory.store.timeline.observations(Scope((stream,), change.span), limit=REMEMBERED)

    # --- why ---------------------------------------------------------------------------------------------------

    def _alert(
        self, armed: _Armed, stream: StreamId, change: Change, origin: Origin, observed: Sequence[Observation]
    ) -> Alert:
        near = around(self._memory.store, stream, change.span)
        why = explain(armed.rule, change, told(observed, change.span, near, asked=armed.rule.text))
        return Alert(armed.rule.id, stream, change.span, change.score, change.peak, why)


def explain(rule: Rule, change: Change, observed: Sequence[Observation]) -> str:
    """What was seen, and how sure."""
    seen = "; ".join(list(dict.fromkeys(describe(one) for one in observed))[:TOLD])
    sure = f"“{rule.text}” with probability {change.score:.2f}, threshold {rule.threshold:.2f}"
    held = f", for {rule.hold_us / 1e6:g} s" if rule.hold_us else ""
    return f"{sure}{held}. Seen: {seen}." if seen else f"{sure}{held}."


def _armed(rule: Rule, query: Query) -> _Armed:
    """A rule whose words say how long it must last holds for at least that long."""
    return _Armed(replace(rule, hold_us=max(rule.hold_us, query.lasting)), query)


def _watches(rule: Rule, stream: StreamId) -> bool:
    return not rule.streams or stream in rule.streams
