"""Average precision and matching against cases counted by hand, and a slower version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.nano.boxes import NONE, Boxes, overlap
from models.nano.training.export import matched, prior_weights
from models.nano.training.measure import average_precision, table

SQUARE = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], np.float32)


def boxes(rows: list[int], scores: list[float], category: int = 0) -> Boxes:
    return Boxes(SQUARE[rows], np.array(scores, np.float32), np.full(len(rows), category, np.int64))


def test_perfect_half_and_nothing() -> None:
    truth = [boxes([0, 1], [1, 1])]
    assert average_precision(truth, truth) == 1.0
    assert average_precision([boxes([0], [0.9])], truth) == 0.5
    assert average_precision([NONE], truth) == 0.0
    assert np.isnan(average_precision([NONE], [NONE]))


def test_a_mistake_ranked_first_costs_and_ranked_last_does_not() -> None:
    truth = [boxes([0, 1], [1, 1])]
    assert average_precision([boxes([3, 0, 1], [0.9, 0.8, 0.7])], truth) == pytest.approx(2 / 3)
    assert average_precision([boxes([0, 1, 3], [0.9, 0.8, 0.7])], truth) == 1.0


def test_a_second_box_on_the_same_thing_is_a_mistake() -> None:
    truth = [boxes([0, 1], [1, 1])]
    assert average_precision([boxes([0, 0, 1], [0.9, 0.8, 0.7])], truth) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_boxes_are_matched_within_their_own_picture() -> None:
    assert average_precision([boxes([0], [0.9]), NONE], [NONE, boxes([0], [1])]) == 0.0


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_average_precision_is_the_mean_over_recall_levels_of_the_best_precision_beyond(seed: int) -> None:
    dice = np.random.default_rng(seed)
    truth = [boxes(sorted(dice.choice(4, 2, replace=False)), [1, 1]) for _ in range(3)]
    found = [boxes(list(dice.choice(4, 3, replace=False)), list(dice.permutation(90)[:3] / 100)) for _ in range(3)]
    claims = [
        (float(score), image, tuple(corners))
        for image, each in enumerate(found)
        for score, corners in zip(each.scores, each.corners, strict=True)
    ]
    ranked = sorted(claims, key=lambda claim: -claim[0])
    hits = [any(tuple(t) == box for t in truth[image].corners) for _, image, box in ranked]
    points = [(sum(hits[: n + 1]) / 6, sum(hits[: n + 1]) / (n + 1)) for n in range(len(hits))]
    levels = [max([p for r, p in points if r >= level - 1e-9], default=0.0) for level in np.arange(1, 7) / 6]
    assert average_precision(found, truth) == pytest.approx(float(np.mean(levels)))


def test_the_table_tells_groups_apart() -> None:
    truth = [Boxes(SQUARE, np.ones(4, np.float32), np.array([0, 2, 16, 39]))]
    found = [Boxes(SQUARE[:2], np.full(2, 0.9, np.float32), np.array([0, 7]))]
    result = table(found, truth)
    assert result["person"] == 1.0
    assert result["vehicle"] == 1.0, "a truck where a car is still is a vehicle"
    assert result["animal"] == 0.0
    assert result["any"] == 0.5
    assert np.isnan(result["mean"]), "no category has enough boxes"


def test_matching_gives_each_true_box_to_the_best_claim() -> None:
    truth = [boxes([0, 1], [1, 1])]
    found = [Boxes(SQUARE[[0, 0, 1, 2]], np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 0, 5, 0]))]
    assert matched(found, truth).tolist() == [True, False, False, False]
    assert matched([boxes([0], [0.5])], [NONE]).tolist() == [False]


def test_weights_move_the_share_of_right_pairs() -> None:
    right = np.arange(100) < 30
    weights = prior_weights(right, 0.1)
    assert weights[right].sum() / weights.sum() == pytest.approx(0.1)
    assert weights.mean() == pytest.approx(1.0)


def test_the_squares_do_not_touch() -> None:
    np.testing.assert_array_equal(overlap(SQUARE, SQUARE), np.eye(4, dtype=np.float32))
