"""Sentences about things with names: what each word is taken as, and how probable a frame makes the sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.questions import Query
from ingest.records import Vector
from models.embedded.clauses import query
from models.embedded.concepts import strength
from models.embedded.kinds import KINDS, rows_of
from models.embedded.nouns import noun, plural
from models.embedded.sentences import read
from models.embedded.space import (
    COUNTED,
    DIM,
    SIGHT_SIZE,
    doing_slot,
    dress_slot,
    frame_vector,
    number_slot,
    scene_slot,
    thing_slot,
)

SECOND = 1_000_000


def frame(*kinds: tuple[str, float, str, str]) -> Vector:
    """A frame with things: kind, probability, colour, doing."""
    concepts: dict[int, float] = {scene_slot("things judged"): 1.0, scene_slot("motion judged"): 1.0}
    counts: dict[str, float] = {}
    for kind, probability, colour, doing in kinds:
        concepts[thing_slot(kind)] = strength(probability)
        counts[kind] = counts.get(kind, 0.0) + probability
        for row in rows_of(kind):
            concepts |= {dress_slot(row, colour): strength(probability)} if colour else {}
            concepts |= {doing_slot(row, doing): strength(probability)} if doing else {}
    concepts |= {number_slot(kind): min(count / COUNTED, 1.0) for kind, count in counts.items()}
    return frame_vector(concepts)


def chance(sentence: str, *kinds: tuple[str, float, str, str]) -> float:
    asked = query(sentence)
    return float(asked.probability(np.asarray(frame(*kinds) @ asked.vector)))


@pytest.mark.parametrize(
    ("word", "kind", "share"),
    [
        ("someone", "person", 1.0), ("people", "person", 1.0), ("woman", "person", 0.7),
        ("children", "person", 0.7), ("bike", "bicycle", 1.0), ("puppies", "dog", 1.0), ("pet", "animal", 0.7),
        ("vehicles", "vehicle", 1.0), ("van", "vehicle", 0.35), ("mobile phone", "cell phone", 1.0),
        ("knives", "knife", 1.0), ("stop signs", "stop sign", 1.0), ("oranges", "orange", 1.0),
    ],
)  # fmt: skip
def test_words_are_taken_as_kinds(word: str, kind: str, share: float) -> None:
    assert noun(word) == (kind, share)


def test_every_kind_is_known_by_its_name_and_its_plural() -> None:
    for kind in set(KINDS) - {"orange"}:
        assert noun(kind) == (kind, 1.0)
        assert noun(plural(kind)) == (kind, 1.0)
    assert noun("orange") is None  # a colour, to everyone


@pytest.mark.parametrize(
    ("sentence", "understood", "unsure", "unknown"),
    [
        ("a person", ("person",), (), ()),
        ("a red car", ("red car",), (), ()),
        ("a car drives away", ("car leaves",), (), ()),
        ("a person enters the room", ("person enters",), (), ()),
        ("a woman plays with a dog", ("person", "dog"), ("woman",), ("plays",)),
        ("a man in black", ("black person",), ("man",), ()),
        ("two people at once", ("two people",), (), ()),
        ("a white dog and a black cat", ("white dog", "black cat"), (), ()),
        ("someone takes a bottle away", ("person", "bottle", "bottle vanishes"), (), ()),
        ("nobody is there", ("no person",), (), ()),
        ("no dog", ("no dog",), (), ()),
        ("a horse gallops", ("horse",), (), ("gallops",)),
        ("a bag is left on the table", ("bag",), (), ()),
        ("someone is speaking", ("speech",), (), ()),
        ("a crowd", ("four people",), ("crowd",), ()),
        ('the text "dog"', ('"dog"',), (), ()),
    ],
)
def test_what_is_understood(
    sentence: str, understood: tuple[str, ...], unsure: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    asked = query(sentence)
    assert (asked.understood, asked.unsure, asked.unknown) == (understood, unsure, unknown)


@given(st.sampled_from(KINDS), st.floats(0.16, 0.97))
def test_a_thing_alone_is_as_probable_as_it_was_seen(kind: str, probability: float) -> None:
    sentence = {"orange": "oranges"}.get(kind, f"a {kind}")
    assert chance(sentence, (kind, probability, "", "")) == pytest.approx(probability, abs=0.01)


def test_all_that_is_said_must_be_met() -> None:
    car = ("car", 0.95, "red", "moves")
    assert chance("a red car", car) > 0.9
    assert chance("a red car moves", car) > 0.8
    for other in (
        "a blue car",
        "a red truck",
        "a car leaves",
        "a red car enters",
        "a person and a car",
        "a red person",
    ):
        assert chance(other, car) < 0.1
    assert chance("a dog and a cat", ("dog", 0.95, "", ""), ("cat", 0.3, "", "")) < 0.4


def test_a_word_that_says_more_than_can_be_seen_is_never_sure() -> None:
    someone = ("person", 0.97, "", "")
    assert chance("a person", someone) > 0.9
    assert 0.5 < chance("a woman", someone) < 0.75
    assert 0.5 < chance("a person plays", someone) < 0.75
    assert chance("a woman", ("person", 0.4, "", "")) < 0.4
    for seldom, kind in (("a soldier", "person"), ("a lion", "animal"), ("an ambulance", "vehicle")):
        assert 0.1 < chance(seldom, (kind, 0.97, "", "")) < 0.5  # never claimed, but where it would be is told


def test_numbers() -> None:
    dogs = [("dog", 0.95, "", "")] * 3
    for sentence, most, few in (("two dogs", 2, 1), ("three dogs", 3, 2), ("several dogs", 2, 1)):
        assert chance(sentence, *dogs[:most]) > 0.8
        assert chance(sentence, *dogs[:few]) < 0.2
    assert chance("only one dog", *dogs[:1]) > 0.8
    assert chance("only one dog", *dogs[:2]) < 0.3
    assert chance("only one dog") < 0.1
    assert chance("a dog", *dogs) > 0.8


def test_absence_is_told_where_things_were_looked_for() -> None:
    asked = query("no dog")
    assert chance("no dog") > 0.7
    assert chance("no dog", ("dog", 0.9, "", "")) < 0.1
    assert float(asked.probability(np.asarray(frame_vector({}) @ asked.vector))) < 0.1  # nobody looked
    assert chance("the car does not move", ("car", 0.95, "", "")) > 0.9
    assert chance("the car does not move", ("car", 0.95, "", "moves")) < 0.1
    assert chance("the car does not move") < 0.1


@pytest.mark.parametrize(
    ("sentence", "seconds"),
    [
        ("someone stays longer than 30 s", 30), ("a car for at least 2 minutes", 120), ("a dog over an hour", 3600),
        ("a person for more than 1.5 minutes", 90), ("a person", 0), ("30 people", 0),
    ],
)  # fmt: skip
def test_how_long_something_must_last(sentence: str, seconds: int) -> None:
    assert query(sentence).lasting == seconds * SECOND


@pytest.mark.parametrize(
    ("sentence", "kinds", "colour", "least"),
    [
        ("a red car", ("car",), "red", 1), ("When was the red car there?", ("car",), "red", 1),
        ("two cars at the same time", ("car",), "", 2), ("several dogs", ("dog",), "", 2),
        ("someone stays longer than 30 s", ("person",), "", 1), ("a person in black", ("person",), "black", 1),
        ("a bag in the picture", ("bag", "backpack", "handbag", "suitcase"), "", 1), ("a woman", ("person",), "", 1),
    ],
)  # fmt: skip
def test_what_has_only_to_be_there(sentence: str, kinds: tuple[str, ...], colour: str, least: int) -> None:
    asked = query(sentence)
    assert (asked.kinds, asked.colour, asked.least) == (kinds, colour, least)


@pytest.mark.parametrize(
    "sentence",
    [
        "a car drives", "a car stays", "a red car on the left", "no dog", "only one bottle is left", "a woman plays",
        "a person on a bed", "a car and a dog", "a face", "something red", "a red and blue car", "the road is empty",
        "a big car", "a car with a zeppelin", "a car STOP", 'someone says "hello"', "the text CAR", "a balloon",
    ],
)  # fmt: skip
def test_more_than_being_there_is_asked(sentence: str) -> None:
    for asked in (query(sentence), query(sentence, Tower())):
        assert (asked.kinds, asked.colour, asked.least) == ((), "", 1)
    assert query("a person and a balloon", Tower()).kinds == ()


@pytest.mark.parametrize(
    ("sentence", "kinds", "colour", "doing"),
    [
        ("a white car enters", ("car",), "white", "enters"), ("a red car passes", ("car",), "red", "passes"),
        ("a red car drives", (), "", ""), ("two cars pass", (), "", ""), ("someone leaves", ("person",), "", "leaves"),
        ("a car drives away", ("car",), "", "leaves"), ("a bottle appears", ("bottle",), "", "appears"),
        ("two cars enter", (), "", ""), ("a woman enters", (), "", ""), ("a car enters and leaves", (), "", ""),
        ("nobody enters", (), "", ""), ("a car drives up", (), "", ""), ("something enters", (), "", ""),
    ],
)  # fmt: skip
def test_what_only_comes_or_goes(sentence: str, kinds: tuple[str, ...], colour: str, doing: str) -> None:
    asked = query(sentence)
    assert (asked.kinds, asked.colour, asked.least, asked.doing) == (kinds, colour, 1, doing)


def test_a_place_helps_and_does_not_veto() -> None:
    person, bed = ("person", 0.99, "", ""), ("bed", 0.9, "", "")
    assert read("a person on a bed").mentions[1].place
    assert chance("a person on a bed", person, bed) > chance("a person on a bed", person) > 0.5
    assert chance("a person on a bed", bed) < 0.1


class Tower:
    """Knows the word "balloon", as the first direction of the space."""

    def query(self, text: str) -> Query:
        words = text.lower().split()
        vector = np.zeros(SIGHT_SIZE, np.float32)
        vector[0] = float("balloon" in words)
        return Query(text, vector, 7.5, -4.0, unknown=tuple(word for word in words if word != "balloon"))


def test_other_words_are_compared_with_the_whole_picture() -> None:
    asked = query("a balloon", Tower())
    assert (asked.understood, asked.unsure, asked.unknown) == ((), ("balloon",), ())
    sights = [np.eye(SIGHT_SIZE, dtype=np.float32)[axis] for axis in (0, 1)]
    likely, unlikely = (float(asked.probability(np.asarray(frame_vector({}, sight=s) @ asked.vector))) for s in sights)
    rarer = 2.4  # what someone looks for in footage is rarer than what the tower was calibrated on
    assert likely == pytest.approx(1 / (1 + np.exp(rarer - 3.5)), abs=0.01)
    assert unlikely == pytest.approx(1 / (1 + np.exp(rarer + 4.0)), abs=0.01)
    assert float(asked.probability(np.asarray(frame_vector({}, words={"balloon": 1.0}) @ asked.vector))) > 0.6
    assert query("a zeppelin", Tower()).unknown == ("zeppelin",)
    both = query("a balloon and a dog", Tower())
    frames = [frame_vector({thing_slot("dog"): dog}, sight=sights[0]) for dog in (1.0, 0.0)]
    assert float(both.probability(np.asarray(frames[0] @ both.vector))) > 0.7
    assert float(both.probability(np.asarray(frames[1] @ both.vector))) < 0.1


def test_vectors_have_room_for_everything() -> None:
    assert frame(("person", 0.9, "red", "moves")).shape == (DIM,)
