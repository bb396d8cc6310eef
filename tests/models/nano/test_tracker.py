"""The tracker against scripted scenes whose visits are known, and `at_once` against counting every instant."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import MICROSECONDS, Box, Moment, Span
from models.nano.detector import Detection
from models.nano.tracker import Following, Near, Tracker, Visit, at_once

SECOND = MICROSECONDS


def thing(x: float, y: float = 0.5, size: float = 0.1, label: str = "person", score: float = 0.9) -> Detection:
    half = size / 2
    return Detection(label, score, Box(x - half, y - half, x + half, y + half))


def play(frames: list[list[Detection]], following: Following | None = None, step: int = SECOND) -> list[Visit]:
    tracker = Tracker(following)
    visits = [v for i, frame in enumerate(frames) for v in tracker.update(Moment(i * step), frame)]
    return sorted(visits + tracker.close(), key=lambda visit: visit.number)


def test_someone_walks_through_from_side_to_side() -> None:
    walk = [[thing(0.05 + 0.1 * i)] for i in range(10)]
    (visit,) = play([[], *walk, []])
    assert visit.span == Span(Moment(1 * SECOND), Moment(10 * SECOND))
    assert visit.direction == "right"
    assert visit.enters
    assert visit.leaves
    assert visit.sightings == 10
    assert visit.dwell_us == 9 * SECOND


def test_someone_who_stays_goes_nowhere() -> None:
    (visit,) = play([[thing(0.5 + 0.01 * (i % 2))] for i in range(40)])
    assert visit.direction == "none"
    assert visit.dwell_us == 39 * SECOND
    assert not visit.enters


def test_two_who_cross_keep_their_ways() -> None:
    frames = [[thing(0.1 + 0.08 * i, 0.45), thing(0.9 - 0.08 * i, 0.55)] for i in range(11)]
    first, second = play(frames)
    assert (first.direction, second.direction) == ("right", "left")
    assert first.sightings == second.sightings == 11


def test_a_short_absence_is_one_visit_and_a_long_one_two() -> None:
    here, gone = [thing(0.5)], list[Detection]()
    assert len(play([here, here, gone, here, here])) == 1
    assert len(play([here, here, gone, gone, gone, gone, here, here])) == 2


def test_a_flicker_is_no_visit_and_neither_is_doubt() -> None:
    assert play([[], [thing(0.5)], [], [], [], []]) == []
    assert play([[thing(0.5, score=0.4)]] * 5) == []


def test_doubt_continues_what_certainty_began() -> None:
    (visit,) = play([[thing(0.5)], *[[thing(0.5, score=0.3)]] * 8])
    assert visit.sightings == 9
    assert visit.score == 0.9


def test_the_name_seen_most_wins() -> None:
    names = ["cat", "dog", "dog", "cat", "dog", "dog"]
    (visit,) = play([[thing(0.5, label=name)] for name in names])
    assert visit.label == "dog"


def test_far_apart_things_are_different_things() -> None:
    assert len(play([[thing(0.1)], [thing(0.1)], [thing(0.8)], [thing(0.8)]])) == 2


@given(st.integers(1, 5), st.integers(2, 8), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_lanes_that_never_meet_are_counted_right_in_any_order(lanes: int, length: int, dice) -> None:  # type: ignore[no-untyped-def]  # hypothesis' Random
    frames = []
    for step in range(length):
        frame = [thing(0.1 + 0.05 * step, 0.1 + 0.18 * lane, 0.08) for lane in range(lanes)]
        dice.shuffle(frame)
        frames.append(frame)
    visits = play(frames)
    assert len(visits) == lanes
    assert all(v.sightings == length and abs(v.first.top - v.last.top) < 1e-9 for v in visits)


def visit(start: int, end: int) -> Visit:
    box = Box(0.4, 0.4, 0.6, 0.6)
    return Visit(0, "person", Span(Moment(start), Moment(end)), box, box, 0.9)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda p: visit(p[0], p[0] + p[1])), max_size=8),
    st.integers(1, 4),
)
@settings(max_examples=200)
def test_at_once_is_what_counting_every_instant_finds(visits: list[Visit], count: int) -> None:
    spans = at_once(visits, count)
    for instant in range(45):
        crowded = sum(instant in v.span for v in visits) >= count
        assert crowded == any(instant in span for span in spans)
    assert all(a.end < b.start for a, b in pairwise(spans))


def reaching(left: float, top: float, right: float, bottom: float) -> list[Detection]:
    return [Detection("person", 0.9, Box(left, top, right, bottom))]


def test_an_arm_that_reaches_in_is_not_believed_to_be_a_person() -> None:
    for arm in (reaching(0.3, 0.0, 0.45, 0.5), reaching(0.0, 0.4, 0.5, 0.6), reaching(0.6, 0.3, 1.0, 0.5)):
        (visit,) = play([arm] * 6)
        assert visit.limb
        assert visit.belief < 0.5


def test_who_comes_in_is_believed_once_there_is_more_to_see() -> None:
    below, beside = reaching(0.4, 0.3, 0.6, 1.0), reaching(0.0, 0.2, 0.15, 0.8)
    close = reaching(0.1, 0.0, 0.7, 0.95)
    comes = [reaching(0.4, 0.0, 0.55, 0.3), reaching(0.4, 0.1, 0.55, 0.5), reaching(0.4, 0.2, 0.55, 0.6)]
    for frames in ([below] * 3, [beside] * 3, [close] * 3, comes, [*comes, comes[0]]):
        (visit,) = play(frames)
        assert not visit.limb
        assert visit.belief > 0.6


def test_what_only_a_close_look_has_found_is_not_doubted_because_others_miss_it() -> None:
    def looked(closely: bool) -> Visit:
        tracker, found = Tracker(Following(confirm=1)), thing(0.3, size=0.05)
        near = Near(Box(0.0, 0.25, 0.5, 0.75), frozenset({found.box})) if closely else None
        elsewhere = Near(Box(0.5, 0.5, 1.0, 1.0))
        for step in range(3):
            tracker.update(Moment(2 * step * SECOND // 2), [found], near)
            tracker.update(Moment((2 * step + 1) * SECOND // 2), [], elsewhere)
        (visit,) = tracker.close()
        return visit

    assert looked(closely=True).belief > 0.85
    assert looked(closely=False).belief < 0.75


def test_in_another_scene_only_what_is_where_it_was_is_the_same() -> None:
    def seen_again(there: Detection, *, changed: bool) -> int:
        tracker = Tracker(Following(confirm=1))
        tracker.update(Moment(0), [thing(0.3, size=0.2)])
        if changed:
            tracker.change_scene()
        tracker.update(Moment(SECOND // 4), [there])
        return len(tracker.close())

    stays, moves, grows = thing(0.31, size=0.2), thing(0.45, size=0.2), thing(0.35, size=0.5)
    assert [seen_again(there, changed=False) for there in (stays, moves, grows)] == [1, 1, 1]
    assert [seen_again(there, changed=True) for there in (stays, moves, grows)] == [1, 2, 2]
