"""Scenes with known truth: the boxes lie where the things are, and the teacher is set right by them."""

from __future__ import annotations

import random

import numpy as np

from models.nano.boxes import NONE, Boxes, decode, suppress
from models.nano.coco import NAMES
from models.nano.training.staged import KNOWN, scene, staged
from models.nano.training.targets import correct, maps_of

CAR, PERSON, COUCH = (NAMES.index(name) for name in ("car", "person", "couch"))


def boxes(*rows: tuple[int, tuple[float, float, float, float]]) -> Boxes:
    corners = np.array([corner for _, corner in rows], np.float32).reshape(-1, 4)
    return Boxes(corners, np.ones(len(rows), np.float32), np.array([category for category, _ in rows], np.int64))


def test_the_same_number_is_the_same_scene() -> None:
    once = scene(5)
    scene.cache_clear()
    np.testing.assert_array_equal(once.pixels, scene(5).pixels)
    np.testing.assert_array_equal(once.boxes.corners, scene(5).boxes.corners)


def test_the_truth_is_in_the_pixels() -> None:
    """A box is rimmed by edges: its border differs from what is just outside more often than not."""
    sharp = []
    for number in range(20):
        pixels = scene(number).pixels.astype(float).mean(2)
        for left, top, right, bottom in scene(number).boxes.corners.astype(int):
            if left > 4 and right < pixels.shape[1] - 4 and right - left > 20:
                row = pixels[(top + bottom) // 2]
                sharp.append(np.ptp(row[left - 4 : right + 4]) > np.ptp(row[left - 4 : left]) + 5)
    assert len(sharp) > 20
    assert np.mean(sharp) > 0.9


def test_boxes_stay_inside_and_follow_the_cut() -> None:
    seen = 0
    for seed in range(40):
        made = staged(160, random.Random(seed))
        assert made.pixels.shape == (160, 160, 3)
        assert set(made.boxes.categories) <= KNOWN
        seen += len(made.boxes)
        corners = made.boxes.corners
        assert corners.size == 0 or (corners.min() >= 0 and corners.max() <= 160)
        assert (corners[:, 2:] > corners[:, :2]).all()
    assert seen > 20


def test_what_is_there_is_said_and_what_is_not_there_is_unsaid() -> None:
    teacher = maps_of(boxes((PERSON, (20, 20, 60, 100)), (COUCH, (100, 20, 160, 80))), 192, 192)
    correct(teacher, boxes((CAR, (60, 120, 130, 180))), KNOWN)
    found = suppress(decode(teacher, 0.3, probabilities=True))
    assert sorted(found.categories) == sorted([CAR, COUCH]), "no person is there; of couches nothing is known"
    car = found.where(found.categories == CAR)
    np.testing.assert_allclose(car.corners, [[60, 120, 130, 180]], atol=0.01)


def test_a_teacher_who_is_right_keeps_the_say() -> None:
    truth = boxes((CAR, (20, 20, 100, 90)))
    teacher = maps_of(truth, 128, 128)
    before = [level.copy() for level in teacher]
    correct(teacher, truth, KNOWN)
    for ours, theirs in zip(teacher, before, strict=True):
        np.testing.assert_allclose(ours, theirs)
    correct(teacher, NONE, KNOWN)
    assert len(decode(teacher, 0.3, probabilities=True)) == 0
