"""Cars, vans, buses and a bicycle: profiles seen from the side, extruded to their width in true perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from ingest.scene.painting import COLOURS, Canvas, Colour, shade
from ingest.scene.people import HAIR, SKIN, Figure, soft_shadow
from ingest.scene.script import SIZES, Actor, Kind, Pose
from ingest.scene.view import Point, View

GLASS: Colour = (64, 78, 92)
TYRE: Colour = (26, 26, 28)
Profile = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Body:
    """A vehicle's side in metres: `outline` from the rear bumper over the roof to the front bumper; `glazed` are the
    outline's edges that are glass; `windows` and `doors` are on the side; wheels stand at `axles`."""

    outline: Profile
    glazed: tuple[int, ...]
    windows: tuple[Profile, ...]
    doors: tuple[float, ...]
    axles: tuple[float, float]
    wheel: float
    lamp: float
    """Height of the lamps."""
    belt: float
    """Height at which the side turns from the light upper half to the darker lower half."""


BODIES: dict[Kind, Body] = {
    "car": Body(
        outline=((-2.12, 0.28), (-2.15, 0.62), (-2.08, 0.92), (-1.72, 1.02), (-1.15, 1.42), (-0.3, 1.46),
         (0.3, 1.42), (1.0, 0.98), (1.95, 0.8), (2.14, 0.58), (2.12, 0.28)),
        glazed=(3, 6),
        windows=(((-1.42, 1.02), (-1.05, 1.34), (-0.42, 1.37), (-0.42, 1.02)), ((-0.32, 1.02), (-0.32, 1.37),
         (0.22, 1.34), (0.72, 1.02))),
        doors=(-1.12, -0.37, 0.78),
        axles=(-1.32, 1.3),
        wheel=0.32,
        lamp=0.66,
        belt=0.62,
    ),
    "van": Body(
        outline=((-2.6, 0.32), (-2.63, 0.9), (-2.6, 2.2), (-2.45, 2.33), (1.1, 2.35), (1.42, 2.2), (1.98, 1.34),
         (2.5, 1.12), (2.64, 0.8), (2.62, 0.32)),
        glazed=(5,),
        windows=(((0.9, 1.36), (0.9, 1.98), (1.36, 1.98), (1.78, 1.36)),),
        doors=(-0.9, 0.72, 1.9),
        axles=(-1.62, 1.62),
        wheel=0.36,
        lamp=0.86,
        belt=0.7,
    ),
    "bus": Body(
        outline=((-5.2, 0.36), (-5.28, 1.0), (-5.26, 2.85), (-5.1, 3.02), (4.95, 3.05), (5.16, 2.9), (5.28, 1.1),
         (5.24, 0.36)),
        glazed=(5,),
        windows=tuple(((x, 1.5), (x, 2.55), (x + 1.18, 2.55),
         (x + 1.18, 1.5)) for x in (-4.9, -3.62, -2.34, -1.06, 0.22, 1.5, 2.78)),
        doors=(4.02, 4.98),
        axles=(-3.0, 3.2),
        wheel=0.47,
        lamp=0.8,
        belt=0.86,
    ),
}  # fmt: skip


def vehicle(canvas: Canvas, view: View, actor: Actor, pose: Pose, _t: float) -> None:
    """A car, van or bus in the actor's colour with its text on the side."""
    body, colour = BODIES[actor.kind], COLOURS[actor.colour]
    length, width, _ = SIZES[actor.kind]
    _shade_ground(canvas, view, pose, length, width)
    _extrude(canvas, view, pose, body, (colour, width))
    side = Figure(view, pose)
    canvas.polygon([side.point(*p) for p in body.outline], colour)
    _lower(canvas, side, body, colour)
    for window in body.windows:
        canvas.polygon([side.point(*p) for p in window], GLASS)
        (u0, z0), (u1, z1) = window[0], window[1]
        gleam = [(u0 + 0.12, z0), (u1 + 0.22, z1), (u1 + 0.38, z1), (u0 + 0.3, z0)]
        canvas.polygon([side.point(*p) for p in gleam], shade(GLASS, 1.35))
    for door in body.doors:
        canvas.line(
            [side.point(door, 0.42), side.point(door, body.windows[0][0][1])], shade(colour, 0.72), side.size(0.018)
        )
    for axle in body.axles:
        _wheel(canvas, side, axle, body.wheel, pose)
    _lamps(canvas, side, body)
    if actor.text:
        _lettering(canvas, side, actor)


def _shade_ground(canvas: Canvas, view: View, pose: Pose, length: float, width: float) -> None:
    near, far = pose.y - 0.15, pose.y + width + 0.25
    left, right = pose.x - length / 2 - 0.05, pose.x + length / 2 + 0.45
    points = [view.point(left, near), view.point(right, near), view.point(right + 0.2, far), view.point(left, far)]
    canvas.shadow(points, 0.5, 0.1 * view.scale(pose.y))


def _extrude(canvas: Canvas, view: View, pose: Pose, body: Body, paint: tuple[Colour, float]) -> None:
    """The faces between the near and the far side that the camera sees, the farthest first."""
    colour, width = paint
    faces: list[tuple[float, list[Point], Colour]] = []
    for number, ((u0, z0), (u1, z1)) in enumerate(pairwise(body.outline)):
        x0, x1 = pose.x + pose.facing * u0, pose.x + pose.facing * u1
        normal_x, normal_z = (z0 - z1) * pose.facing, u1 - u0
        middle_x, middle_z = (x0 + x1) / 2, (z0 + z1) / 2
        outward = -normal_x * middle_x + normal_z * (view.height - middle_z)
        if outward <= 0:
            continue
        quad = [view.point(x0, pose.y, z0), view.point(x1, pose.y, z1)]
        quad += [view.point(x1, pose.y + width, z1), view.point(x0, pose.y + width, z0)]
        steep = abs(z1 - z0) / max(1e-6, math.hypot(u1 - u0, z1 - z0))
        base = GLASS if number in body.glazed else colour
        faces.append((abs(middle_x), quad, shade(base, 1.28 - 0.45 * steep)))
    for _, quad, tone in sorted(faces, key=lambda face: -face[0]):
        canvas.polygon(quad, tone)


def _lower(canvas: Canvas, side: Figure, body: Body, colour: Colour) -> None:
    rear, front = body.outline[0][0], body.outline[-1][0]
    low = body.outline[0][1]
    canvas.polygon(
        [side.point(*p) for p in ((rear, low), (rear, body.belt), (front, body.belt), (front, low))],
        shade(colour, 0.84),
    )
    canvas.polygon(
        [side.point(*p) for p in ((rear, low), (rear, low + 0.12), (front, low + 0.12), (front, low))], (44, 44, 48)
    )
    canvas.line(
        [side.point(rear + 0.05, body.belt), side.point(front - 0.05, body.belt)], shade(colour, 1.25), side.size(0.025)
    )


def _wheel(canvas: Canvas, side: Figure, axle: float, radius: float, pose: Pose) -> None:
    centre = side.point(axle, radius)
    canvas.ellipse(side.point(axle, radius + 0.03), (side.size(radius * 1.2), side.size(radius * 1.2)), (30, 30, 33))
    canvas.ellipse(centre, (side.size(radius), side.size(radius)), TYRE)
    canvas.ellipse(centre, (side.size(radius * 0.62), side.size(radius * 0.62)), (158, 162, 168))
    turn = pose.travelled / radius
    for spoke in range(5):
        angle = turn + math.tau * spoke / 5
        rim = side.point(axle + radius * 0.58 * math.cos(angle), radius - radius * 0.58 * math.sin(angle))
        canvas.line([centre, rim], (96, 100, 106), side.size(radius * 0.13))
    canvas.ellipse(centre, (side.size(radius * 0.16), side.size(radius * 0.16)), (70, 72, 78))


def _lamps(canvas: Canvas, side: Figure, body: Body) -> None:
    front, rear = body.outline[-2][0], body.outline[1][0]
    for u, tone, wide in ((front - 0.13, (246, 240, 214), 0.16), (rear + 0.1, (176, 26, 24), 0.1)):
        canvas.ellipse(side.point(u, body.lamp), (side.size(wide), side.size(0.075)), tone)


def _lettering(canvas: Canvas, side: Figure, actor: Actor) -> None:
    dark = sum(COLOURS[actor.colour]) > 500
    ink: Colour = (36, 60, 120) if dark else (250, 246, 232)
    place, size = ((0.1, 1.18), 0.54) if actor.kind == "bus" else ((-0.95, 1.3), 0.56)
    canvas.text(
        side.point(place[0], place[1] - size * 0.32), actor.text, side.size(size), ink, weight=800, centred=True
    )


def headlights(canvas: Canvas, view: View, actor: Actor, pose: Pose, night: float) -> None:
    """What a vehicle's lamps add to the picture; `night` 0..1."""
    body = BODIES.get(actor.kind)
    if body is None or night < 0.05:
        return
    side = Figure(view, pose)
    front, rear = body.outline[-2][0], body.outline[1][0]
    canvas.glow(side.point(front + 2.4, 0.0), (side.size(3.0), side.size(0.55)), shade((150, 140, 104), night))
    canvas.glow(side.point(front, body.lamp), (side.size(0.7), side.size(0.6)), shade((255, 246, 214), night))
    canvas.glow(side.point(rear, body.lamp), (side.size(0.45), side.size(0.4)), shade((255, 40, 26), night))
    for window in body.windows if actor.kind == "bus" else ():
        canvas.glow(side.point(window[0][0] + 0.6, 2.0), (side.size(0.8), side.size(0.7)), shade((120, 112, 84), night))


def bicycle(canvas: Canvas, view: View, actor: Actor, pose: Pose, _t: float) -> None:
    """A bicycle with a rider in the actor's colour, pedalling."""
    soft_shadow(canvas, view, pose, (0.95, 0.16))
    side, coat = Figure(view, pose), COLOURS[actor.colour]
    for axle in (-0.54, 0.54):
        canvas.ring(side.point(axle, 0.34), side.size(0.32), TYRE, side.size(0.05))
        for spoke in range(4):
            angle = pose.travelled / 0.34 + math.pi * spoke / 4
            ends = [(axle + s * 0.3 * math.cos(angle), 0.34 - s * 0.3 * math.sin(angle)) for s in (-1, 1)]
            canvas.line([side.point(*p) for p in ends], (150, 152, 156), 1.0)
    pedal = pose.travelled / 0.85
    _pedalling(canvas, side, pedal + math.pi, (40, 44, 60))
    frame = (
        (-0.54, 0.34),
        (-0.2, 0.84),
        (0.42, 0.86),
        (0.54, 0.34),
        (0.42, 0.86),
        (0.0, 0.32),
        (-0.54, 0.34),
        (0.0, 0.32),
        (-0.2, 0.84),
    )
    canvas.line([side.point(*p) for p in frame], (60, 120, 130), side.size(0.05))
    canvas.line([side.point(0.4, 0.86), side.point(0.38, 1.02), side.point(0.52, 1.0)], (50, 50, 54), side.size(0.04))
    canvas.line([side.point(-0.34, 0.9), side.point(-0.12, 0.88)], (30, 30, 32), side.size(0.06))
    _pedalling(canvas, side, pedal, (56, 62, 84))
    canvas.limb(side.point(-0.2, 0.98), side.point(0.12, 1.38), (side.size(0.14), side.size(0.15)), coat)
    canvas.limb(side.point(0.12, 1.36), side.point(0.32, 1.14), (side.size(0.065), side.size(0.055)), shade(coat, 0.8))
    canvas.limb(side.point(0.32, 1.14), side.point(0.48, 1.03), (side.size(0.05), side.size(0.045)), SKIN[0])
    canvas.ellipse(side.point(0.22, 1.58), (side.size(0.1), side.size(0.12)), SKIN[0])
    canvas.ellipse(side.point(0.19, 1.64), (side.size(0.13), side.size(0.085)), HAIR[2])


def _pedalling(canvas: Canvas, side: Figure, turn: float, colour: Colour) -> None:
    hip, foot = (-0.18, 0.94), (0.17 * math.cos(turn), 0.32 - 0.17 * math.sin(turn))
    middle = ((hip[0] + foot[0]) / 2, (hip[1] + foot[1]) / 2)
    reach = math.hypot(foot[0] - hip[0], foot[1] - hip[1])
    bend = math.sqrt(max(0.0, 0.44**2 - (reach / 2) ** 2))
    across = ((hip[1] - foot[1]) / reach, (foot[0] - hip[0]) / reach)
    knee = (middle[0] + bend * across[0], middle[1] + bend * across[1])
    canvas.limb(side.point(*hip), side.point(*knee), (side.size(0.09), side.size(0.07)), colour)
    canvas.limb(side.point(*knee), side.point(*foot), (side.size(0.065), side.size(0.045)), colour)
    canvas.limb(
        side.point(*foot), side.point(foot[0] + 0.13, foot[1] - 0.02), (side.size(0.045), side.size(0.03)), (30, 28, 28)
    )
