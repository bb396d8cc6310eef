"""Things with names joined with what moves: one thing, one name, one coming and one going. Nano is a stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from ingest.questions import Query
from ingest.records import Box, Pixels
from models.embedded.closer import PARTS
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.reading import Line
from models.embedded.space import SIGHT_SIZE
from models.nano.detector import Detection, Sight
from tests.models.embedded.yard import COLOURS, Mover, Scene, Watched, every, seconds


class Unread:
    """A reader that finds no text."""

    def read(self, pixels: Pixels) -> list[Line]:
        return []


@dataclass
class ByColour:
    """Sees every patch of a colour as a thing of one name, with a probability; counts its looks at whole pictures."""

    names: dict[str, tuple[str, float]]
    looks: int = 0
    closer: int = 0
    """Looks at parts of pictures."""
    size: tuple[int, ...] = ()
    misses: set[int] = field(default_factory=set)
    id: str = "by-colour"

    def see(self, pictures: Sequence[Pixels], *, floor: float | None = None) -> list[Sight]:
        return [self._look(pixels) for pixels in pictures]

    def query(self, text: str) -> Query:
        return Query(text, np.zeros(SIGHT_SIZE, np.float32), unknown=tuple(text.lower().split()))

    def _look(self, pixels: Pixels) -> Sight:
        self.size = self.size or pixels.shape
        self.looks += pixels.shape == self.size
        self.closer += pixels.shape != self.size
        found = []
        for colour, (label, score) in self.names.items():
            away = np.abs(pixels.astype(np.int16) - np.array(COLOURS[colour])).max(axis=2)
            rows, columns = np.nonzero(away < 20)
            if len(rows) > 40 and self.looks not in self.misses:
                height, width = pixels.shape[:2]
                box = Box(columns.min() / width, rows.min() / height, columns.max() / width, rows.max() / height)
                found.append(Detection(label, score, box))
        return Sight(tuple(found), np.eye(SIGHT_SIZE, dtype=np.float32)[0])


def watch(movers: Sequence[Mover], seer: ByColour, until: float = 10.0) -> Watched:
    encoder = EmbeddedEncoder(reader=Unread(), seer=seer)
    return Watched(encoder, encoder.encode(Scene(movers).frames(every(0.25, until))))


CAR = Mover("red", 2.0, 6.0, (-0.1, 0.5), (1.1, 0.5))
PERSON = Mover("blue", 0.0, 99.0, (0.3, 0.5), (0.3, 0.5), (0.1, 0.4))


def test_what_crosses_is_one_thing_with_one_name() -> None:
    seen = watch([CAR], ByColour({"red": ("car", 0.95)}))
    (car,) = seen.observations("thing")
    assert (car.label, car.colour) == ("car", "red")
    assert "moves right" in car.actions
    assert seconds(car.span) == pytest.approx((2.2, 6.0), abs=0.8)
    assert [(one.label, one.text) for one in seen.observations("event")] == [("enters", "car"), ("leaves", "car")]
    for sentence in ("a car", "a red car", "a vehicle", "a red car moves right", "something red moves"):
        ((start, end),) = seen.spans(sentence)
        assert (start, end) == pytest.approx((2.2, 6.0), abs=0.9), sentence
    ((start, _),) = seen.spans("a car enters")
    assert start == pytest.approx(2.5, abs=0.8)
    assert seen.spans("a car leaves")
    for sentence in ("a truck", "a person", "a blue car", "a car moves left", "two cars", "an animal"):
        assert seen.spans(sentence, threshold=0.3) == [], sentence


def test_without_a_name_it_is_still_something() -> None:
    seen = watch([CAR], ByColour({}))
    (thing,) = seen.observations("thing")
    assert (thing.label, thing.colour) == ("something", "red")
    assert [(one.label, one.text) for one in seen.observations("event")] == [
        ("enters", "something"),
        ("leaves", "something"),
    ]
    assert seen.spans("a car", threshold=0.1) == []


def test_what_was_something_before_its_name_came_back_is_not_told_twice() -> None:
    stands = Mover("blue", 0.0, 5.0, (0.3, 0.5), (0.3, 0.5), (0.1, 0.4))
    walks = Mover("blue", 5.0, 9.0, (0.3, 0.5), (0.8, 0.5), (0.1, 0.4))
    seer = ByColour({"blue": ("person", 0.9)}, misses={4, 5, 6})
    seen = watch([stands, walks], seer, 9.0)
    told = {one.label for feature in seen.features for one in feature.observations if one.kind == "thing"}
    assert "something" in told
    (person,) = seen.observations("thing")
    assert person.label == "person"
    assert seconds(person.span) == pytest.approx((0.0, 9.0), abs=0.8)


def test_what_stands_still_is_seen_and_is_no_event() -> None:
    seen = watch([PERSON], ByColour({"blue": ("person", 0.9)}))
    (person,) = seen.observations("thing")
    assert (person.label, person.actions) == ("person", ("stays",))
    assert seen.observations("event") == []
    ((start, end),) = seen.spans("someone stays")
    assert (start, end) == pytest.approx((0.0, 10.0), abs=1.3)
    assert seen.spans("nobody is there") == []
    assert seen.spans("a person moves") == []


def test_two_at_once_and_one_left() -> None:
    second = Mover("green", 3.0, 7.0, (0.7, 0.5), (0.7, 0.5), (0.1, 0.4))
    seen = watch([PERSON, second], ByColour({"blue": ("person", 0.95), "green": ("person", 0.95)}))
    ((start, end),) = seen.spans("two people at once")
    assert (start, end) == pytest.approx((3.0, 7.0), abs=1.6)
    assert len(seen.spans("only one person")) == 2


def test_a_look_that_misses_does_not_break_a_visit() -> None:
    seen = watch([CAR], ByColour({"red": ("car", 0.95)}, misses={12, 15, 16}))
    assert [one.label for one in seen.observations("thing")] == ["car"]
    assert len(seen.spans("a car")) == 1


def test_what_darts_about_is_lost_and_found_without_breaking_anything() -> None:
    ways = [(0.15, 0.85), (0.85, 0.15)] * 2
    darts = [Mover("red", 1.5 * n, 1.5 * n + 1.5, (a, 0.5), (b, 0.5), (0.1, 0.15)) for n, (a, b) in enumerate(ways)]
    seen = watch(darts, ByColour({"red": ("car", 0.95)}), 6.0)
    assert len(seen.features) == len(every(0.25, 6.0))
    assert {one.label for one in seen.observations("thing")} == {"car"}


def test_a_fleeting_guess_is_not_told() -> None:
    flicker = ByColour({"blue": ("cat", 0.6)}, misses={n for n in range(1, 60) if n % 5})
    seen = watch([PERSON, CAR], flicker)
    assert "cat" not in {one.label for one in seen.observations("thing")}
    assert seen.spans("a cat") == []


def test_a_still_picture_is_not_looked_at_again_and_again() -> None:
    seer = ByColour({"blue": ("person", 0.9)})
    watch([PERSON], seer, until=20.0)
    assert seer.looks <= 4
    assert seer.closer <= 2 * len(PARTS)
    moving = ByColour({"red": ("car", 0.9)})
    watch([CAR], moving, until=8.0)
    assert moving.looks > 12


def test_a_name_that_comes_late_is_given_to_the_coming() -> None:
    late = ByColour({"red": ("car", 0.95)}, misses=set(range(2, 7)))
    seen = watch([CAR], late)
    assert [(one.label, one.text) for one in seen.observations("event")] == [("enters", "car"), ("leaves", "car")]
    assert len(seen.observations("thing")) == 1


def test_what_cannot_travel_by_itself_is_not_believed_when_it_does() -> None:
    phone = watch([CAR], ByColour({"red": ("cell phone", 0.7)}))
    assert "cell phone" not in {one.label for one in phone.observations("thing")}
    assert all(start < 3.5 for start, _ in phone.spans("a cell phone"))  # until it has gone some way
    still = watch([Mover("red", 0.0, 99.0, (0.5, 0.5), (0.5, 0.5))], ByColour({"red": ("cell phone", 0.7)}))
    assert [one.label for one in still.observations("thing")] == ["cell phone"]


def test_what_is_brought_and_stays_has_its_name_again() -> None:
    brought = [Mover("red", 2.0, 4.0, (-0.1, 0.5), (0.5, 0.5)), Mover("red", 4.0, 99.0, (0.5, 0.5), (0.5, 0.5))]
    seen = watch(brought, ByColour({"red": ("bottle", 0.9)}))
    assert [one.label for one in seen.observations("thing")] == ["bottle"]
    assert seen.spans("only one bottle")[-1][1] == pytest.approx(10.0, abs=0.8)


def test_what_travels_is_believed_more_to_be_what_travels() -> None:
    vague = ByColour({"red": ("car", 0.4)})
    assert [one.label for one in watch([CAR], vague).observations("thing")][-1] == "car"
    still = watch([Mover("red", 0.0, 99.0, (0.5, 0.5), (0.5, 0.5))], vague)
    assert still.observations("thing") == []
    assert still.chances("a car").max() == pytest.approx(0.4, abs=0.02)


def test_what_has_parked_is_the_colour_that_all_of_it_was_as_it_came() -> None:
    """The middle of its box is a dark window."""
    came, parked = (2.0, 4.0, (-0.1, 0.5), (0.5, 0.5)), (4.0, 99.0, (0.5, 0.5), (0.5, 0.5))
    body = [Mover("white", *came, (0.3, 0.4)), Mover("white", *parked, (0.3, 0.4))]
    window = [Mover("black", *came, (0.16, 0.25)), Mover("black", *parked, (0.16, 0.25))]
    seen = watch([*body, *window], ByColour({"white": ("car", 0.95)}), 20.0)
    (car,) = seen.observations("thing", "car")
    assert (car.colour, car.actions) == ("white", ("stays",))
    assert seconds(car.span)[1] > 19.0
    assert seen.chances("a white car")[-1] > 0.6
    assert seen.chances("a black car")[-1] < 0.4


def test_what_passes_in_front_of_a_thing_does_not_give_it_its_colour() -> None:
    stands = Mover("white", 0.0, 99.0, (0.5, 0.5), (0.5, 0.5), (0.3, 0.4))
    passes = Mover("red", 8.0, 12.0, (-0.1, 0.5), (1.1, 0.5), (0.2, 0.35))
    seen = watch([stands, passes], ByColour({"white": ("car", 0.95)}), 16.0)
    [*_, car] = sorted(seen.observations("thing", "car"), key=lambda one: one.span.end)
    assert car.colour == "white"
    assert seen.chances("a white car")[-1] > 0.6
    assert seen.chances("a red car")[-1] < 0.4
