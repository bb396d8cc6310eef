"""Teacher maps for pictures whose truth is known: what is there is said, and what is not there is unsaid."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from models.nano.boxes import STRIDES, Boxes, Floats
from models.nano.coco import NAMES

SUITED = (0.0, 48.0, 112.0, float("inf"))
"""A box belongs to the level whose two bounds, in pixels, its longer side lies between."""
_AROUND: Sequence[tuple[int, int]] = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))


def maps_of(boxes: Boxes, height: int, width: int, *, categories: int = len(NAMES)) -> list[Floats]:
    """Per level [5 + categories, H/s, W/s] as `BoxTeacher.look` gives them: raw boxes, then probabilities."""
    maps = [np.zeros((5 + categories, height // s, width // s), np.float32) for s in STRIDES]
    claim(maps, boxes)
    return maps


def claim(maps: Sequence[Floats], boxes: Boxes) -> None:
    """Write boxes into maps. The cells within one stride of a box's centre claim it, the nearest one surely, its
    neighbours with half the probability. Where two boxes want a cell, the smaller one has it."""
    sizes = boxes.corners[:, 2:] - boxes.corners[:, :2]
    for index in np.argsort(-sizes.prod(1), kind="stable"):
        level = int(np.searchsorted(SUITED, sizes[index].max(), side="right")) - 1
        _claim(maps[level], STRIDES[level], boxes.where(np.array([index])))


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


def correct(maps: Sequence[Floats], truth: Boxes, known: Collection[int]) -> None:
    """Make a teacher's maps of one picture true, in place.

    `truth` holds everything of the categories `known` that is in the picture. The teacher's opinion stays where it
    agrees: of a true box's category inside that box, and of other categories outside all of them.
    """
    for level, stride in zip(maps, STRIDES, strict=True):
        rows, columns = level.shape[1:]
        y, x = np.meshgrid((np.arange(rows) + 0.5) * stride, (np.arange(columns) + 0.5) * stride, indexing="ij")
        opinion = level[5:].argmax(0)
        kept = ~np.isin(opinion, list(known))
        for (left, top, right, bottom), category in zip(truth.corners, truth.categories, strict=True):
            inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
            kept = np.where(inside, opinion == category, kept)
        level[4] *= kept
    claim(maps, truth)
