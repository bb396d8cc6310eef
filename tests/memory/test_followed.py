"""What was followed is found for as long as it was followed: late names, gaps, erased stretches, numbers, durations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.questions import Hit, Query, Scope
from ingest.records import Gap, Moment, Observation, Span, StreamId, seconds
from memory.followed import as_followed
from memory.memory import Memory
from tests.memory.conftest import DOOR, feature, query, seen, span

RED_CAR = replace(query(3), kinds=("car",), colour="red")


def film(memory: Memory, shown: Sequence[tuple[float, float]], *observations: Observation, until: int = 60) -> None:
    """A frame a second; the car's name is in those of `shown`, what was followed is told with the last."""
    features = [feature(t, 3 if any(a <= t < b for a, b in shown) else 0) for t in range(until)]
    memory.remember.handle([*features[:-1], replace(features[-1], observations=observations)])


def car(start_s: float, end_s: float, track: str = "1", **more: object) -> Observation:
    return seen(start_s, end_s, track, **{"label": "car", **more})


def found(memory: Memory, asked: Query, scope: Scope | None = None, limit: int = 20) -> list[Span]:
    return sorted(hit.span for hit in memory.recall.find(asked, scope or Scope(), threshold=0.5, limit=limit))


def test_a_name_that_came_late_holds_for_the_whole_stay(memory: Memory) -> None:
    film(memory, [(18, 20)], car(14.5, 19.5))
    [before] = memory.recall.find(query(3), Scope(), threshold=0.5)
    [hit] = memory.recall.find(RED_CAR, Scope(), threshold=0.5)
    assert (before.span, hit.span) == (span(18, 20), span(14.5, 20))
    assert hit == replace(before, span=hit.span)


def test_what_passes_does_so_for_as_long_as_it_was_followed(memory: Memory) -> None:
    """And one that was there for a minute, such as one that is parked, does not."""
    film(memory, [(18, 20), (50, 52)], car(14.5, 19.5), car(0, 60, "2", colour="red"), until=70)
    assert found(memory, replace(RED_CAR, doing="passes")) == [span(14.5, 20), span(50, 52)]


@pytest.mark.parametrize(
    "other",
    [
        {"colour": "white"}, {"label": "person"}, {"label": "something"}, {"kind": "event"}, {"kind": "scene"},
        {"span": span(10, 18)}, {"span": span(20, 30)},
    ],
)  # fmt: skip
def test_what_was_not_asked_for_or_is_not_there_makes_nothing_longer(memory: Memory, other: dict[str, object]) -> None:
    film(memory, [(18, 20)], replace(car(10, 30), **other))  # type: ignore[arg-type]
    assert found(memory, RED_CAR) == [span(18, 20)]


def test_any_member_of_a_group_and_any_colour(memory: Memory) -> None:
    film(memory, [(18, 20)], car(14, 19, label="bus", colour="grey"))
    assert found(memory, replace(query(3), kinds=("vehicle", "bus", "car"))) == [span(14, 20)]


def test_so_many_at_a_time_as_were_asked_for(memory: Memory) -> None:
    two = replace(query(3), kinds=("car",), least=2)
    film(memory, [(18, 19)], car(10, 30), car(15, 18.5, "2"), car(5, 6, "3"), car(18.5, 25, "4", colour="white"))
    assert found(memory, two) == [span(15, 25)]
    assert found(memory, replace(two, least=3)) == [span(18, 19)]
    assert found(memory, replace(two, least=1)) == [span(10, 30)]


def test_hits_that_fall_together_are_one_as_good_as_the_best(memory: Memory) -> None:
    film(memory, [(12, 14), (30, 33), (50, 52)], car(10, 40))
    assert found(memory, RED_CAR) == [span(10, 40), span(50, 52)]
    assert len(found(memory, RED_CAR, limit=1)) == 1
    apart = [Hit(DOOR, span(a, b), score, span(a, b).start) for a, b, score in ((12, 14, 0.6), (30, 33, 0.9))]
    [one] = as_followed(apart, RED_CAR, memory.store.timeline)
    assert one == replace(apart[1], span=span(10, 40))


def test_never_over_a_gap(memory: Memory) -> None:
    film(memory, [(18, 20), (30, 32)], car(5, 50))
    memory.remember.handle([Gap(DOOR, span(15, 16), "overload"), Gap(DOOR, span(24, 28), "frozen")])
    assert found(memory, RED_CAR) == [span(16, 24), span(28, 50)]


def test_nothing_is_longer_from_within_a_gap(memory: Memory) -> None:
    memory.remember.handle([car(5, 50), Gap(DOOR, span(19, 22), "dark")])
    hit = Hit(DOOR, span(20, 21), 0.9, span(20, 21).start)
    assert as_followed([hit], RED_CAR, memory.store.timeline) == [hit]


def test_never_into_what_was_erased(memory: Memory) -> None:
    film(memory, [(18, 20)], car(5, 30), car(19, 40, "2"))
    memory.erase(DOOR, span(10, 12))
    memory.remember.handle([feature(60, observations=(car(5, 61),))])  # told again by what is still followed
    assert found(memory, RED_CAR) == [span(18, 40)]
    with memory.store.database.write() as connection:  # the rows are gone; one that were left would end there, too
        memory.store.timeline.observe(connection, [car(5, 61)])
    assert found(memory, RED_CAR) == [span(12, 61)]


def test_another_run_of_the_stream_is_not_joined(memory: Memory) -> None:
    """What is followed ends with the run; that of the next begins anew, where the last one ended."""
    film(memory, [(18, 20)], car(14, 25), replace(car(25, 40), epoch=1))
    assert found(memory, RED_CAR) == [span(14, 25)]


def test_hits_stay_in_the_scope_and_reach_into_it(memory: Memory) -> None:
    film(memory, [(18, 20)], car(5, 50))
    hits = memory.recall.find(RED_CAR, Scope((DOOR,), span(10, 30)), threshold=0.5)
    assert [(hit.span, hit.peak in hit.span) for hit in hits] == [(span(10, 30), True)]
    hits = memory.recall.find(RED_CAR, Scope((DOOR,), span(30, 60)), threshold=0.5)
    assert [(hit.span, hit.peak in hit.span) for hit in hits] == [(span(30, 50), True)]


def test_how_long_it_lasts_is_how_long_it_was_followed(memory: Memory) -> None:
    film(memory, [(12, 14), (30, 33)], car(10, 40), car(46, 49, "2"))
    assert found(memory, replace(RED_CAR, lasting=seconds(30))) == [span(10, 40)]
    assert found(memory, replace(RED_CAR, lasting=seconds(31))) == []


def came(start_s: float, text: str, colour: str, track: str, what: str = "enters") -> Observation:
    return seen(start_s, start_s + 1, track, kind="event", label=what, text=text, colour=colour, score=0.9)


def test_a_coming_is_found_where_it_was_told_and_not_where_its_name_came(memory: Memory) -> None:
    told = [
        came(3, "car", "white", "1"), came(20, "car", "red", "2"), came(22, "bus", "white", "3"),
        came(24, "car", "white", "4", "leaves"),
    ]  # fmt: skip
    film(memory, [(6, 8), (25, 26), (50, 51)], *told)
    asked = replace(query(3), kinds=("car",), colour="white", doing="enters")
    # Near 6 and 25 it is known what came; nothing was told of 50, where frames alone say so.
    assert sorted(found(memory, asked)) == [span(3, 4), span(50, 51)]
    assert found(memory, asked, Scope((DOOR,), span(10, 40))) == []
    assert sorted(found(memory, replace(asked, colour=""))) == [span(3, 4), span(20, 21), span(50, 51)]
    assert memory.recall.find(asked, Scope((DOOR,), span(0, 10)), threshold=0.95) == []


def test_a_moment_of_which_slots_alone_are_left(memory: Memory) -> None:
    film(memory, [(30, 41)], car(20, 45), until=130)
    with memory.store.database.write() as connection:
        memory.store.chapters.drop_detail(connection, [row.id for row in memory.store.chapters.all()])
    [hit] = memory.recall.find(RED_CAR, Scope(), threshold=0.5)
    assert (hit.level, hit.span) == ("chapter", span(20, 45))


@dataclass(frozen=True)
class Told:
    """A timeline that says what it was told."""

    things: list[Span]
    blind: list[Span]

    def followed(self, scope: Scope, labels: Sequence[str], colour: str) -> np.ndarray:
        assert scope.span is not None
        some = [(one.start, one.end) for one in self.things if one.overlaps(scope.span)]
        return np.array(some, np.int64).reshape(-1, 2)

    def gaps(self, stream: StreamId, within: Span) -> list[Gap]:
        return [Gap(stream, one, "offline") for one in self.blind if one.overlaps(within)]


instants = st.tuples(st.integers(0, 40), st.integers(1, 25)).map(lambda at: Span(Moment(at[0]), Moment(sum(at))))


@settings(max_examples=300)
@given(
    hit=instants, things=st.lists(instants, max_size=6), blind=st.lists(instants, max_size=2), least=st.integers(1, 3)
)
def test_moment_by_moment(hit: Span, things: list[Span], blind: list[Span], least: int) -> None:
    """Against going back and on from a hit one moment at a time, as long as enough of what was there still is."""

    def gone_on(first: int, step: int) -> int:
        there, at = [one for one in things if first in one], first
        while sum(at + step in one for one in there) >= least and not any(at in b or at + step in b for b in blind):
            at += step
        return at

    told: Any = Told(things, blind)
    [grown] = as_followed([Hit(DOOR, hit, 0.9, hit.start)], replace(RED_CAR, least=least), told)
    assert grown.span == Span(Moment(gone_on(hit.start, -1)), Moment(gone_on(hit.end - 1, 1) + 1))
