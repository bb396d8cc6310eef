"""Connected regions that differ from the scene, and which of them have come to rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.embedded.colours import shares
from models.embedded.pictures import Image, Mask, Plane, strongest

SMALLEST = 0.0012
"""Share of the picture below which a region is noise."""
_CREEP_S = 0.4
_MOVING_OUTLINE = 0.15
"""A region at rest may touch moving ones along this share of its outline (a hand still holds it)."""


@dataclass(frozen=True, eq=False)
class Blob:
    """A region: its box (left, top, right, bottom in fractions of the picture), area as a share, and colours [11]."""

    box: tuple[float, float, float, float]
    area: float
    colours: NDArray[np.float32]
    mask: Mask

    @property
    def centre(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def find_blobs(mask: Mask, named: NDArray[np.uint8], smallest: float = SMALLEST) -> list[Blob]:
    """Regions of `mask`, largest first; `named` are the colour indices of its pixels."""
    import cv2

    height, width = mask.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    blobs = []
    for label in range(1, count):
        left, top, w, h, area = (int(value) for value in stats[label])
        if area < smallest * width * height:
            continue
        whole = labels == label
        core = cv2.erode(whole.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        box = (left / width, top / height, (left + w) / width, (top + h) / height)
        chosen = core if core.sum() > area // 3 else whole
        blobs.append(Blob(box, area / (width * height), shares(named, chosen), whole))
    return sorted(blobs, key=lambda blob: (-blob.area, blob.box))


class Stillness:
    """For how long every pixel of a stream has shown the same."""

    def __init__(self) -> None:
        self._previous: Image | None = None
        self._seconds: Plane | None = None
        self._differs_s: Plane | None = None

    def reset(self) -> None:
        self._previous = None

    def at_rest(self, image: Image, differing: Mask, seconds: float, needed_s: float) -> Mask:
        """Regions of `differing` that have not changed, outline included, for `needed_s`."""
        if self._previous is None or self._previous.shape != image.shape:
            self._seconds = np.zeros(image.shape[:2], dtype=np.float32)
            self._differs_s = np.zeros(image.shape[:2], dtype=np.float32)
            self._previous = image
            return np.zeros(image.shape[:2], dtype=bool)
        assert self._seconds is not None
        assert self._differs_s is not None
        same = strongest(np.abs(image - self._previous)) < 16.0
        self._seconds = np.where(same, self._seconds + seconds, 0.0).astype(np.float32)
        self._differs_s = np.where(differing, self._differs_s + seconds, 0.0).astype(np.float32)
        self._previous = image
        still = differing & (self._seconds >= needed_s) & (self._differs_s >= needed_s)
        return still & ~_touching(still, differing & ~still)

    def changing(self, where: Mask) -> float:
        """Share of `where` that changed since the picture before."""
        assert self._seconds is not None
        return float((self._seconds[where] == 0.0).mean())

    def crept(self, where: Mask) -> bool:
        """Whether `where` came to differ without ever changing visibly: light that moves on, not a thing."""
        assert self._seconds is not None
        assert self._differs_s is not None
        return bool(np.median(self._seconds[where] - self._differs_s[where]) > _CREEP_S)

    def differs_since(self, where: Mask) -> float:
        """Seconds since most of `where` began to differ from the scene."""
        assert self._differs_s is not None
        return float(np.median(self._differs_s[where]))


def _touching(regions: Mask, moving: Mask) -> Mask:
    """The regions whose outline runs along `moving` for too long: the inside of a plain thing that passes."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    count, labels = cv2.connectedComponents(regions.astype(np.uint8), connectivity=8)
    ring_moving = cv2.dilate(moving.astype(np.uint8), kernel, iterations=2).astype(bool)
    outline = regions & ~cv2.erode(regions.astype(np.uint8), kernel, borderValue=1).astype(bool)
    touched = np.zeros(count, dtype=bool)
    for label in range(1, count):
        edge = outline & (labels == label)
        touched[label] = float(ring_moving[edge].mean() if edge.any() else 1.0) > _MOVING_OUTLINE
    found: Mask = touched[labels]
    return found
