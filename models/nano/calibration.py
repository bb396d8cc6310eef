"""Scores into probabilities: logistic calibration (Platt 1999) by Newton's method, and the error that is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """probability = sigmoid(slope * logit(score) + offset of the score's category)."""

    slope: float
    offsets: Array

    def __call__(self, scores: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float32]:
        """Calibrated probabilities float32 [N] of raw scores in 0..1 [N]."""
        return sigmoid(self.slope * logit(scores) + self.offsets[categories]).astype(np.float32)


def sigmoid(x: Array) -> Array:
    result: Array = 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))
    return result


def logit(probability: NDArray[np.floating]) -> Array:
    p = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    result: Array = np.log(p) - np.log1p(-p)
    return result


def fit_logistic(features: Array, right: NDArray[np.bool_], weights: Array | None = None, ridge: float = 1e-3) -> Array:
    """Coefficients [D + 1], the intercept last, of the regularised logistic regression of `right` on features [N, D].

    `ridge` is the penalty of half a squared coefficient, in observations; the intercept is free. Targets are Platt's,
    drawn in by one observation, so that a separable set gives finite answers.
    """
    design = np.column_stack((features, np.ones(len(features))))
    weight = np.ones(len(design)) if weights is None else weights
    good = float(right.sum())
    bad = float(len(right) - good)
    target = np.where(right, (good + 1) / (good + 2), 1 / (bad + 2))
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = 1e-9
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = sigmoid(design @ beta)
        gradient = design.T @ (weight * (p - target)) + penalty * beta
        curvature = (design * (weight * np.maximum(p * (1 - p), 1e-9))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        beta -= step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-8:
            break
    return beta


def fit_by_category(
    scores: NDArray[np.float32], categories: NDArray[np.int64], right: NDArray[np.bool_], count: int
) -> Calibration:
    """One slope for all, an offset for each category drawn towards the common one: rare categories stay near it."""
    features = np.zeros((len(scores), count + 1))
    features[:, 0] = logit(scores)
    features[np.arange(len(scores)), 1 + categories] = 1.0
    beta = fit_logistic(features, right, ridge=2.0)
    return Calibration(float(beta[0]), beta[1:-1] + beta[-1])


def expected_calibration_error(
    probabilities: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 10, weights: Array | None = None
) -> float:
    """Mean distance between stated probability and observed share, over equal bins (Guo et al. 2017, equation 3)."""
    weight = np.ones(len(right)) if weights is None else weights
    which = np.minimum((np.asarray(probabilities, np.float64) * bins).astype(int), bins - 1)
    total = 0.0
    for each in range(bins):
        inside = which == each
        if inside.any():
            stated = np.average(probabilities[inside], weights=weight[inside])
            observed = np.average(right[inside], weights=weight[inside])
            total += float(weight[inside].sum() * abs(stated - observed))
    return total / float(weight.sum())
