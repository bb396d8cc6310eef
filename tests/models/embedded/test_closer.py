"""Small things that only a closer look finds: they are told, stay told while nothing changes, and are not made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ingest.questions import Query
from ingest.records import Box, Moment, Pixels
from models.embedded.closer import PARTS, CloserLook, beyond, crop, together
from models.embedded.sight import Seen, Watcher
from models.embedded.space import SIGHT_SIZE
from models.nano.detector import Detection, Sight
from tests.models.embedded.yard import COLOURS, Mover, Scene, every


class Shortsighted:
    """Sees blue as a person where it takes up enough of what it looks at; remembers what it looked at."""

    id = "shortsighted"

    def __init__(self, least: float) -> None:
        self.least = least
        self.sizes: list[tuple[int, int]] = []

    def see(self, pictures: Sequence[Pixels], *, floor: float | None = None) -> list[Sight]:
        return [self._look(pixels) for pixels in pictures]

    def query(self, text: str) -> Query:
        return Query(text, np.zeros(SIGHT_SIZE, np.float32))

    def _look(self, pixels: Pixels) -> Sight:
        height, width = pixels.shape[:2]
        self.sizes.append((width, height))
        away = np.abs(pixels.astype(np.int16) - np.array(COLOURS["blue"])).max(axis=2)
        rows, columns = np.nonzero(away < 20)
        found: tuple[Detection, ...] = ()
        if len(rows) > 4 and np.ptp(rows) / height >= self.least:
            left, right = columns.min() / width, (columns.max() + 1) / width
            box = Box(left, rows.min() / height, right, (rows.max() + 1) / height)
            found = (Detection("person", 0.8, box),)
        return Sight(found, np.zeros(SIGHT_SIZE, np.float32))


def watch(movers: Sequence[Mover], seer: Shortsighted, until: float) -> list[Seen]:
    watcher, scene = Watcher(seer), Scene(movers)
    return [watcher.watch(scene.at(t), Moment(round(t * 1e6)), cut=False) for t in every(0.25, until)]


STANDS = Mover("blue", 0.0, 99.0, (0.63, 0.4), (0.63, 0.4), (0.04, 0.12))


def test_a_small_thing_is_found_where_it_is_and_stays_found() -> None:
    seen = watch([STANDS], Shortsighted(0.2), 20.0)
    assert all(len(each.things) == 1 for each in seen[40:])
    (visit,) = seen[-1].things
    assert visit.belief > 0.7
    for side, true in (("left", 0.61), ("top", 0.34), ("right", 0.65), ("bottom", 0.46)):
        assert abs(getattr(visit.last, side) - true) < 0.02


def test_a_still_scene_soon_costs_nothing() -> None:
    seer = Shortsighted(0.2)
    watch([STANDS], seer, 9.9)
    before = len(seer.sizes)
    assert before < 20  # of forty pictures
    assert sum(size != (320, 180) for size in seer.sizes) >= 9


def test_a_cut_that_goes_unnoticed_as_one_ends_the_visit() -> None:
    watcher, seer = Watcher(Shortsighted(0.2)), Scene([STANDS])
    before = [watcher.watch(seer.at(t), Moment(round(t * 1e6)), cut=False) for t in every(0.25, 6.0)]
    elsewhere = Scene([Mover("blue", 0.0, 99.0, (0.6, 0.5), (0.6, 0.5), (0.2, 0.8))])
    after = [
        watcher.watch(elsewhere.at(t), Moment(round((6.0 + t) * 1e6)), cut=False, new_scene=t == 0.0)
        for t in every(0.25, 2.0)
    ]
    ((small,), (large,)) = before[-1].things, after[-1].things
    assert small.number != large.number
    assert large.span.start == 6_000_000


def test_what_has_gone_is_not_remembered() -> None:
    leaves = Mover("blue", 0.0, 12.0, (0.63, 0.4), (0.63, 0.4), (0.04, 0.12))
    seen = watch([leaves], Shortsighted(0.2), 18.0)
    assert seen[47].things
    assert not any(each.things for each in seen[56:])


def test_a_small_thing_that_walks_is_one_thing() -> None:
    walks = Mover("blue", 0.0, 12.0, (0.1, 0.4), (0.9, 0.45), (0.04, 0.12))
    seen = watch([walks], Shortsighted(0.2), 12.0)
    told = [each for each in seen if each.things]
    assert len(told) > 0.6 * len(seen)
    assert max(len(each.things) for each in seen) == 1


def test_what_both_looks_see_is_one_thing_as_sure_as_the_surer() -> None:
    whole = Detection("person", 0.3, Box(0.40, 0.40, 0.50, 0.60))
    near = Detection("person", 0.8, Box(0.41, 0.41, 0.50, 0.60))
    other = Detection("car", 0.6, Box(0.41, 0.41, 0.50, 0.60))
    assert together([whole], [near, other]) == (Detection("person", 0.8, whole.box), other)
    assert together([], [near]) == (near,)
    assert beyond([whole], [near, other]) == (other,)


def test_doubt_comes_in_turn_with_what_is_unknown() -> None:
    looks = CloserLook()
    doubt = Box(0.55, 0.55, 0.65, 0.75)
    around = []
    for second in range(0, 12, 2):
        tiles = np.full((27, 48), 10 * second, np.uint8)
        where = looks.due(tiles, Moment(second * 1_000_000), [doubt])
        assert where is not None
        looks.take(where, [], tiles, Moment(second * 1_000_000))
        around.append(abs((where.left + where.right) / 2 - 0.6) < 1e-6)
    assert around == [False, True, False, True, False, True]


def test_the_smaller_a_doubtful_thing_the_closer_it_is_looked_at() -> None:
    looks, tiles = CloserLook(), np.zeros((27, 48), np.uint8)
    for turn, part in enumerate(PARTS):  # nothing else is unknown
        looks.take(part, [], tiles, Moment(turn))
    for turn, (long, side) in enumerate(((0.05, 0.25), (0.12, 0.36), (0.4, 0.5)), start=1):
        moment = Moment(turn * 1_000_000)
        where = looks.due(tiles, moment, [Box(0.5, 0.5, 0.5 + long / 2, 0.5 + long)])
        assert where is not None
        assert where.right - where.left == pytest.approx(side)
        assert where.bottom - where.top == pytest.approx(side)
        assert where.left <= 0.5
        assert where.bottom >= 0.5 + long
        looks.take(where, [], tiles, moment)


def test_a_part_is_cut_out_whole() -> None:
    pixels = np.arange(180 * 320 * 3, dtype=np.uint32).astype(np.uint8).reshape(180, 320, 3)
    part = crop(pixels, Box(0.25, 0.5, 0.75, 1.0))
    np.testing.assert_array_equal(part, pixels[90:, 80:240])
