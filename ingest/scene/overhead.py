"""A road seen from straight above, and what moves on it."""

from __future__ import annotations

import math

import numpy as np

from ingest.scene.painting import COLOURS, Canvas, Colour, shade
from ingest.scene.people import HAIR
from ingest.scene.script import SIZES, Actor, Pose
from ingest.scene.view import HEIGHT, VIEWS, WIDTH, Point, View

VIEW = VIEWS["overhead"]


def paint(canvas: Canvas, chance: np.random.Generator) -> None:
    """A two-lane road between grass verges."""
    canvas.rectangle(0, 0, WIDTH, HEIGHT, (104, 128, 78))
    top, bottom = VIEW.point(0, -3.6)[1], VIEW.point(0, 3.6)[1]
    for edge, away in ((top, -1), (bottom, 1)):
        canvas.rectangle(-4, min(edge, edge + away * 70), WIDTH + 4, max(edge, edge + away * 70), (178, 174, 166))
    canvas.rectangle(-4, top, WIDTH + 4, bottom, (98, 100, 104))
    for edge in (top + 6, bottom - 9):
        canvas.rectangle(-4, edge, WIDTH + 4, edge + 3, (216, 214, 206))
    for x in range(-20, WIDTH, 120):
        canvas.rectangle(x, HEIGHT / 2 - 2, x + 66, HEIGHT / 2 + 2, (216, 214, 206))
    grain = chance.normal(0.0, 5.0, canvas.pixels.shape[:2])[:, :, None]
    canvas.pixels[:] = np.clip(canvas.pixels + grain, 0, 255).astype(np.uint8)


def draw(canvas: Canvas, view: View, actor: Actor, pose: Pose, _t: float) -> None:
    """Anything, from above."""
    if actor.kind == "person":
        _person(canvas, view, actor, pose)
    else:
        _block(canvas, view, actor, pose)


def _turned(view: View, pose: Pose, forward: float, side: float) -> Point:
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    return view.point(pose.x + forward * cos - side * sin, pose.y + forward * sin + side * cos)


def _block(canvas: Canvas, view: View, actor: Actor, pose: Pose) -> None:
    length, width, _ = SIZES[actor.kind]
    colour = COLOURS[actor.colour]

    def shape(near: float, far: float, half: float) -> list[Point]:
        """Corners between two fractions of the length, `half` of the width to each side, slightly rounded."""
        bevel = 0.12 * width if far - near > 0.9 else 0.0
        u0, u1, v = near * length - length / 2, far * length - length / 2, half * width / 2
        local = [(u0, -v + bevel), (u0 + bevel, -v), (u1 - bevel, -v), (u1, -v + bevel)]
        local += [(u, -s) for u, s in reversed(local)]
        return [_turned(view, pose, u, s) for u, s in local]

    body = shape(0.0, 1.0, 1.0)
    canvas.shadow([(x + 7, y + 7) for x, y in body], 0.45, 4)
    canvas.polygon(body, colour)
    canvas.polygon(shape(0.02, 0.98, 0.84), shade(colour, 1.14))
    if actor.kind in {"car", "van", "bus"}:
        glass: Colour = (58, 70, 82)
        front = (0.66, 0.78) if actor.kind == "car" else (0.9, 0.96)
        canvas.polygon(shape(*front, 0.82), glass)
        if actor.kind == "car":
            canvas.polygon(shape(0.16, 0.25, 0.78), glass)
            canvas.polygon(shape(0.27, 0.64, 0.74), shade(colour, 1.24))


def _person(canvas: Canvas, view: View, actor: Actor, pose: Pose) -> None:
    colour, scale = COLOURS[actor.colour], view.scale(pose.y)
    swing = math.sin(math.tau * pose.travelled / 1.5) if pose.moving else 0.0
    centre = _turned(view, pose, 0.0, 0.0)
    ring = [math.tau * step / 16 for step in range(16)]
    canvas.shadow([(centre[0] + 5 + 12 * math.cos(a), centre[1] + 5 + 12 * math.sin(a)) for a in ring], 0.4, 3)
    for side, step in ((-0.1, swing), (0.1, -swing)):
        foot = _turned(view, pose, 0.28 * step, side)
        canvas.ellipse(foot, (0.13 * scale, 0.07 * scale), (40, 36, 34), math.degrees(pose.heading))
    canvas.ellipse(centre, (0.15 * scale, 0.29 * scale), colour, math.degrees(pose.heading))
    hair = HAIR[sum(actor.name.encode()) % 3]
    canvas.ellipse(_turned(view, pose, 0.03, 0.0), (0.115 * scale, 0.105 * scale), hair, math.degrees(pose.heading))
