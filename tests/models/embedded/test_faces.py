"""Faces: painted ones, whose place and time are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.questions import Query
from ingest.records import Box, Frame, Moment, Pixels, Span, StreamId, Vector
from models.embedded.clauses import query
from models.embedded.encoder import EmbeddedEncoder
from models.embedded.faces import FaceFollower, find
from models.embedded.space import SIGHT_SIZE
from models.nano.detector import Detection, Sight
from models.nano.tracker import Visit
from tests.models.embedded.test_things import Unread

HEIGHT, WIDTH = 240, 320
ORIGIN = 1_700_000_000_000_000
SKIN, HAIR, BROW, SOCKET, PUPIL, LIPS = (
    (222, 184, 160), (60, 45, 35), (80, 55, 45), (150, 110, 95), (60, 45, 40), (150, 80, 80),
)  # fmt: skip
SOMEONE = Box(0.3, 0.1, 0.6, 1.0)


def empty() -> Pixels:
    return np.full((HEIGHT, WIDTH, 3), (120, 130, 140), np.uint8)


def paint(pixels: Pixels, box: Box, *, turned_away: bool = False) -> Pixels:
    """A person in `box`, whose head is its upper third."""
    left, top, right, bottom = (round(side) for side in _pixels(box))
    x, radius = (left + right) // 2, (bottom - top) / 6
    y = round(top + radius)
    cv2.rectangle(pixels, (left, round(y + 0.9 * radius)), (right, bottom), (40, 60, 150), -1)

    def oval(dx: float, dy: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        where = (round(x + dx * radius), round(y + dy * radius))
        cv2.ellipse(pixels, where, (round(wide * radius), round(high * radius)), 0, 0, 360, colour, -1)

    oval(0, -0.12, 0.84, 1.08, HAIR)
    if not turned_away:
        oval(0, 0.1, 0.72, 0.98, SKIN)
        for side in (-0.3, 0.3):
            oval(side, -0.28, 0.2, 0.05, BROW)
            oval(side, -0.08, 0.19, 0.13, SOCKET)
            oval(side, -0.08, 0.12, 0.07, PUPIL)
        oval(0, 0.3, 0.13, 0.06, SOCKET)
        oval(0, 0.58, 0.27, 0.08, LIPS)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), radius / 20), np.uint8)


def _pixels(box: Box) -> tuple[float, float, float, float]:
    return box.left * WIDTH, box.top * HEIGHT, box.right * WIDTH, box.bottom * HEIGHT


def person(box: Box = SOMEONE, number: int = 1, at: int = 0) -> Visit:
    return Visit(number, "person", Span(Moment(0), Moment(at)), box, box, 0.9)


def test_a_face_is_found_where_it_is() -> None:
    [(number, score, box)] = find(paint(empty(), SOMEONE), [person(number=7)])
    assert number == 7
    assert score > 0.9
    assert box.left < 0.45 < box.right
    assert box.top < 0.25 < box.bottom < 0.5


def test_who_turns_away_shows_none() -> None:
    assert not [*find(paint(empty(), SOMEONE, turned_away=True), [person()])]


def test_a_face_on_the_wall_is_nobodys() -> None:
    elsewhere = person(Box(0.7, 0.1, 0.95, 1.0))
    assert not [*find(paint(empty(), SOMEONE), [elsewhere])]
    assert not [*find(paint(empty(), SOMEONE), [])]


def test_one_face_in_two_boxes_is_one() -> None:
    around = person(Box(0.25, 0.05, 0.65, 1.0), number=2)
    assert len([*find(paint(empty(), SOMEONE), [person(), around])]) == 1


@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.lists(st.tuples(*[st.floats(0.0, 1.0)] * 4), max_size=8),
)
def test_no_picture_and_no_box_is_too_odd(size: tuple[int, int], sides: Sequence[tuple[float, ...]]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    boxes = [Box(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in sides]
    for _, score, box in find(noise, [person(box, number) for number, box in enumerate(boxes)]):
        assert 0.0 < score < 1.0
        assert 0.0 <= box.left <= box.right <= 1.0
        assert 0.0 <= box.top <= box.bottom <= 1.0


def test_a_blink_does_not_end_a_face() -> None:
    follower, shown, away = FaceFollower(), paint(empty(), SOMEONE), paint(empty(), SOMEONE, turned_away=True)
    [face] = follower.look(shown, [person()], Moment(0))
    [still] = follower.look(away, [person(at=500_000)], Moment(500_000))
    assert (still.first, still.last) == (face.first, Moment(0))
    assert not follower.look(away, [person(at=2_000_000)], Moment(2_000_000))
    [again] = follower.look(shown, [person(at=3_000_000)], Moment(3_000_000))
    assert again.first == Moment(3_000_000)


class SeesSomeone:
    """Sees a person in `SOMEONE`, always."""

    id = "someone"

    def see(self, pictures: Sequence[Pixels], *, floor: float | None = None) -> list[Sight]:
        found = (Detection("person", 0.95, SOMEONE),)
        return [Sight(found, np.eye(SIGHT_SIZE, dtype=np.float32)[0]) for _ in pictures]

    def query(self, text: str) -> Query:
        return Query(text, np.zeros(SIGHT_SIZE, np.float32), unknown=tuple(text.lower().split()))


def frames() -> Iterator[Frame]:
    """Someone looks at the camera from 3 to 6 s of 10."""
    shown, away = paint(empty(), SOMEONE), paint(empty(), SOMEONE, turned_away=True)
    for step in range(20):
        pixels = shown if 3.0 <= step / 2 < 6.0 else away
        yield Frame(StreamId("door"), 0, step, Moment(ORIGIN + step * 500_000), pixels)


def chances(sentence: str, vectors: Sequence[Vector]) -> list[float]:
    asked = query(sentence, SeesSomeone())
    return [float(asked.probability(np.asarray(vector @ asked.vector))) for vector in vectors]


def test_sentences_about_faces_hold_while_there_is_one() -> None:
    features = EmbeddedEncoder(reader=Unread(), seer=SeesSomeone()).encode([*frames()])
    vectors = [feature.vector for feature in features]
    for sentence in ("a face", "someone looks at the camera", "a person facing the camera"):
        met = [at for at, chance in enumerate(chances(sentence, vectors)) if chance > 0.5]
        assert met[0] == 6, sentence
        assert met == [*range(6, met[-1] + 1)], sentence
        assert 11 <= met[-1] <= 13, sentence  # held for a second
    absent = chances("nobody looks at the camera", vectors)
    assert min(absent[:6]) > 0.5 > max(absent[6:12])
    assert max(chances("two faces", vectors)) < 0.5
    told = {one.key: one for feature in features for one in feature.observations if one.label == "face"}
    [face] = told.values()
    assert face.span.start == ORIGIN + 3_000_000
    assert ORIGIN + 6_000_000 <= face.span.end <= ORIGIN + 7_000_000


@pytest.mark.parametrize(
    ("sentence", "understood", "unknown"),
    [
        ("a face", ("face",), ()),
        ("two faces", ("two faces",), ()),
        ("a woman looks into the camera", ("person", "face"), ()),
        ("someone faces the camera and leaves", ("person leaves", "face"), ()),
        ("no face", ("no face",), ()),
        ("nobody looks at the camera", ("no face",), ()),
        ("a man does not face the camera", ("person", "no face"), ()),
        ("a red face", ("face",), ("red",)),
        ("a face appears", ("face",), ()),
    ],
)
def test_words_for_faces(sentence: str, understood: tuple[str, ...], unknown: tuple[str, ...]) -> None:
    asked = query(sentence, SeesSomeone())
    assert (asked.understood, asked.unknown) == (understood, unknown)
