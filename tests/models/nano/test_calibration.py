"""Calibration against known truth: draws from a known model, and errors counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.nano.calibration import (
    expected_calibration_error,
    fit_by_category,
    fit_logistic,
    logit,
    sigmoid,
)


def test_the_coefficients_that_made_the_data_are_found_again() -> None:
    dice = np.random.default_rng(1)
    x = dice.normal(size=(40_000, 2))
    right = dice.random(len(x)) < sigmoid(x @ np.array([1.5, -0.7]) + 0.4)
    np.testing.assert_allclose(fit_logistic(x, right), [1.5, -0.7, 0.4], atol=0.06)


def test_at_the_optimum_mean_probability_is_mean_truth() -> None:
    """The score equation of the intercept, which any maximum of the likelihood satisfies."""
    dice = np.random.default_rng(2)
    x = dice.normal(size=(500, 1))
    right = x[:, 0] + dice.normal(size=500) > 0.5
    beta = fit_logistic(x, right)
    assert abs(float(sigmoid(x @ beta[:1] + beta[1]).mean()) - right.mean()) < 0.005


def test_separable_truth_gives_finite_answers() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    beta = fit_logistic(x, x[:, 0] > 0)
    assert np.isfinite(beta).all()
    assert beta[0] > 1
    assert np.isfinite(fit_logistic(x, np.zeros(20, bool))).all()


def test_weights_count_like_repeated_observations() -> None:
    dice = np.random.default_rng(3)
    x = dice.normal(size=(300, 1))
    right = dice.random(300) < sigmoid(x[:, 0])
    twice = np.repeat(np.arange(300), 2)
    weighted = fit_logistic(x, right, np.full(300, 2.0), ridge=0.0)
    np.testing.assert_allclose(weighted, fit_logistic(x[twice], right[twice], ridge=0.0), atol=0.02)


def test_an_overconfident_detector_is_corrected_category_by_category() -> None:
    dice = np.random.default_rng(4)
    categories = dice.integers(0, 2, 20_000)
    true = dice.uniform(0.02, 0.98, 20_000)
    right = dice.random(20_000) < true
    claimed = sigmoid(2.0 * logit(true) + np.where(categories == 0, 1.0, -1.0)).astype(np.float32)
    calibration = fit_by_category(claimed, categories, right, 3)
    fixed = calibration(claimed, categories)
    for category in (0, 1):
        mine = categories == category
        assert expected_calibration_error(claimed[mine], right[mine]) > 0.1
        assert expected_calibration_error(fixed[mine], right[mine]) < 0.02


def test_a_category_never_seen_gets_the_common_offset() -> None:
    dice = np.random.default_rng(5)
    scores = dice.uniform(0.1, 0.9, 4000).astype(np.float32)
    right = dice.random(4000) < 0.5 * scores
    calibration = fit_by_category(scores, np.zeros(4000, np.int64), right, 2)
    assert abs(calibration.offsets[1] - calibration.offsets[0]) < 0.6


def test_the_calibration_error_of_a_case_counted_by_hand() -> None:
    stated = np.array([0.05, 0.05, 0.95, 0.95])
    right = np.array([False, True, True, True])
    assert expected_calibration_error(stated, right) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0.0
