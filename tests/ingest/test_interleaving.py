"""Packets of two tracks -> one order, against sorting them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given
from hypothesis import strategies as st

from ingest.interleaving import LATE, Interleaving, Timed

if TYPE_CHECKING:
    from av import Packet

STEPS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, LATE // 3)), max_size=80)


def timed(track: int, dts: int) -> Timed:
    return Timed(cast("Packet", None), track, dts, dts, 0)


def arriving(steps: list[tuple[int, int]]) -> list[Timed]:
    """Each track in its own order, however far one is behind the other."""
    reached, packets = [0, 0], []
    for track, step in steps:
        reached[track] += step
        packets.append(timed(track, reached[track]))
    return packets


def order(one: Timed) -> Any:
    return one.dts, one.track


@given(STEPS)
def test_two_tracks_come_out_in_the_order_of_decoding(steps: list[tuple[int, int]]) -> None:
    """All of them; where no track is late by as much as is waited for, as if they had been sorted."""
    packets, waiting = arriving(steps), Interleaving(2)
    given_out: list[Timed] = []
    for one in packets:
        waiting.add(one)
        given_out += waiting.ready()
        left = [other for other in packets[: packets.index(one) + 1] if other not in given_out]
        for track in (0, 1):
            alone = [other.dts for other in left if other.track == track]
            if all(other.track == track for other in left) and alone:
                assert alone[-1] - alone[0] < LATE, "it waits longer than it may"
            else:
                assert not left or {other.track for other in left} != {0, 1}, "nothing can come before these any more"
    given_out += waiting.rest()
    assert sorted(given_out, key=order) == sorted(packets, key=order)
    for track in (0, 1):
        assert [one for one in given_out if one.track == track] == [one for one in packets if one.track == track]


@given(st.lists(st.integers(1, 200_000), max_size=40), st.lists(st.integers(1, 200_000), max_size=40))
def test_what_comes_side_by_side_is_sorted(pictures: list[int], sounds: list[int]) -> None:
    packets = arriving([(0, step) for step in pictures]) + arriving([(1, step) for step in sounds])
    waiting, given_out = Interleaving(2), list[Timed]()
    for one in sorted(packets, key=order):
        waiting.add(one)
    given_out += waiting.rest()
    assert given_out == sorted(packets, key=order)


COMING = st.tuples(st.sampled_from((0, 31)), st.lists(st.integers(1, 12), min_size=20, max_size=60))
"""How late a track is, and how far apart its packets are, in 32nds of what is waited for."""


@given(COMING, COMING)
def test_what_comes_late_is_still_waited_for(pictures: tuple[int, list[int]], sounds: tuple[int, list[int]]) -> None:
    """By less than is waited for: what is given out meanwhile is sorted, and nothing too early."""
    coming = list[tuple[int, Timed]]()
    for track, (late, steps) in enumerate((pictures, sounds)):
        for at in accumulate(steps):
            coming.append(((at + late) * LATE // 32, timed(track, at * LATE // 32)))
    waiting, given_out = Interleaving(2), list[Timed]()
    for _, one in sorted(coming, key=lambda pair: pair[0]):
        waiting.add(one)
        given_out += waiting.ready()
    expected = sorted((one for _, one in coming), key=order)
    assert given_out == expected[: len(given_out)]
    assert given_out + list(waiting.rest()) == expected


@given(st.lists(st.integers(1, LATE), max_size=40))
def test_a_track_alone_waits_for_nothing(steps: list[int]) -> None:
    waiting = Interleaving(1)
    for one in arriving([(0, step) for step in steps]):
        waiting.add(one)
        assert list(waiting.ready()) == [one]
