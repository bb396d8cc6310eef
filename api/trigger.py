"""When a rule fires: a pure state machine over samples of probability, used by the live watch and by back-tests.

Schmitt trigger with a minimum duration: idle → (probability ≥ threshold) pending → (for `hold_us`) firing →
(probability < release, or no sample for `MAX_SILENCE`) resting for `cooldown_us` → idle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Literal

from api.times import local, zone_named
from ingest.questions import Rule, Schedule
from ingest.records import Alert, Moment, Span, seconds

MAX_SILENCE = seconds(10)
"""Samples further apart than this are not one event: what lies between was not seen."""


_NOWHERE = Span(Moment(0), Moment(0))


@dataclass(frozen=True, slots=True)
class Sample:
    """The probability that a rule's words are true over `span`."""

    span: Span
    probability: float


@dataclass(frozen=True, slots=True)
class State:
    """Where a rule stands on one stream. `span`, `score` and `peak` describe the event while pending or firing."""

    phase: Literal["idle", "pending", "firing"] = "idle"
    span: Span = _NOWHERE
    score: float = 0.0
    peak: Moment = _NOWHERE.start
    rests_until: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What a step did to the event: it `began` (fires now), `grew`, or `ended`."""

    what: Literal["began", "grew", "ended"]
    span: Span
    score: float
    peak: Moment


def step(rule: Rule, state: State, sample: Sample) -> tuple[State, tuple[Change, ...]]:
    """The next state after one sample, in time order, and what that did. Where a clock was put back, so is time: an
    event that began later is over then, and so is the rest after one that ended later."""
    before: tuple[Change, ...] = ()
    start = sample.span.start
    if state.phase != "idle" and (start < state.span.start or start - state.span.end > MAX_SILENCE):
        state, before = _end(rule, state)
    if start < state.rests_until - rule.cooldown_us - MAX_SILENCE:
        state = replace(state, rests_until=0)
    firing = state.phase == "firing"
    least = rule.release if firing else rule.threshold
    if sample.probability < least or not armed(rule.schedule, start):
        state, after = _end(rule, state)
        return state, before + after
    if not firing and start < state.rests_until:
        return replace(state, phase="idle"), before
    state = _grow(state, sample)
    if firing:
        return state, (*before, _change("grew", state))
    if state.span.duration >= rule.hold_us:
        state = replace(state, phase="firing")
        return state, (*before, _change("began", state))
    return state, before


def resume(rule: Rule, last: Alert, mark: Moment) -> State:
    """The state at `mark` after a restart, from the last alert that was stored."""
    if last.span.end > mark:  # its last sample reaches over the mark: still going on
        return State("firing", last.span, last.score, last.peak)
    return State(rests_until=last.span.end + rule.cooldown_us)


def armed(schedule: Schedule, moment: int) -> bool:
    """Whether `moment` is within the schedule, in its own time zone. A night shift belongs to the day it began."""
    stamp = local(moment, _zone(schedule.timezone))
    minute = stamp.hour * 60 + stamp.minute
    start, end = schedule.start_minute, schedule.end_minute
    if start <= end:
        return stamp.isoweekday() in schedule.days and start <= minute < end
    if minute >= start:
        return stamp.isoweekday() in schedule.days
    return minute < end and (stamp - timedelta(days=1)).isoweekday() in schedule.days


_zone = lru_cache(maxsize=64)(zone_named)


def _grow(state: State, sample: Sample) -> State:
    if state.phase == "idle":
        return State("pending", sample.span, sample.probability, sample.span.start, state.rests_until)
    best = sample.probability > state.score
    return replace(
        state,
        span=state.span.hull(sample.span),
        score=sample.probability if best else state.score,
        peak=sample.span.start if best else state.peak,
    )


def _end(rule: Rule, state: State) -> tuple[State, tuple[Change, ...]]:
    if state.phase != "firing":
        return State(rests_until=state.rests_until), ()
    return State(rests_until=state.span.end + rule.cooldown_us), (_change("ended", state),)


def _change(what: Literal["began", "grew", "ended"], state: State) -> Change:
    return Change(what, state.span, state.score, state.peak)
