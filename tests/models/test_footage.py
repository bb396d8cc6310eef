"""The embedded encoder on real clips, where they are present. Claims are generic; nothing is tuned to a clip."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from ingest.records import Frame, Moment, StreamId
from models.embedded.encoder import EmbeddedEncoder
from tests.models.embedded.yard import ORIGIN, Watched, seconds

FOOTAGE = Path(__file__).resolve().parents[3] / "shared" / "footage"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOOTAGE.is_dir(), reason="../shared/footage is not there: no real clips to watch"),
]
CLIPS = ("car-detection", "bottle-detection", "cooking-eggs", "dog-fetch", "bedroom", "nasa-cleanroom")


@functools.cache
def watched(name: str) -> Watched:
    """The clip sampled at four frames a second."""
    import av

    encoder = EmbeddedEncoder()
    features, due = [], 0.0
    with av.open(str(FOOTAGE / f"{name}.mp4")) as container:
        for picture in container.decode(video=0):
            assert picture.time is not None
            if picture.time + 1e-3 < due:
                continue
            due = picture.time + 0.25
            at = round(picture.time * 1e6)
            pixels = picture.to_ndarray(format="rgb24")
            features += encoder.encode([Frame(StreamId("clip"), 0, at, Moment(ORIGIN + at), pixels)])
    return Watched(encoder, features)


@functools.cache
def annotations() -> dict[str, dict[str, Any]]:
    clips = json.loads((FOOTAGE / "annotations.json").read_text())["clips"]
    return {Path(clip["file"]).stem: clip for clip in clips}


def truth(name: str, text: str) -> list[tuple[float, float]]:
    (event,) = (event for event in annotations()[name]["events"] if event["text"] == text)
    return [(start, end) for start, end in event["spans"]]


def test_cars_from_above_are_timed_to_a_second() -> None:
    seen = watched("car-detection")
    moving = seen.spans("something moves")
    for (start, end), (true_start, true_end) in zip(moving, truth("car-detection", "a car passes"), strict=True):
        assert start == pytest.approx(true_start, abs=1.0)
        assert end == pytest.approx(true_end, abs=1.0)
    named = [seconds(one.span) for one in seen.observations("thing")]
    assert len(named) == 4
    for what, side in (("enters", 0), ("leaves", 1)):
        told = [seconds(one.span)[side] for one in seen.observations("event", what)]
        assert sorted(told) == pytest.approx(sorted(span[side] for span in named), abs=1.0)


def test_colours_of_cars() -> None:
    seen = watched("car-detection")
    ((start, end),) = seen.spans("something red moves")
    assert (start, end) == pytest.approx(truth("car-detection", "a red car")[0], abs=1.0)
    colours = [one.colour for one in seen.observations("thing")]
    assert colours.count("red") == 1
    assert set(colours) <= {"red", "white", "grey"}
    ((start, end),) = seen.spans("two things")
    assert (start, end) == pytest.approx(truth("car-detection", "two cars at the same time")[0], abs=1.0)


def test_a_hand_reaching_in_is_something_that_moves() -> None:
    seen = watched("bottle-detection")
    hands = truth("bottle-detection", "a hand is in the picture")
    moving = seen.spans("something moves")
    found = [any(start - 1 <= b and a <= end + 1 for a, b in moving) for start, end in hands]
    assert sum(found) == len(hands)
    for start, end in moving:
        assert any(a - 1 <= start and end <= b + 1.6 for a, b in hands)


def test_words_on_the_title_cards() -> None:
    seen = watched("cooking-eggs")
    ((start, end),) = seen.spans("the text SCRAMBLED EGGS DONE RIGHT on the screen")
    assert (start, end) == pytest.approx((5.5, 10.0), abs=1.5)
    assert any(65 <= start <= 67 and end >= 69.5 for start, end in seen.spans("allrecipes"))
    assert any(start >= 65 for start, _ in seen.spans("an orange picture"))


def test_nothing_is_claimed_for_what_is_absent() -> None:
    claimed = [
        (name, text, spans)
        for name in CLIPS
        for text in annotations()[name]["absent"]
        if (spans := watched(name).spans(text, threshold=0.5))
    ]
    assert claimed == []
