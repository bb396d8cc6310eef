"""From the network's maps to boxes, and the arithmetic of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.records import Pixels

STRIDES = (8, 16, 32)
GREY = 114
"""What is put around a picture that does not fill its canvas."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """N boxes: corners float32 [N, 4] left top right bottom in pixels, scores float32 [N], categories int64 [N]."""

    corners: Floats
    scores: Floats
    categories: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, mask: NDArray[np.bool_] | NDArray[np.int64]) -> Boxes:
        return Boxes(self.corners[mask], self.scores[mask], self.categories[mask])


NONE = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def overlap(one: Floats, other: Floats) -> Floats:
    """Intersection over union of every pair: [N, 4] and [M, 4] to [N, M]."""
    top_left = np.maximum(one[:, None, :2], other[None, :, :2])
    bottom_right = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(-1)
    area = (one[:, 2:] - one[:, :2]).prod(-1)[:, None] + (other[:, 2:] - other[:, :2]).prod(-1)[None]
    result: Floats = (shared / np.maximum(area - shared, 1e-6)).astype(np.float32)
    return result


def suppress(boxes: Boxes, iou: float = 0.5, most: int = 100) -> Boxes:
    """Greedy non-maximum suppression within each category, best first, at most `most` boxes."""
    order = np.argsort(-boxes.scores, kind="stable")[:600]
    boxes = boxes.where(order)
    apart = boxes.corners + boxes.categories[:, None].astype(np.float32) * 8192.0  # categories never overlap
    clash = overlap(apart, apart) > iou
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == most:
            break
        alive &= ~clash[index]
    return boxes.where(np.array(kept, np.int64))


def decode(maps: Sequence[Floats], floor: float, *, probabilities: bool = False) -> Boxes:
    """Boxes above `floor` of one picture, before suppression.

    maps: per level [5 + C, H, W]; a cell's four box numbers are its centre's offset in cells and the logarithm of its
    size in cells (YOLOX, section 2.1). The score is objectness times the category's probability. `probabilities` says
    that objectness and categories are probabilities already, not logits.
    """
    corners, scores, categories = [], [], []
    for level, stride in zip(maps, STRIDES, strict=True):
        objectness = level[4] if probabilities else _sigmoid(level[4])
        rows, columns = np.nonzero(objectness > floor)
        if not len(rows):
            continue
        cells = level[:, rows, columns]
        likely = cells[5:] if probabilities else _sigmoid(cells[5:])
        category = likely.argmax(0)
        centre = (cells[:2] + np.stack((columns, rows))) * stride
        half = np.exp(np.clip(cells[2:4], -6, 6)) * (stride / 2)
        corners.append(np.concatenate((centre - half, centre + half)).T)
        scores.append(objectness[rows, columns] * likely[category, np.arange(len(rows))])
        categories.append(category)
    if not corners:
        return NONE
    found = Boxes(
        np.concatenate(corners).astype(np.float32),
        np.concatenate(scores).astype(np.float32),
        np.concatenate(categories),
    )
    return found.where(found.scores > floor)


def letterbox(pixels: Pixels, side: int, *, square: bool = False) -> tuple[Pixels, float]:
    """The picture scaled so that its longer side is `side`, on a grey canvas of multiples of 32; and the scale."""
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas_width, canvas_height = (side, side) if square else (-(-new[0] // 32) * 32, -(-new[1] // 32) * 32)
    canvas = np.full((canvas_height, canvas_width, 3), GREY, np.uint8)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[: new[1], : new[0]] = cv2.resize(pixels, new, interpolation=how)
    return canvas, scale


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0))), np.float32)
