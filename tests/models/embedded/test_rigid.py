"""What keeps its shape as it goes: measured on outlines, weighed with what the looks say, and told as a vehicle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Pixels
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.kinds import GROUPS
from models.embedded.pictures import Mask
from models.embedded.rigid import driven, kept
from tests.models.embedded.test_things import CAR, ByColour, Unread
from tests.models.embedded.yard import Mover, Scene, Watched, every

LABELS = ("car", "bus", "person", "dog", "cup")


def outline(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((90, 160), bool)
    mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return mask


def test_a_shape_that_is_moved_is_the_same() -> None:
    here, there = outline(20, 30, 60, 50), outline(36, 39, 76, 59)
    assert kept(here, there, (16 / 160, 9 / 90)) == 1.0
    assert kept(here, here, (0.0, 0.0)) == 1.0


def test_what_is_outside_the_picture_is_not_held_against_it() -> None:
    comes, came = outline(-30, 30, 10, 50), outline(-10, 30, 30, 50)
    assert kept(comes, came, (20 / 160, 0.0)) == 1.0
    assert kept(outline(-38, 30, 2, 50), came, (28 / 160, 0.0)) is None  # too little of it was inside to tell


def test_a_shape_that_bends_is_another() -> None:
    upright, bent = outline(60, 20, 70, 60), outline(50, 40, 80, 60)
    share = kept(upright, bent, (0.0, 0.0))
    assert share is not None
    assert share < 0.5


@given(st.dictionaries(st.sampled_from(LABELS), st.floats(0.0, 0.2)))
def test_vehicles_are_believed_more_and_everything_else_less(chances: dict[str, float]) -> None:
    after = driven(chances)
    assert sum(after.values()) <= 1.0 + 1e-9
    for name, chance in chances.items():
        if name in GROUPS["vehicle"]:
            assert after[name] >= chance
        else:
            assert after[name] <= chance


def test_what_is_surely_living_is_not_made_a_vehicle() -> None:
    assert driven({"person": 0.95})["person"] > 0.6
    assert driven({"dog": 0.9})["dog"] > 0.6


@dataclass(frozen=True)
class Walker(Mover):
    """Its legs open and close as it goes."""

    def draw(self, pixels: Pixels, t: float) -> None:
        stride = abs(t * 1.3 % 1.0 - 0.5)
        upper = Mover(self.colour, self.start, self.stop, self.begin, self.end, (0.06, 0.3))
        upper.draw(pixels, t)
        for side in (-1, 1):
            (x0, y0), (x1, y1) = self.begin, self.end
            aside = side * 0.16 * stride
            leg = Mover(
                self.colour, self.start, self.stop, (x0 + aside, y0 + 0.18), (x1 + aside, y1 + 0.18), (0.04, 0.16)
            )
            leg.draw(pixels, t)


def watch(mover: Mover, seer: ByColour) -> Watched:
    encoder = EmbeddedEncoder(reader=Unread(), seer=seer)
    return Watched(encoder, encoder.encode(Scene([mover]).frames(every(0.25, 10.0))))


def test_a_rigid_thing_that_looks_a_little_like_a_car_is_one() -> None:
    seen = watch(CAR, ByColour({"red": ("car", 0.15)}))
    (car,) = seen.observations("thing")
    assert (car.label, car.colour) == ("car", "red")
    assert 0.5 <= car.score < 0.9
    assert "moves right" in car.actions
    assert seen.spans("a red car", threshold=0.5)


@pytest.mark.parametrize("names", [{}, {"red": ("person", 0.15)}, {"red": ("cup", 0.2)}])
def test_without_support_from_its_looks_it_has_no_name(names: dict[str, tuple[str, float]]) -> None:
    (thing,) = watch(CAR, ByColour(names)).observations("thing")
    assert thing.label == "something"


def test_what_bends_is_no_vehicle() -> None:
    walker = Walker("red", 1.0, 9.0, (0.1, 0.4), (0.9, 0.4))
    seen = watch(walker, ByColour({"red": ("car", 0.15)}))
    assert seen.observations("thing", "something")
    assert not seen.observations("thing", "car")
