"""Time against an oracle that never saw the code: true times are drawn, then distorted the way sources distort them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.beginning import Task, earliest
from ingest.clock import FakeClock
from ingest.records import MICROSECONDS, Mark, Moment
from ingest.sampling import Sampling
from ingest.timeline import (
    BACKWARD,
    FORWARD,
    HARDEST,
    MPEGTS_WRAP,
    PUT,
    Arrival,
    Stamp,
    Ticks,
    Timeline,
    advance,
    follow,
    microseconds,
    resumed,
    unwrap,
)

START = Moment(1_700_000_000_000_000)
STEP = 40_000
TICK = Fraction(1, 90_000)
TURN = 1 << 33
"""Ticks after which the clock of an MPEG stream starts again, by the standard; from there and not from the code."""


def run(values: list[int | None], line: Timeline | None = None) -> list[Stamp | None]:
    line, stamps = line or Timeline(), []
    for value in values:
        line, stamp = advance(line, value, first=START, arrival=None)
        stamps.append(stamp)
    return stamps


@example(start=5, steps=[810_000] * 9, stretch=3000)
@given(
    start=st.integers(0, TURN - 1),
    steps=st.lists(st.integers(900, 90_000 * 9), min_size=1, max_size=400),
    stretch=st.integers(1, 3000),
)
def test_wraps_are_undone(start: int, steps: list[int], stretch: int) -> None:
    """Any number of 26.5 h turns: microseconds follow the true ticks to half a microsecond, also of what is looked at
    before its turn."""
    ticks, true = Ticks.of(TICK, MPEGTS_WRAP), start
    for step in steps:
        ahead = ticks.at(true % TURN)
        ticks, value = ticks.read(true % TURN)
        assert ahead == value
        assert abs(value - true * Fraction(100, 9)) <= Fraction(1, 2)
        true += step * stretch % (TURN // 2 - 1) + 1


@given(last=st.integers(-(1 << 40), 1 << 40), raw=st.integers(0, MPEGTS_WRAP - 1))
def test_unwrapping_picks_the_nearest(last: int, raw: int) -> None:
    value = unwrap(raw, last, MPEGTS_WRAP)
    assert value % MPEGTS_WRAP == raw
    assert abs(value - last) <= MPEGTS_WRAP // 2


@given(st.lists(st.integers(-20 * MICROSECONDS, 20 * MICROSECONDS) | st.none(), max_size=200))
def test_time_never_goes_back(steps: list[int | None]) -> None:
    """Whatever the clock does: pts and moment grow within an epoch, and epochs follow one another in time."""
    raw, values = 5 * MICROSECONDS, []
    for step in steps:
        raw += step or 0
        values.append(None if step is None else raw)
    stamps = [stamp for stamp in run(values) if stamp is not None]
    for before, after in itertools.pairwise(stamps):
        assert (before.epoch, before.pts) < (after.epoch, after.pts)
        assert before.moment < after.moment
        assert after.epoch - before.epoch in (0, 1)


@given(st.lists(st.integers(1, FORWARD), min_size=1, max_size=100))
def test_a_steady_clock_stays_one_epoch_and_keeps_its_distances(steps: list[int]) -> None:
    values = [sum(steps[: i + 1]) for i in range(len(steps))]
    stamps = run(list(values))
    assert [s.moment - START for s in stamps if s] == [value - values[0] for value in values]
    assert {s.epoch for s in stamps if s} == {0}


@given(
    st.permutations(range(8)).flatmap(lambda order: st.tuples(st.just(order), st.lists(st.integers(0, 7), max_size=8)))
)
def test_late_and_repeated_pictures_are_left_out(case: tuple[list[int], list[int]]) -> None:
    """Within a second, pictures that come late or twice are left out and the others keep their places."""
    order, repeats = case
    values = [place * STEP for place in [*order, *repeats]]
    stamps = run(list(values))
    newest, expected = -1, []
    for value in values:
        expected.append(value if value > newest else None)
        newest = max(newest, value)
    assert [stamp.pts if stamp else None for stamp in stamps] == expected


@pytest.mark.parametrize("jump", [-BACKWARD - 1, -60 * MICROSECONDS, FORWARD + STEP + 1, 26 * 3600 * MICROSECONDS])
def test_a_jump_begins_an_epoch_right_behind(jump: int) -> None:
    values = [0, STEP, 2 * STEP, 2 * STEP + jump, 3 * STEP + jump]
    stamps = run(list(values))
    assert [s.epoch for s in stamps if s] == [0, 0, 0, 1, 1]
    assert [s.moment - START for s in stamps if s] == [0, STEP, 2 * STEP, 3 * STEP, 4 * STEP]


def test_containers_of_one_timeline_may_have_long_pauses() -> None:
    stamps = run([0, 3600 * MICROSECONDS], Timeline(jumps=False))
    assert [(s.epoch, s.moment - START) for s in stamps if s] == [(0, 0), (0, 3600 * MICROSECONDS)]


def test_a_camera_that_was_silent_may_leap_as_far() -> None:
    """Twelve seconds of silence and a clock that went on for twelve seconds: no jump."""
    line, _ = advance(Timeline(), 0, first=START, arrival=came(0))
    line, stamp = advance(line, 12 * MICROSECONDS, first=START, arrival=came(12))
    assert stamp == Stamp(0, 12 * MICROSECONDS, Moment(START + 12 * MICROSECONDS))
    line, stamp = advance(line, 40 * MICROSECONDS, first=START, arrival=came(13))
    assert stamp is not None
    assert stamp.epoch == 1
    assert stamp.moment == START + 13 * MICROSECONDS


def came(at_s: float, wall_off_s: float = 0.0) -> Arrival:
    """A picture that came at `at_s` while the wall clock was off by so much."""
    at = round(at_s * MICROSECONDS)
    return Arrival(Moment(START + at + round(wall_off_s * MICROSECONDS)), 77 * MICROSECONDS + at)


def watch(
    length_s: int,
    fps: float,
    camera: Callable[[float], float],
    wall: Callable[[float], float],
    delay: Random,
    *,
    late_s: float = 0.2,
    untold: float = 0.0,
) -> list[tuple[float, Stamp]]:
    """(true time, stamp) of every picture of a camera whose clock says `camera(t)` at the true time t, on a machine
    whose wall clock is `wall(t)` off; one picture in ten comes at once, the others up to `late_s` late, in order. Of
    a share `untold` of them it is not said when they were made."""
    line, seen, at = Timeline(offset=round(START - MICROSECONDS * camera(0.0))), [], 0.0
    for n in range(round(length_s * fps)):
        true = n / fps
        at = max(at, true + (0.0 if n % 10 == 0 else delay.uniform(0, late_s)))
        told = None if n and delay.random() < untold else round(camera(true) * MICROSECONDS)
        line, stamp = advance(line, told, first=START, arrival=came(at, wall(at)))
        if stamp is not None:
            seen.append((true, stamp))
    return seen


def follows(seen: list[tuple[float, Stamp]]) -> None:
    """Time grows within an epoch, with no distance wrong by more than half a hundredth, and epochs do not overlap."""
    grows(seen)
    assert all(before.moment < after.moment for (_, before), (_, after) in itertools.pairwise(seen))


def grows(seen: list[tuple[float, Stamp]]) -> None:
    """Within an epoch."""
    for (_, before), (_, after) in itertools.pairwise(seen):
        assert before.epoch < after.epoch or before.moment < after.moment
        apart = after.pts - before.pts
        assert before.epoch < after.epoch or abs(after.moment - before.moment - apart) <= apart / 200
        assert (before.epoch, before.pts) < (after.epoch, after.pts) or after.epoch > before.epoch


def wrong_by(stamp: Stamp, true: float) -> float:
    return (stamp.moment - START) / MICROSECONDS - true


@settings(max_examples=60)
@given(drift=st.floats(-0.004, 0.004), fps=st.floats(0.5, 12), start=st.floats(0, 1e6), seed=st.integers(0, 99))
def test_a_camera_whose_clock_drifts_is_right_to_half_a_second(
    drift: float, fps: float, start: float, seed: int
) -> None:
    """Four parts in a thousand is forty times what a bad quartz does; within one epoch, for as long as it lasts."""
    seen = watch(900, fps, lambda t: start + t * (1 + drift), lambda _: 0.0, Random(seed))
    follows(seen)
    assert {stamp.epoch for _, stamp in seen} == {0}
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen) < 0.5


@settings(max_examples=20)
@given(drift=st.floats(-1e-4, 1e-4), fps=st.floats(0.6, 0.9), seed=st.integers(0, 99))
def test_a_slow_network_is_not_taken_for_a_slow_clock(drift: float, fps: float, seed: int) -> None:
    """Most pictures come seconds late, the least late of many tells the time: a network only delays."""
    seen = watch(900, fps, lambda t: t * (1 + drift), lambda _: 0.0, Random(seed), late_s=2.0)
    follows(seen)
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen) < 0.5


@settings(max_examples=30)
@given(fps=st.floats(0.3, 30), untold=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_a_picture_of_a_camera_that_does_not_say_when_was_when_it_came(fps: float, untold: float, seed: int) -> None:
    seen = watch(300, fps, lambda t: t, lambda _: 0.0, Random(seed), untold=untold)
    follows(seen)
    assert {stamp.epoch for _, stamp in seen} == {0}
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen) < 0.5


@given(put=st.floats(-1e6, 1e6), pause=st.floats(1e-5, 600))
def test_no_wall_clock_says_how_far_behind_the_last_a_picture_is(put: float, pause: float) -> None:
    line, _ = advance(Timeline(offset=START), 7, first=START, arrival=came(0))
    _, stamp = advance(line, None, first=START, arrival=came(pause, put))
    assert stamp is not None
    assert stamp.pts == 7 + round(pause * MICROSECONDS)


@given(far=st.integers(1, 10**12), back=st.booleans(), put=st.floats(-1e6, 1e6), pause_s=st.integers(1, 100))
def test_a_camera_that_begins_anew_goes_on_in_time_whatever_the_wall_clock_says(
    far: int, back: bool, put: float, pause_s: int
) -> None:
    """It is switched on again while this machine's clock is set: where it came, and never before what was seen, but
    where that came by a clock that was put back since."""
    jump = -BACKWARD - far if back else FORWARD + pause_s * MICROSECONDS + far
    line, before = advance(Timeline(offset=START), 0, first=START, arrival=came(0))
    _, after = advance(line, jump, first=START, arrival=came(pause_s, put))
    assert before is not None
    back = round(put * MICROSECONDS) if put < -0.25 else 0
    assert after == Stamp(1, jump, max(came(pause_s, put).moment, Moment(before.moment + STEP + back)))


@settings(max_examples=40)
@given(drift=st.floats(-1e-4, 1e-4), apart=st.floats(61, 1800), seed=st.integers(0, 99))
def test_pictures_minutes_apart_are_not_led_past_the_truth(drift: float, apart: float, seed: int) -> None:
    seen = watch(round(200 * apart), 1 / apart, lambda t: 7 + t * (1 + drift), lambda _: 0.0, Random(seed))
    follows(seen)
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen) < 0.75


@settings(max_examples=60)
@given(put=st.floats(0.5, 1e6), at=st.floats(10, 200), seed=st.integers(0, 99))
def test_a_wall_clock_that_is_put_forward_is_right_from_then_on(put: float, at: float, seed: int) -> None:
    """It was behind until NTP reached it: what was wrong stays so, and what comes is right at once, as a new epoch."""
    seen = watch(260, 5, lambda t: t, lambda t: 0.0 if t < at else put, Random(seed))
    follows(seen)
    after = [wrong_by(stamp, true) - put for true, stamp in seen if true > at + 0.5]
    assert max(map(abs, after)) < 0.5
    assert {stamp.epoch for true, stamp in seen if true < at - 0.5} == {0}
    assert {stamp.epoch for true, stamp in seen if true > at + 0.5} == {1}


@settings(max_examples=60)
@given(behind=st.floats(0.5, 1e5), at=st.floats(10, 200), seed=st.integers(0, 99))
def test_a_machine_that_starts_with_its_clock_behind_is_right_once_it_is_put_right(
    behind: float, at: float, seed: int
) -> None:
    """A small machine after a power cut: what was seen before is ahead of its clock, so time went on from there. It
    was nearly right all along, and must not be put forward as far as the clock."""
    seen = watch(260, 5, lambda t: t, lambda t: -behind if t < at else 0.0, Random(seed))
    follows(seen)
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen if true < at - 0.5) < 0.3 + at / HARDEST
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen if true > at + 0.5) < 0.5


@settings(max_examples=60)
@given(back=st.floats(1e-3, 1e6), at=st.floats(1, 200), drift=st.floats(-1e-4, 1e-4), seed=st.integers(0, 99))
def test_a_wall_clock_that_is_put_back_is_right_from_the_next_picture_on(
    back: float, at: float, drift: float, seed: int
) -> None:
    """It was ahead until NTP reached it: by an hour, where a machine takes its hardware clock's local time for UTC.
    What was wrong stays so; what comes is right at once, in an epoch that begins before the last one ended."""
    seen = watch(260, 5, lambda t: t * (1 + drift), lambda t: 0.0 if t < at else -back, Random(seed))
    grows(seen)
    changed = next(n for n, (true, stamp) in enumerate(seen) if stamp.epoch or true >= at)
    assert max(abs(wrong_by(stamp, true)) for true, stamp in seen[:changed]) < 0.5
    assert max(abs(wrong_by(stamp, true) + back) for true, stamp in seen[changed + 1 :]) < 0.5
    assert seen[-1][1].epoch == (back > PUT / MICROSECONDS)


@settings(max_examples=60)
@given(
    puts=st.lists(st.tuples(st.floats(0.3, 60), st.integers(-9999, 9999)), min_size=1, max_size=6), seed=st.integers()
)
def test_a_wall_clock_may_be_put_back_and_forth(puts: list[tuple[float, int]], seed: int) -> None:
    """However often: right to half a second, but for pictures that were on their way; never back within an epoch."""
    times = list(itertools.accumulate(pause for pause, _ in puts))

    def wall(t: float) -> float:
        return next((off for at, (_, off) in reversed([*zip(times, puts, strict=True)]) if t >= at), 0.0)

    seen = watch(round(times[-1]) + 20, 5, lambda t: t, wall, Random(seed))
    grows(seen)
    settled = [(t, stamp) for t, stamp in seen if not any(t - 0.01 <= at <= t + 0.6 for at in times)]
    assert max(abs(wrong_by(stamp, t) - wall(t)) for t, stamp in settled) < 0.5


@given(wall=st.lists(st.floats(-1e7, 1e7), min_size=3, max_size=40), pause=st.floats(0, 600))
def test_no_wall_clock_makes_a_camera_jump(wall: list[float], pause: float) -> None:
    """The camera runs on through a pause while the wall clock goes wild: not the camera's jump."""
    line, seen = Timeline(offset=START), []
    for n, off in enumerate(wall):
        true = n * 0.2 + (pause if n >= len(wall) // 2 else 0)
        line, stamp = advance(line, round(true * MICROSECONDS), first=START, arrival=came(true, off))
        assert stamp is not None
        seen.append((true, stamp))
    grows(seen)
    ahead = [(stamp.moment - came(true, off).moment) / 1e6 for (true, stamp), off in zip(seen, wall, strict=True)]
    puts = [after - before for before, after in itertools.pairwise(wall)]
    put = [by < -0.2501 or by - max(0.0, over) > 0.2501 for by, over in zip(puts, ahead, strict=False)]
    changed = [after.epoch > before.epoch for (_, before), (_, after) in itertools.pairwise(seen)]
    steady = [abs(by) < 0.2499 for by in puts]
    assert not any(c and s for c, s in zip(changed, steady, strict=True)), "only being put begins an epoch"
    assert all(c for c, p in zip(changed, put, strict=True) if p)


def test_a_connection_never_begins_before_what_was_seen() -> None:
    line = Timeline(epoch=4, offset=START - 3 * MICROSECONDS, floor=START)
    line, first = advance(line, 0, first=START, arrival=came(0))
    line, second = advance(line, STEP, first=START, arrival=came(0.04))
    assert first is not None
    assert second is not None
    assert first.moment == START
    assert second.moment - first.moment == pytest.approx(STEP, rel=0.006)


@given(put=st.floats(-1e6, 1e6), pause=st.floats(0, 20))
def test_a_clock_that_is_put_before_the_first_picture_is_decoded_is_believed(put: float, pause: float) -> None:
    """What was known of the first packets was known by the clock of before."""
    line = Timeline(offset=START, floor=Moment(START - 1), arrived=came(0))
    _, stamp = advance(line, round(pause * MICROSECONDS), first=START, arrival=came(pause, put))
    assert stamp is not None
    assert abs(stamp.moment - came(pause, put).moment) <= PUT


@pytest.mark.parametrize(("behind_s", "expected"), [(-3600.0, 0), (-0.3, 0), (-0.2, 1), (0.0, 1), (3600.0, 1)])
def test_what_was_seen_is_over_unless_the_clock_was_put_back(behind_s: float, expected: int) -> None:
    clock = FakeClock()
    task = Task("cam", True, 1, clock.now(), Sampling(), True, None, None, None, None, 0.0)
    clock.jump(behind_s)
    assert earliest(task, clock) == expected * task.starts_at


def test_missing_times_continue_and_are_left_out_before_the_first() -> None:
    assert run([None, None, 100, None, None]) == [
        None,
        None,
        Stamp(0, 100, START),
        Stamp(0, 100 + STEP, Moment(START + STEP)),
        Stamp(0, 100 + 2 * STEP, Moment(START + 2 * STEP)),
    ]


def test_resuming_keeps_the_old_relation_of_pts_and_moment() -> None:
    line = resumed(Mark(0, 500, Moment(START + 500)), jumps=False)
    _, stamp = advance(line, 300, first=Moment(0), arrival=None)
    assert stamp == Stamp(0, 300, Moment(START + 300))


def test_sound_follows_the_pictures_of_its_own_epoch() -> None:
    line, _ = advance(Timeline(epoch=3), 1000, first=START, arrival=None)
    assert follow(line, 900) == Stamp(3, 900, Moment(START - 100))
    assert follow(line, 1000 + FORWARD + 1) is None
    assert follow(line, 1000 - FORWARD - 1) is None
    line, _ = advance(Timeline(jumps=False), 1000, first=START, arrival=None)
    assert follow(line, 1000 + 3 * FORWARD) == Stamp(0, 1000 + 3 * FORWARD, Moment(START + 3 * FORWARD))
    assert follow(Timeline(), 5) is None


@given(ticks=st.integers(-(10**15), 10**15), base=st.fractions(min_value="1/1000000", max_value=1))
def test_ticks_are_microseconds_rounded_as_exact_arithmetic_rounds(ticks: int, base: Fraction) -> None:
    assert microseconds(ticks, base) == round(ticks * base * 1_000_000)


@given(
    ticks=st.integers(-(10**12), 10**12),
    base=st.sampled_from([Fraction(1, 12_800), Fraction(1, 64), Fraction(1, 90_000)]),
)
def test_halves_of_a_microsecond_go_to_the_even_one(ticks: int, base: Fraction) -> None:
    assert microseconds(ticks, base) == round(ticks * base * 1_000_000)
