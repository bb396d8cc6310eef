"""Cuts and camera movement: when a changed picture is no sign of moving things."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, Moment
from models.embedded.pictures import Image, Mask, Plane, brightness, shrink

_TILE = 24
"""Side in pixels of the tiles that vote."""
_TEXTURED = 32.0
"""Sobel magnitude from which a pixel would show that the camera moved."""
_TEXTURED_PIXELS = 12
_GONE = 0.4
_FEWEST_TILES = 6
_MOST = 0.6
_SAME_LIGHT = 1.3
_LIGHT_US = 5 * MICROSECONDS
_OTHER_LIGHT = 0.1
"""Change of the light (as a logarithm) within `_LIGHT_US` that is more than a passing thing makes."""


class LightMeter:
    """Whether the light of a stream has been changing: dusk, a dimmer, a camera that adapts."""

    def __init__(self) -> None:
        self._levels: deque[tuple[Moment, float]] = deque()

    def reset(self) -> None:
        self._levels.clear()

    def changes(self, level: float, moment: Moment) -> bool:
        """Take in the logarithm of the light at `moment`; true while it differs from that of the last seconds."""
        self._levels.append((moment, level))
        while self._levels[0][0] < moment - _LIGHT_US:
            self._levels.popleft()
        levels = [level for _, level in self._levels]
        return max(levels) - min(levels) > _OTHER_LIGHT


class Steadiness:
    """Compares each picture of a stream with the one before and with the scene."""

    def __init__(self) -> None:
        self._layout: Plane | None = None

    def is_cut(self, luma: Plane, changed: float) -> bool:
        """Whether the picture float32 [H, W], `changed` of which differs from the scene, begins another shot."""
        layout = shrink(luma, 32, 18)
        before, self._layout = self._layout, layout
        return before is not None and changed > 0.3 and _unlike(before, layout)


def _unlike(a: Plane, b: Plane) -> bool:
    """Different in layout, not just in light: low correlation of the brightness maps."""
    difference = float(np.abs((a - a.mean()) - (b - b.mean())).mean())
    spread = float(a.std() * b.std())
    correlation = float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 4.0 else 0.0
    return correlation < 0.55 and max(difference, abs(float(a.mean() - b.mean()))) > 12.0


def camera_moved(scene: Image, image: Image) -> bool:
    """Whether the scene's edges are gone nearly everywhere, not just where a thing passes.

    A thing hides some of the scene's edges; a moving camera shifts them all, also in the far corners. Shadows leave
    edges in place. A light that is switched wipes them out too, but with them the brightness of the whole picture.
    """
    before, now = brightness(scene), brightness(image)
    if not 1 / _SAME_LIGHT < (now.mean() + 8.0) / (before.mean() + 8.0) < _SAME_LIGHT:
        return False
    slope = _slope(before)
    edges = slope > _TEXTURED
    textured, gone = _per_tile(edges), _per_tile(edges & (_slope(now) < 0.5 * slope))
    voting = textured >= _TEXTURED_PIXELS
    if int(voting.sum()) < _FEWEST_TILES:
        return False
    return float((gone[voting] > _GONE * textured[voting]).mean()) >= _MOST


def _slope(luma: Plane) -> Plane:
    import cv2

    across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    steepness: Plane = np.hypot(across, down)
    return steepness


def _per_tile(mask: Mask) -> NDArray[np.int64]:
    height, width = (side // _TILE * _TILE for side in mask.shape)
    tiles = mask[:height, :width].reshape(height // _TILE, _TILE, width // _TILE, _TILE)
    counts: NDArray[np.int64] = tiles.sum(axis=(1, 3))
    return counts
