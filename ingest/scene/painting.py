"""A canvas: antialiased shapes at fractions of a pixel on an RGB picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.records import Pixels
from ingest.scene.lettering import letters
from ingest.scene.view import Point

Colour = tuple[float, float, float]
"""RGB, 0..255."""

COLOURS: dict[str, Colour] = {
    "red": (192, 36, 36),
    "blue": (38, 82, 176),
    "white": (232, 232, 228),
    "black": (34, 34, 38),
    "green": (40, 122, 72),
    "yellow": (232, 190, 44),
    "orange": (232, 116, 30),
    "grey": (128, 132, 138),
    "brown": (142, 96, 54),
    "purple": (112, 62, 150),
}

_SHIFT = 4
_FINE = 1 << _SHIFT


def shade(colour: Colour, factor: float) -> Colour:
    """Lighter above 1, darker below."""
    red, green, blue = (min(255.0, max(0.0, part * factor)) for part in colour)
    return red, green, blue


def mix(one: Colour, other: Colour, part: float) -> Colour:
    """`one` with `part` 0..1 of `other`."""
    red, green, blue = (a + (b - a) * part for a, b in zip(one, other, strict=True))
    return red, green, blue


class Canvas:
    """Draws on `pixels`, uint8 [H, W, 3], in the units of the 960 by 540 view; `scale` is pixels per unit."""

    def __init__(self, pixels: Pixels, scale: float = 1.0) -> None:
        self.pixels = pixels
        self.scale = scale

    def _fine(self, points: Sequence[Point]) -> NDArray[np.int32]:
        return np.rint(np.asarray(points, dtype=np.float64) * (self.scale * _FINE)).astype(np.int32)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        cv2.fillPoly(self.pixels, [self._fine(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0) -> None:
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.pixels, [self._fine(points)], False, colour, thick, cv2.LINE_AA, _SHIFT)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, angle: float = 0.0) -> None:
        middle, axes = self._fine([centre])[0], self._fine([radii])[0]
        where, size = (int(middle[0]), int(middle[1])), (max(1, int(axes[0])), max(1, int(axes[1])))
        cv2.ellipse(self.pixels, where, size, angle, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)

    def ring(self, centre: Point, radius: float, colour: Colour, width: float) -> None:
        middle = self._fine([centre])[0]
        thick = max(1, round(width * self.scale))
        size = max(1, round(radius * self.scale * _FINE))
        cv2.circle(self.pixels, (int(middle[0]), int(middle[1])), size, colour, thick, cv2.LINE_AA, _SHIFT)

    def limb(self, start: Point, end: Point, thick: Point, colour: Colour) -> None:
        """A rounded bar from `start` to `end`, `thick` are its radii at both ends."""
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        points = [
            (centre[0] + radius * math.cos(angle + turn), centre[1] + radius * math.sin(angle + turn))
            for centre, radius, first in ((start, thick[0], math.pi / 2), (end, thick[1], -math.pi / 2))
            for turn in (first + math.pi * step / 6 for step in range(7))
        ]
        self.polygon(points, colour)

    def text(
        self, where: Point, text: str, size: float, colour: Colour, *, weight: int = 600, centred: bool = False
    ) -> None:
        """Text with its baseline at `where`; `size` is the height of its line."""
        pixels = max(1, round(size * self.scale))
        if pixels < 5:
            return
        mask, baseline = letters(text, pixels, weight)
        left = round(where[0] * self.scale - (mask.shape[1] / 2 if centred else 0.0))
        self._through(mask, left, round(where[1] * self.scale) - baseline, colour)

    def width(self, text: str, size: float, *, weight: int = 600) -> float:
        """How wide `text` is."""
        mask, _ = letters(text, max(1, round(size * self.scale)), weight)
        return float(mask.shape[1]) / self.scale

    def _through(self, mask: NDArray[np.float32], left: int, top: int, colour: Colour) -> None:
        """Paint through a mask [H, W] whose corner is at a pixel, as much of it as lies in the picture."""
        skip_x, skip_y = max(0, -left), max(0, -top)
        region = self.pixels[max(0, top) : max(0, top + mask.shape[0]), max(0, left) : max(0, left + mask.shape[1])]
        share = mask[skip_y : skip_y + region.shape[0], skip_x : skip_x + region.shape[1], None]
        region[:] = np.rint(region + share * (np.asarray(colour, np.float32) - region))

    def shadow(self, points: Sequence[Point], strength: float, blur: float) -> None:
        """Darken a soft-edged polygon by `strength`, 0..1."""
        fine = self._fine(points)
        margin = max(2, round(blur * self.scale * 2))
        low = np.maximum(fine.min(0) // _FINE - margin, 0)
        high = np.minimum(fine.max(0) // _FINE + margin + 1, (self.pixels.shape[1], self.pixels.shape[0]))
        if (low >= high).any():
            return
        mask = np.zeros((int(high[1] - low[1]), int(high[0] - low[0])), np.uint8)
        local = (fine - low * _FINE).astype(np.int32)
        cv2.fillPoly(mask, [local], 255.0 * strength, cv2.LINE_AA, _SHIFT)
        side = 2 * round(blur * self.scale) + 1
        keep = cv2.merge([cv2.bitwise_not(cv2.blur(mask, (side, side)))] * 3)
        region = self.pixels[low[1] : high[1], low[0] : high[0]]
        region[:] = cv2.multiply(region, keep, scale=1 / 255)

    def glow(self, centre: Point, radii: Point, colour: Colour) -> None:
        """Add light that fades out over an ellipse."""
        x, y, wide, high = (value * self.scale for value in (*centre, *radii))
        left, right = max(0, int(x - wide)), min(self.pixels.shape[1], int(x + wide) + 1)
        top, bottom = max(0, int(y - high)), min(self.pixels.shape[0], int(y + high) + 1)
        if left >= right or top >= bottom:
            return
        across = ((np.arange(left, right, dtype=np.float32) - x) / max(wide, 1e-3)) ** 2
        down = ((np.arange(top, bottom, dtype=np.float32) - y) / max(high, 1e-3)) ** 2
        fall = np.clip(1.0 - (across[None, :] + down[:, None]), 0.0, 1.0) ** 2
        light = fall[:, :, None] * np.asarray(colour, np.float32)
        region = self.pixels[top:bottom, left:right]
        region[:] = cv2.add(region, light.astype(np.uint8))


def blank(width: int, height: int, colour: Colour) -> Pixels:
    """A picture of one colour, uint8 [height, width, 3]."""
    return np.full((height, width, 3), colour, np.uint8)
