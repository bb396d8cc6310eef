"""Painted scenes whose truth is known, for what the box teacher does not see: vehicles from straight above, small
people, the dark.

The scenes are the product's own films, a picture each. The same number is the same scene.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ingest.records import Pixels
from ingest.scene.picture import Camera
from ingest.scene.script import LANE, SIZES, Actor, Film, Kind, Place, Shot, Waypoint
from ingest.scene.truth import boxes as true_boxes
from models.nano.boxes import Boxes
from models.nano.coco import NAMES

SCENES = 400
"""How many scenes there are; each is cut, turned, scaled and lit anew every time."""
VISIBLE = 0.35
"""A thing that is cut off counts while at least this share of it is in the picture."""
CALLED: dict[Kind, str] = {
    "person": "person", "car": "car", "van": "car", "bus": "bus", "bicycle": "bicycle", "dog": "dog",
}  # fmt: skip
KNOWN = frozenset(NAMES.index(name) for name in CALLED.values())
COLOURS = ("red", "blue", "white", "black", "green", "yellow", "orange", "grey", "brown", "purple")
_PLACES: tuple[Place, ...] = ("overhead", "overhead", "overhead", "street", "street", "room")


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """A picture uint8 [H, W, 3] and everything that is in it, in its pixels."""

    pixels: Pixels
    boxes: Boxes


@lru_cache(maxsize=SCENES)
def scene(number: int) -> Staged:
    """A place with a few vehicles, people and animals that stand anywhere in it, by any light."""
    dice = random.Random(number)
    place = dice.choice(_PLACES)
    shot = Shot(place, 0.0, 1.0, _cast(place, dice), daylight=((0.0, _daylight(dice)),))
    film = Film((shot,), clock=False, width=640)
    pixels = Camera(film, number % 7).take(0)
    seen = [each for each in true_boxes(0.0, film) if each.kind in CALLED]
    height, width = pixels.shape[:2]
    corners = [(e.box.left * width, e.box.top * height, e.box.right * width, e.box.bottom * height) for e in seen]
    return Staged(pixels, Boxes(
        np.array(corners, np.float32).reshape(-1, 4), np.ones(len(seen), np.float32),
        np.array([NAMES.index(CALLED[e.kind]) for e in seen], np.int64),
    ))  # fmt: skip


def _daylight(dice: random.Random) -> float:
    return 1.0 if dice.random() < 0.6 else dice.random()


def _cast(place: Place, dice: random.Random) -> tuple[Actor, ...]:
    """Up to nine actors, none standing where another one stands."""
    cast: list[Actor] = []
    for number in range(dice.randint(2, 9)):
        kind = dice.choices(_WHO[place][0], weights=_WHO[place][1])[0]
        x, y, heading = _spot(place, kind, dice)
        room = (SIZES[kind][0] + 1.0) / (1.0 if place == "overhead" else 2.0)
        if all(math.hypot(x - a.path[0].x, y - a.path[0].y) > room + SIZES[a.kind][0] / 2 for a in cast):
            step = (x + 0.1 * math.cos(heading), y + 0.1 * math.sin(heading))
            path = (Waypoint(0.0, x, y), Waypoint(1.0, *step))
            cast.append(Actor(f"{kind}-{number}", kind, dice.choice(COLOURS), path))
    return tuple(cast)


_WHO: dict[Place, tuple[tuple[Kind, ...], tuple[int, ...]]] = {
    "overhead": (("car", "van", "bus", "person"), (7, 2, 1, 2)),
    "street": (("car", "van", "bus", "bicycle", "dog", "person"), (3, 2, 1, 2, 1, 5)),
    "room": (("person", "dog"), (4, 1)),
}


def _spot(place: Place, kind: Kind, dice: random.Random) -> tuple[float, float, float]:
    """Where it stands, in metres, and which way it looks."""
    if place == "overhead":
        return dice.uniform(-10, 10), dice.uniform(-5.5, 5.5), dice.uniform(-math.pi, math.pi)
    way = dice.choice((0.0, math.pi))
    if place == "room":
        return dice.uniform(-3, 3), dice.uniform(4.0, 6.5), way
    if kind in {"person", "dog"}:
        return dice.uniform(-8, 8), dice.uniform(8.0, 19.5), way
    return dice.uniform(-8, 8), LANE[place]["right" if way == 0.0 else "left"], way


def staged(side: int, dice: random.Random) -> Staged:
    """A square part of a scene, turned and mirrored, at `side` pixels."""
    whole = scene(dice.randrange(SCENES))
    height, width = whole.pixels.shape[:2]
    size = int(dice.uniform(0.45, 1.0) * height)
    left, top = dice.randint(0, width - size), dice.randint(0, height - size)
    cut = whole.pixels[top : top + size, left : left + size]
    corners = (whole.boxes.corners - np.array([left, top, left, top], np.float32)) / np.float32(size)
    inside = np.clip(corners, 0.0, 1.0)
    share = _area(inside) / np.maximum(_area(corners), 1e-9)
    if dice.random() < 0.5:
        cut, inside = cut[:, ::-1], inside[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (1, 0, 1, 0)
    how = cv2.INTER_AREA if size > side else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(np.ascontiguousarray(cut), (side, side), interpolation=how), np.uint8)
    boxes = Boxes((inside * side).astype(np.float32), whole.boxes.scores, whole.boxes.categories)
    return Staged(pixels, boxes.where(share >= VISIBLE))


def _area(corners: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray((corners[:, 2:] - corners[:, :2]).prod(1))
