"""The rule machine against hand-made histories, and against a slow reading of its definition."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.trigger import Change, Sample, State, armed, resume, step
from ingest.questions import Rule, Schedule
from ingest.records import Alert, Moment, Span, StreamId, seconds

START = seconds(datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp())


def rule(**changes: object) -> Rule:
    base: dict[str, object] = {"id": "r", "name": "r", "text": "red", "threshold": 0.6, "release": 0.4}
    return Rule(**{**base, "cooldown_us": 0, **changes})  # type: ignore[arg-type]  # keywords of Rule


def samples(values: list[float], step_s: float = 1.0) -> list[Sample]:
    return [
        Sample(Span(Moment(START + seconds(i * step_s)), Moment(START + seconds((i + 1) * step_s))), value)
        for i, value in enumerate(values)
    ]


def run(rule: Rule, history: list[Sample], state: State | None = None) -> list[Change]:
    state, changes = state or State(), []
    for sample in history:
        state, made = step(rule, state, sample)
        changes += made
    return changes


def told(changes: list[Change]) -> list[tuple[str, float, float]]:
    return [(c.what, (c.span.start - START) / 1e6, (c.span.end - START) / 1e6) for c in changes]


def test_fires_at_the_threshold_and_ends_below_the_release() -> None:
    changes = run(rule(), samples([0.1, 0.59, 0.6, 0.5, 0.4, 0.39, 0.5]))
    assert told(changes) == [("began", 2, 3), ("grew", 2, 4), ("grew", 2, 5), ("ended", 2, 5)]


def test_score_and_peak_are_of_the_best_moment() -> None:
    last = run(rule(), samples([0.7, 0.9, 0.8, 0.0]))[-1]
    assert (last.score, last.peak) == (0.9, START + seconds(1))


def test_hold_wants_it_to_last() -> None:
    held = rule(hold_us=seconds(3))
    assert told(run(held, samples([0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9]))) == [("began", 3, 6), ("grew", 3, 7)]


def test_while_pending_the_threshold_counts_not_the_release() -> None:
    assert run(rule(hold_us=seconds(3)), samples([0.9, 0.5, 0.9, 0.5, 0.9])) == []


def test_cooldown_rests_after_the_end() -> None:
    resting = rule(cooldown_us=seconds(3))
    values = [0.9, 0.0, 0.9, 0.9, 0.9, 0.9]
    assert told(run(resting, samples(values))) == [("began", 0, 1), ("ended", 0, 1), ("began", 4, 5), ("grew", 4, 6)]


def test_a_silence_ends_an_event_and_the_next_sample_may_begin_another() -> None:
    first, second = samples([0.9]), [Sample(Span(Moment(START + seconds(60)), Moment(START + seconds(61))), 0.9)]
    assert told(run(rule(), first + second)) == [("began", 0, 1), ("ended", 0, 1), ("began", 60, 61)]


@given(
    st.lists(st.sampled_from([0.0, 0.45, 0.7, 0.95]), max_size=20),
    st.lists(st.sampled_from([0.0, 0.45, 0.7, 0.95]), max_size=20),
    st.integers(45, 4000),
    st.integers(0, 100),
)
def test_what_comes_after_the_clock_was_put_back_is_judged_as_if_nothing_had_been(
    before: list[float], after: list[float], back_s: int, cooldown: int
) -> None:
    """Nothing that happened later by a clock that was ahead makes a rule rest, nor is part of what happens now."""
    tried, later = rule(cooldown_us=seconds(cooldown)), samples(before)
    now = [replace(one, span=Span(Moment(one.span.start - seconds(back_s)), Moment(one.span.end - seconds(back_s))))
           for one in samples(after)]  # fmt: skip
    alone = {change.span for change in run(tried, now)}
    both = {change.span for change in run(tried, later + now)}
    assert both == alone | {change.span for change in run(tried, later)}


@pytest.mark.parametrize(
    ("schedule", "when", "expected"),
    [
        (Schedule(start_minute=9 * 60, end_minute=17 * 60), "2026-11-23T09:00", True),
        (Schedule(start_minute=9 * 60, end_minute=17 * 60), "2026-11-23T17:00", False),
        (Schedule(days=(1,), start_minute=22 * 60, end_minute=6 * 60), "2026-11-24T05:59", True),  # Monday's night
        (Schedule(days=(1,), start_minute=22 * 60, end_minute=6 * 60), "2026-11-23T05:59", False),  # Sunday's
        (Schedule(days=(1,), start_minute=22 * 60, end_minute=6 * 60), "2026-11-23T22:00", True),
        (Schedule(days=(6, 7)), "2026-11-23T12:00", False),
        (Schedule(start_minute=9 * 60, end_minute=10 * 60, timezone="Asia/Tokyo"), "2026-11-23T00:30", True),
        (Schedule(days=(2,), timezone="Asia/Tokyo"), "2026-11-23T16:00", True),  # already Tuesday there
        # Berlin leaves summer time on 25 October 2026: 09:00 is 07:00 UTC the day before and 08:00 UTC after
        (Schedule(start_minute=540, end_minute=541, timezone="Europe/Berlin"), "2026-10-24T07:00", True),
        (Schedule(start_minute=540, end_minute=541, timezone="Europe/Berlin"), "2026-10-26T08:00", True),
    ],
)
def test_schedule(schedule: Schedule, when: str, expected: bool) -> None:
    moment = seconds(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp())
    assert armed(schedule, moment) is expected


def test_disarming_ends_an_event() -> None:
    until_noon = rule(schedule=Schedule(start_minute=0, end_minute=12 * 60))
    before = [Sample(Span(Moment(START - seconds(1)), Moment(START)), 0.9)]
    assert [c.what for c in run(until_noon, before + samples([0.9]))] == ["began", "ended"]


@given(st.lists(st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.7, 0.95]), max_size=40), st.integers(0, 3), st.integers(0, 4))
def test_events_are_what_the_definition_says(values: list[float], hold: int, cooldown: int) -> None:
    """Against a search over all stretches, without a state machine."""
    changes = run(rule(hold_us=seconds(hold), cooldown_us=seconds(cooldown)), samples(values))
    fired = {c.span.start: c.span.end for c in changes}
    expected: dict[int, int] = {}
    at, rests = 0, -1.0
    while at < len(values):
        if values[at] < 0.6 or at < rests:
            at += 1
            continue
        run_up = at
        while run_up < len(values) and values[run_up] >= 0.6 and run_up + 1 - at < max(hold, 1):
            run_up += 1
        if run_up == len(values) or values[run_up] < 0.6:
            at = run_up + 1
            continue
        end = run_up + 1
        while end < len(values) and values[end] >= 0.4:
            end += 1
        expected[START + seconds(at)] = START + seconds(end)
        at, rests = end + 1, end + cooldown
    assert fired == expected


@given(
    st.lists(st.sampled_from([0.0, 0.45, 0.7, 0.95]), min_size=2, max_size=30), st.integers(0, 29), st.integers(0, 3)
)
def test_stopping_and_resuming_anywhere_changes_nothing(values: list[float], cut: int, cooldown: int) -> None:
    """Without a hold, the last stored alert and the mark are all of the state."""
    tried, history = rule(cooldown_us=seconds(cooldown)), samples(values)
    cut = min(cut, len(history) - 1)
    whole = {c.span.start: c.span.end for c in run(tried, history)}
    before = run(tried, history[:cut])
    stored = {c.span.start: c for c in before}
    state = State()
    if stored:
        last = stored[max(stored)]
        alert = Alert("r", StreamId("s"), last.span, last.score, last.peak, "")
        state = resume(tried, alert, history[cut - 1].span.start)
    after = {c.span.start: c.span.end for c in run(tried, history[cut:], state)}
    assert {start: c.span.end for start, c in stored.items()} | after == whole
