"""Light and film: day to night, lamps, grain, and the camera's burnt-in title."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.records import Moment, Pixels
from ingest.scene import room, street
from ingest.scene.painting import Canvas, Colour
from ingest.scene.script import Place
from ingest.scene.view import VIEWS, WIDTH

UNIT = 128
"""The value in a light map that leaves a pixel as it is."""
STEPS = 60
"""Light maps are kept for this many levels between night and day."""


@lru_cache(maxsize=4)
def light_map(place: Place, level: int, width: int, height: int) -> Pixels:
    """What to multiply a picture of `place` with at `level` 0..STEPS of daylight: uint8 [height, width, 3] in UNITs."""
    day = level / STEPS
    night = _night(place, width, height)
    dusk = 4 * day * (1 - day) * np.asarray((0.10, 0.0, -0.06), np.float32)
    return np.asarray(np.clip((day + (1 - day) * night + dusk) * UNIT, 0, 255), np.uint8)


@lru_cache(maxsize=4)
def _night(place: Place, width: int, height: int) -> NDArray[np.float32]:
    """Light at night, float32 [height, width, 3]: a blue rest and the pools under lanterns."""
    ambient = (0.13, 0.13, 0.17) if place == "room" else (0.19, 0.22, 0.34)
    light = np.full((height, width, 3), ambient, np.float32)
    if place != "street":
        return light
    scale = width / WIDTH
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    warm = np.asarray((0.62, 0.5, 0.3), np.float32)
    for x, z in street.LANTERNS:
        for y, z_at, wide, high in ((street.WALL, z, 130, 120), (18.5, 0.0, 190, 52)):
            px, py = VIEWS[place].point(x, y, z_at)
            distance = ((columns / scale - px) / wide) ** 2 + ((rows / scale - py) / high) ** 2
            light += np.exp(-distance * 1.6)[:, :, None] * warm
    return light


def illuminate(pixels: Pixels, place: Place, day: float) -> Pixels:
    """The picture under `day` 0..1 of daylight."""
    level = round(day * STEPS)
    if level == STEPS:
        return pixels
    height, width = pixels.shape[:2]
    lit = cv2.multiply(pixels, light_map(place, level, width, height), scale=1 / UNIT)
    return np.asarray(lit, np.uint8)


def lamps(canvas: Canvas, place: Place, night: float) -> None:
    """What lit windows and lamps add; `night` 0..1."""
    if place == "room":
        if night < 0.5:
            x, y = VIEWS[place].point(room.LAMP[0], 6.2, room.LAMP[1])
            canvas.glow((x, y - 12), (170, 150), (54, 40, 16))
        return
    if place != "street" or night < 0.3:
        return
    strength = min(1.0, (night - 0.3) / 0.3)
    for left, right, low, high in street.LIT:
        (x0, y0), (x1, y1) = street.VIEW.point(left, street.WALL, high), street.VIEW.point(right, street.WALL, low)
        tone: Colour = (150 * strength, 112 * strength, 52 * strength)
        canvas.glow(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) * 0.95, (y1 - y0) * 0.95), tone)
    for x, z in street.LANTERNS:
        px, py = VIEWS[place].point(x, street.WALL - 0.3, z)
        canvas.glow((px, py + 6), (54, 46), (190 * strength, 150 * strength, 84 * strength))


class Grain:
    """Sensor noise: a few still pictures of it, shown in turn."""

    def __init__(self, chance: np.random.Generator, width: int, height: int, sigma: float = 1.7) -> None:
        noise = [chance.normal(0.0, sigma, (height, width, 1)).repeat(3, axis=2) for _ in range(6)]
        self._brighter = [np.clip(one, 0, 255).astype(np.uint8) for one in noise]
        self._darker = [np.clip(-one, 0, 255).astype(np.uint8) for one in noise]

    def add(self, pixels: Pixels, number: int) -> Pixels:
        which = (number * 5 + number // 6) % 6
        return np.asarray(cv2.subtract(cv2.add(pixels, self._brighter[which]), self._darker[which]), np.uint8)


def burn_in(canvas: Canvas, title: str, moment: Moment) -> None:
    """The camera's title and clock, white with a dark edge, as cameras draw them."""
    clock = datetime.fromtimestamp(moment / 1_000_000, UTC).strftime("%Y-%m-%d  %H:%M:%S")
    for x, text in ((18.0, clock), (WIDTH - 18.0, title)):
        size = 21.0
        left = x if x < WIDTH / 2 else x - canvas.width(text, size)
        for dx, dy, tone in (
            (1.2, 1.2, (0, 0, 0)),
            (-1.0, 0.0, (0, 0, 0)),
            (0.0, -1.0, (0, 0, 0)),
            (0.0, 0.0, (246, 246, 246)),
        ):
            canvas.text((left + dx, 28.0 + dy), text, size, tone)
