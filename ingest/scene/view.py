"""The cameras: metres on a scene to pixels of a 960 by 540 picture, and back to boxes in fractions of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ingest.records import Box
from ingest.scene.script import SIZES, Actor, Place, Pose

WIDTH, HEIGHT = 960, 540
"""Size of the picture that everything is measured in; a film may be rendered smaller or larger."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera that looks level along y, `height` metres above the ground; flat when it looks straight down."""

    focal: float
    height: float
    horizon: float
    flat: bool = False

    def scale(self, y: float) -> float:
        """Pixels per metre at distance `y`."""
        return self.focal if self.flat else self.focal / max(y, 0.5)

    def point(self, x: float, y: float, z: float = 0.0) -> Point:
        """Pixel (right, down) of a point in metres."""
        if self.flat:
            return WIDTH / 2 + x * self.focal, HEIGHT / 2 + y * self.focal
        scale = self.scale(y)
        return WIDTH / 2 + x * scale, self.horizon + (self.height - z) * scale


VIEWS: dict[Place, View] = {
    "street": View(focal=780.0, height=4.0, horizon=150.0),
    "room": View(focal=700.0, height=2.1, horizon=176.0),
    "overhead": View(focal=44.0, height=0.0, horizon=0.0, flat=True),
}


def corners(actor: Actor, pose: Pose) -> list[tuple[float, float, float]]:
    """The eight corners in metres of the block that the actor fills."""
    length, width, height = SIZES[actor.kind]
    return [
        (pose.x + dx * length / 2, pose.y + dy * width, pose.z + dz * height)
        for dx in (-1, 1)
        for dy in (0, 1)
        for dz in (0, 1)
    ]


def _footprint(actor: Actor, pose: Pose) -> list[Point]:
    length, width, _ = SIZES[actor.kind]
    if actor.kind == "person":
        length, width = 0.62, 0.62
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    half = [(a * length / 2, b * width / 2) for a in (-1, 1) for b in (-1, 1)]
    return [(pose.x + a * cos - b * sin, pose.y + a * sin + b * cos) for a, b in half]


def box(place: Place, actor: Actor, pose: Pose) -> tuple[Box, float] | None:
    """The actor's box clipped to the picture, and the part of it that is inside, 0..1. None when it is outside."""
    view = VIEWS[place]
    if view.flat:
        pixels = [view.point(x, y) for x, y in _footprint(actor, pose)]
    else:
        pixels = [view.point(*corner) for corner in corners(actor, pose)]
    left, right = min(p[0] for p in pixels) / WIDTH, max(p[0] for p in pixels) / WIDTH
    top, bottom = min(p[1] for p in pixels) / HEIGHT, max(p[1] for p in pixels) / HEIGHT
    inside = Box(max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
    if inside.left >= inside.right or inside.top >= inside.bottom:
        return None
    part = (inside.right - inside.left) * (inside.bottom - inside.top) / ((right - left) * (bottom - top))
    return inside, part
