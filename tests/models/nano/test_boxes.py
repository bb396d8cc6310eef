"""Decoding, suppression and overlap against slow, obvious versions of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.nano.boxes import NONE, Boxes, decode, letterbox, overlap, suppress


def some_boxes(seed: int, count: int, categories: int = 3) -> Boxes:
    dice = np.random.default_rng(seed)
    corner = dice.uniform(0, 80, (count, 2))
    corners = np.concatenate((corner, corner + dice.uniform(1, 40, (count, 2))), 1).astype(np.float32)
    return Boxes(corners, dice.random(count).astype(np.float32), dice.integers(0, categories, count))


def painted_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two integer boxes by counting pixels."""
    canvas = np.zeros((2, 130, 130), bool)
    for layer, (left, top, right, bottom) in zip(canvas, (one, other), strict=True):
        layer[int(top) : int(bottom), int(left) : int(right)] = True
    return float((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum())


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_overlap_is_the_share_of_common_pixels(seed: int) -> None:
    corners = some_boxes(seed, 4).corners.round() + np.array([0, 0, 1, 1], np.float32)
    expected = [[painted_overlap(a, b) for b in corners] for a in corners]
    np.testing.assert_allclose(overlap(corners, corners), expected, atol=1e-5)


@given(st.integers(0, 10_000), st.integers(0, 40))
@settings(max_examples=50)
def test_suppression_keeps_a_box_unless_a_better_kept_one_of_its_category_covers_it(seed: int, count: int) -> None:
    boxes = some_boxes(seed, count)
    kept: list[int] = []
    for index in sorted(range(count), key=lambda i: -boxes.scores[i]):
        rivals = [k for k in kept if boxes.categories[k] == boxes.categories[index]]
        if all(overlap(boxes.corners[[index]], boxes.corners[[k]])[0, 0] <= 0.5 for k in rivals):
            kept.append(index)
    result = suppress(boxes)
    np.testing.assert_array_equal(result.corners, boxes.corners[kept])
    np.testing.assert_array_equal(result.categories, boxes.categories[kept])


def test_suppression_stops_at_the_most() -> None:
    corners = np.array([[10 * i, 0, 10 * i + 5, 5] for i in range(9)], np.float32)
    boxes = Boxes(corners, np.linspace(0.9, 0.1, 9, dtype=np.float32), np.zeros(9, np.int64))
    assert len(suppress(boxes, most=4)) == 4
    assert len(suppress(NONE)) == 0


@pytest.mark.parametrize("probabilities", [True, False])
def test_a_box_written_into_a_cell_is_read_back(probabilities: bool) -> None:
    maps = [np.full((5 + 80, side, side), 0.0 if probabilities else -12.0, np.float32) for side in (8, 4, 2)]
    cell = maps[1][:, 2, 3]  # stride 16: this cell's corner is at (48, 32)
    cell[:4] = 0.5, 0.25, np.log(2.0), np.log(1.5)
    cell[4] = 0.9 if probabilities else np.log(0.9 / 0.1)
    cell[5 + 16] = 0.8 if probabilities else np.log(0.8 / 0.2)
    found = decode(maps, 0.1, probabilities=probabilities)
    assert found.categories.tolist() == [16]
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-5)
    np.testing.assert_allclose(found.corners, [[56 - 16, 36 - 12, 56 + 16, 36 + 12]], rtol=1e-5)
    assert len(decode(maps, 0.75, probabilities=probabilities)) == 0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 900), (720, 1280), (600, 20), (416, 416)])
def test_the_canvas_holds_the_whole_picture(height: int, width: int) -> None:
    picture = np.full((height, width, 3), 200, np.uint8)
    canvas, scale = letterbox(picture, 416)
    assert canvas.shape[0] % 32 == 0
    assert canvas.shape[1] % 32 == 0
    assert max(canvas.shape[:2]) == 416
    shown = (canvas == 200).all(2)
    assert shown.sum() == max(1, round(height * scale)) * max(1, round(width * scale))
    assert shown[0, 0]
