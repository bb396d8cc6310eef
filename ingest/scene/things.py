"""Things that are put down and taken away."""

from __future__ import annotations

from ingest.scene.painting import COLOURS, Canvas, shade
from ingest.scene.people import Figure, soft_shadow
from ingest.scene.script import SIZES, Actor, Pose
from ingest.scene.view import View


def box(canvas: Canvas, view: View, actor: Actor, pose: Pose, _t: float) -> None:
    """A cardboard box with its lid seen from above."""
    length, width, height = SIZES["box"]
    colour = COLOURS[actor.colour]
    if pose.z < 0.2:
        soft_shadow(canvas, view, pose, (length * 0.62, width * 0.6))
    left, right, near, far = pose.x - length / 2, pose.x + length / 2, pose.y, pose.y + width
    top, low = pose.z + height, pose.z
    lid = [view.point(*p) for p in ((left, near, top), (right, near, top), (right, far, top), (left, far, top))]
    front = [view.point(*p) for p in ((left, near, low), (right, near, low), (right, near, top), (left, near, top))]
    canvas.polygon(lid, shade(colour, 1.35))
    canvas.polygon(front, shade(colour, 1.05))
    middle = (left + right) / 2
    tape = [
        view.point(middle + dx, y, z)
        for dx, y, z in ((-0.04, far, top), (0.04, far, top), (0.04, near, top), (-0.04, near, top))
    ]
    canvas.polygon(tape, (206, 184, 140))
    strip = [
        view.point(middle + dx, near, z)
        for dx, z in ((-0.04, top), (0.04, top), (0.04, top - 0.12), (-0.04, top - 0.12))
    ]
    canvas.polygon(strip, (196, 172, 128))


def bag(canvas: Canvas, view: View, actor: Actor, pose: Pose, _t: float) -> None:
    """A holdall with handles."""
    colour = COLOURS[actor.colour]
    if pose.z < 0.2:
        soft_shadow(canvas, view, pose, (0.36, 0.2))
    figure = Figure(view, pose)
    for lean in (-0.03, 0.03):
        handle = [(-0.14 + lean, 0.3), (-0.1 + lean, 0.42), (0.1 + lean, 0.42), (0.14 + lean, 0.3)]
        canvas.line([figure.point(*p) for p in handle], shade(colour, 0.7), figure.size(0.022))
    body = [
        (-0.28, 0.04),
        (-0.25, 0.0),
        (0.25, 0.0),
        (0.28, 0.04),
        (0.26, 0.27),
        (0.2, 0.32),
        (-0.2, 0.32),
        (-0.26, 0.27),
    ]
    canvas.polygon([figure.point(*p) for p in body], colour)
    canvas.polygon(
        [figure.point(*p) for p in [(-0.26, 0.27), (-0.2, 0.32), (0.2, 0.32), (0.26, 0.27), (0.0, 0.24)]],
        shade(colour, 1.7),
    )
    canvas.polygon(
        [figure.point(*p) for p in [(-0.12, 0.05), (0.12, 0.05), (0.11, 0.18), (-0.11, 0.18)]], shade(colour, 1.45)
    )
    canvas.line([figure.point(-0.22, 0.305), figure.point(0.22, 0.305)], (190, 190, 186), figure.size(0.012))
