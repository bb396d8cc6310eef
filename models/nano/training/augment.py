"""Training pictures made from source pictures: one alone, four in a mosaic, or a sheet of tiles, under changing light.

The teacher looks at the finished picture, so nothing has to keep account of where things went.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ingest.records import Pixels
from models.nano.boxes import GREY, Boxes
from models.nano.training.staged import staged

Window = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each kind of training picture is made; the rest are sheets of tiles."""

    alone: float = 0.55
    mosaic: float = 0.40


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A training picture uint8 [side, side, 3]; `truth` is everything in it where that is known."""

    pixels: Pixels
    truth: Boxes | None = None


class Painter:
    """Makes training pictures. The same seed makes the same picture."""

    def __init__(self, pictures: Sequence[Pixels], pick: Callable[[random.Random], int], tiles: Sequence[int]) -> None:
        self._pictures, self._pick, self._tiles = pictures, pick, tiles
        self._mix = Mix()

    def paint(self, side: int, seed: int, share: float = 0.0) -> Made:
        """Of `side` by `side` pixels; with a chance of `share` a staged one."""
        dice = random.Random(seed)
        if share and dice.random() < share:
            scene = staged(side, dice)
            return Made(relight(scene.pixels, dice), scene.boxes)
        canvas = np.full((side, side, 3), GREY, np.uint8)
        kind = dice.random()
        if kind < self._mix.alone or (kind >= self._mix.alone + self._mix.mosaic and not self._tiles):
            place(canvas, self._pictures[self._pick(dice)], (0, 0, side, side), dice, (0.6, 1.5))
        elif kind < self._mix.alone + self._mix.mosaic:
            self._mosaic(canvas, dice)
        else:
            self._sheet(canvas, dice)
        return Made(relight(canvas, dice))

    def _mosaic(self, canvas: Pixels, dice: random.Random) -> None:
        side = len(canvas)
        x, y = (dice.randint(int(0.3 * side), int(0.7 * side)) for _ in range(2))
        for window in ((0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)):
            place(canvas, self._pictures[self._pick(dice)], window, dice, (0.75, 1.4))

    def _sheet(self, canvas: Pixels, dice: random.Random) -> None:
        across = dice.choice((2, 3, 3, 4))
        step = len(canvas) // across
        for row in range(across):
            for column in range(across):
                tile = self._pictures[self._tiles[dice.randrange(len(self._tiles))]]
                window = (column * step, row * step, (column + 1) * step, (row + 1) * step)
                place(canvas, tile, window, dice, (0.8, 1.2))


def place(canvas: Pixels, picture: Pixels, window: Window, dice: random.Random, zoom: tuple[float, float]) -> None:
    """Draw a randomly scaled, stretched, mirrored and shifted copy into a window."""
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    if min(width, height) < 8:
        return
    rows, columns = picture.shape[:2]
    fit = (min if dice.random() < 0.3 else max)(width / columns, height / rows)
    fit *= math.exp(dice.uniform(math.log(zoom[0]), math.log(zoom[1])))
    stretch = math.exp(dice.uniform(-0.15, 0.15))
    new_width, new_height = max(8, int(columns * fit * stretch)), max(8, int(rows * fit / stretch))
    how = cv2.INTER_AREA if fit < 0.7 else cv2.INTER_LINEAR
    copy = cv2.resize(picture, (new_width, new_height), interpolation=how)
    if dice.random() < 0.5:
        copy = copy[:, ::-1]
    x = dice.randint(min(0, width - new_width), max(0, width - new_width))
    y = dice.randint(min(0, height - new_height), max(0, height - new_height))
    crop = copy[max(0, -y) : height - y, max(0, -x) : width - x]
    y, x = top + max(0, y), left + max(0, x)
    canvas[y : y + crop.shape[0], x : x + crop.shape[1]] = crop


def relight(canvas: Pixels, dice: random.Random) -> Pixels:
    """Another exposure, white balance, saturation or contrast; sometimes blur, noise of the dark, or compression."""
    if dice.random() < 0.7:
        light = canvas.astype(np.float32) * dice.uniform(0.6, 1.4)
        light *= np.array([dice.uniform(0.85, 1.15) for _ in range(3)], np.float32)
        if dice.random() < 0.15:
            light[:] = light.mean(2, keepdims=True)
        elif dice.random() < 0.5:
            grey = light.mean(2, keepdims=True)
            light = grey + (light - grey) * dice.uniform(0.5, 1.5)
        canvas = np.clip((light - 128) * dice.uniform(0.8, 1.2) + 128, 0, 255).astype(np.uint8)
    chance = dice.random()
    if chance < 0.1:
        return np.asarray(cv2.GaussianBlur(canvas, (0, 0), dice.uniform(0.5, 1.6)), np.uint8)
    if chance < 0.2:
        _, coded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, dice.randint(20, 60)])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return canvas
