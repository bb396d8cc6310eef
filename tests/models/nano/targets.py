"""Teacher maps made from known boxes: for pictures whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.nano.boxes import STRIDES, Boxes, Floats
from models.nano.coco import NAMES

SUITED = (0.0, 48.0, 112.0, float("inf"))
"""A box belongs to the level whose two bounds, in pixels, its longer side lies between."""


def maps_of(boxes: Boxes, height: int, width: int, *, categories: int = len(NAMES)) -> list[Floats]:
    """Per level [5 + categories, H/s, W/s] as `BoxTeacher.look` gives them: raw boxes, then probabilities.

    The cells within one stride of a box's centre claim it, the nearest one surely, its neighbours with half the
    probability. Where two boxes want a cell, the smaller one has it.
    """
    maps = [np.zeros((5 + categories, height // s, width // s), np.float32) for s in STRIDES]
    sizes = boxes.corners[:, 2:] - boxes.corners[:, :2]
    for index in np.argsort(-sizes.prod(1), kind="stable"):
        level = int(np.searchsorted(SUITED, sizes[index].max(), side="right")) - 1
        _claim(maps[level], STRIDES[level], boxes.where(np.array([index])))
    return maps


def _claim(level: Floats, stride: int, box: Boxes) -> None:
    corners = box.corners[0]
    centre = (corners[:2] + corners[2:]) / 2 / stride
    size = np.log(np.maximum((corners[2:] - corners[:2]) / stride, 1e-3))
    home = np.round(centre).astype(int)
    rows, columns = level.shape[1:]
    for dy, dx in _AROUND:
        row, column = home[1] + dy, home[0] + dx
        if not (0 <= row < rows and 0 <= column < columns):
            continue
        cell = level[:, row, column]
        cell[:] = 0.0
        cell[:2], cell[2:4] = centre - (column, row), size
        cell[4] = (1.0 if dy == dx == 0 else 0.5) * box.scores[0]
        cell[5 + box.categories[0]] = 1.0


_AROUND: Sequence[tuple[int, int]] = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
