"""The weights in the repository: small, quick, and better than nothing. What they are worth is measured in the card."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from models.nano import detector
from models.nano.detector import WEIGHTS, Nano
from models.nano.training.pictures import clip_frames

FOLDER = Path(detector.__file__).parent
SHARED = Path(__file__).parents[4] / "shared"


@pytest.fixture(scope="module")
def nano() -> Nano:
    torch.set_num_threads(1)
    return Nano.load()


def test_all_weights_together_are_at_most_twelve_megabytes() -> None:
    assert (FOLDER / WEIGHTS).stat().st_size <= 12_000_000
    assert [path.name for path in FOLDER.iterdir() if path.suffix in (".safetensors", ".onnx", ".npz")] == [WEIGHTS]


def test_loading_is_quick(nano: Nano) -> None:
    """Once torch is imported. The limit is a second; a slow machine gets three, of its own time and not of others'."""
    before = time.process_time()
    Nano.load()
    assert time.process_time() - before < 3.0


@pytest.mark.parametrize("shade", [0, 60, 128, 255])
def test_an_empty_picture_has_nobody_in_it(nano: Nano, shade: int) -> None:
    (sight,) = nano.see([np.full((240, 320, 3), shade, np.uint8)])
    assert [found for found in sight.detections if found.score > 0.3] == []


def test_words_of_one_kind_lie_closer_than_words_of_two(nano: Nano) -> None:
    dog, puppy, car, truck = nano.embed(["a dog", "a puppy runs", "a car", "a truck on the road"])
    assert dog @ puppy > dog @ truck
    assert car @ truck > car @ puppy


def test_most_everyday_words_are_known(nano: Nano) -> None:
    query = nano.query("A man in a red jacket opens the door of a white van, and two children ride bicycles")
    assert query.unknown == ()
    assert "jacket" in query.understood
    assert nano.query("zxqv").unknown == ("zxqv",)


def test_people_are_found_in_a_clip_that_was_never_learned_from(nano: Nano) -> None:
    clip = SHARED / "footage" / "dog-fetch.mp4"
    if not clip.exists():
        pytest.skip("the clip dog-fetch.mp4 is not beside the project")
    sights = nano.see([pixels for _, pixels in clip_frames(clip, 1.0)])
    people = [max((f.score for f in sight.detections if f.label == "person"), default=0.0) for sight in sights]
    assert np.mean(np.array(people) > 0.5) >= 0.5


def test_bottles_are_found_and_nobody_where_no_hand_reaches_in(nano: Nano) -> None:
    clip = SHARED / "footage" / "bottle-detection.mp4"
    if not clip.exists():
        pytest.skip("the clip bottle-detection.mp4 is not beside the project")
    told = json.loads((SHARED / "footage" / "annotations.json").read_text())["clips"]
    events = {event["text"]: event["spans"] for each in told if each["file"] == clip.name for event in each["events"]}
    hands = events["a hand is in the picture"]
    frames = [(s, p) for s, p in clip_frames(clip, 2.0) if not any(a - 0.5 <= s <= b + 0.5 for a, b in hands)]
    sights = nano.see([pixels for _, pixels in frames])
    claimed = [[f.label for f in sight.detections if f.score > 0.5] for sight in sights]
    assert len(frames) >= 10
    assert not any("person" in labels for labels in claimed)
    assert np.mean(["bottle" in labels for labels in claimed]) > 0.8
