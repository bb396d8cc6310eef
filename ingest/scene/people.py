"""People and a dog, drawn from the side with a walking gait."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ingest.scene.painting import COLOURS, Canvas, Colour, shade
from ingest.scene.script import Actor, Pose
from ingest.scene.view import Point, View

SKIN: tuple[Colour, ...] = ((224, 176, 144), (188, 132, 98), (134, 90, 64))
HAIR: tuple[Colour, ...] = ((52, 38, 30), (96, 62, 36), (28, 26, 28))
TROUSERS: tuple[Colour, ...] = ((58, 62, 82), (72, 66, 60), (44, 48, 56))
STRIDE = 1.5
"""Metres of two steps."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Local metres (forward, up) of something that faces `facing` to pixels."""

    view: View
    pose: Pose

    def point(self, forward: float, up: float) -> Point:
        x, y = self.view.point(self.pose.x, self.pose.y, self.pose.z)
        scale = self.view.scale(self.pose.y)
        return x + self.pose.facing * forward * scale, y - up * scale

    def size(self, metres: float) -> float:
        return metres * self.view.scale(self.pose.y)


def soft_shadow(canvas: Canvas, view: View, pose: Pose, half: tuple[float, float], strength: float = 0.42) -> None:
    """A soft ellipse on the ground, a little to the right: the sun stands on the left."""
    wide, deep = half
    ring = [math.tau * step / 20 for step in range(20)]
    points = [view.point(pose.x + 0.12 + wide * math.cos(a), pose.y + deep * math.sin(a), 0.0) for a in ring]
    canvas.shadow(points, strength, 0.06 * view.scale(pose.y) + 1.0)


def person(canvas: Canvas, view: View, actor: Actor, pose: Pose, t: float) -> None:
    """A person in a coat of the actor's colour; the arms are held out while something is carried."""
    look = sum(actor.name.encode())
    skin, hair, trousers = SKIN[look % 3], HAIR[look // 3 % 3], TROUSERS[look // 2 % 3]
    coat = COLOURS[actor.colour]
    soft_shadow(canvas, view, pose, (0.42, 0.22))
    figure = Figure(view, pose)
    phase = math.tau * pose.travelled / STRIDE if pose.moving else 0.0
    swing = math.sin(phase) if pose.moving else 0.0
    carrying = any(start <= t <= end for start, end in actor.carries)
    _arm(canvas, figure, -swing, carrying, shade(coat, 0.66), skin)
    _leg(canvas, figure, -swing, math.cos(phase), shade(trousers, 0.72))
    _leg(canvas, figure, swing, -math.cos(phase), trousers)
    _torso(canvas, figure, coat)
    _arm(canvas, figure, swing, carrying, shade(coat, 0.86), skin)
    _head(canvas, figure, skin, hair)


def _leg(canvas: Canvas, figure: Figure, swing: float, lift: float, colour: Colour) -> None:
    hip = (0.0, 0.86)
    thigh = 0.5 * swing
    knee = (hip[0] + 0.43 * math.sin(thigh), hip[1] - 0.43 * math.cos(thigh))
    shin = thigh - 0.55 * max(0.0, lift) * (1.0 if swing else 0.0)
    foot = (knee[0] + 0.42 * math.sin(shin), max(0.05, knee[1] - 0.42 * math.cos(shin)))
    canvas.limb(figure.point(*hip), figure.point(*knee), (figure.size(0.095), figure.size(0.072)), colour)
    canvas.limb(figure.point(*knee), figure.point(*foot), (figure.size(0.07), figure.size(0.05)), colour)
    toe = (foot[0] + 0.13, max(0.035, foot[1] - 0.02))
    canvas.limb(figure.point(*foot), figure.point(*toe), (figure.size(0.05), figure.size(0.038)), (36, 32, 30))


def _arm(canvas: Canvas, figure: Figure, swing: float, carrying: bool, colour: Colour, skin: Colour) -> None:
    shoulder = (0.0, 1.38)
    angle = 0.75 if carrying else -0.55 * swing
    bend = 1.35 if carrying else angle + 0.3
    elbow = (shoulder[0] + 0.29 * math.sin(angle), shoulder[1] - 0.29 * math.cos(angle))
    hand = (elbow[0] + 0.27 * math.sin(bend), elbow[1] - 0.27 * math.cos(bend))
    canvas.limb(figure.point(*shoulder), figure.point(*elbow), (figure.size(0.07), figure.size(0.06)), colour)
    canvas.limb(figure.point(*elbow), figure.point(*hand), (figure.size(0.06), figure.size(0.045)), colour)
    canvas.ellipse(figure.point(*hand), (figure.size(0.05), figure.size(0.05)), skin)


def _torso(canvas: Canvas, figure: Figure, coat: Colour) -> None:
    outline = [
        (-0.15, 1.42),
        (-0.08, 1.48),
        (0.08, 1.48),
        (0.15, 1.40),
        (0.165, 1.1),
        (0.17, 0.72),
        (-0.17, 0.72),
        (-0.165, 1.1),
    ]
    canvas.polygon([figure.point(*point) for point in outline], coat)
    lit = [(-0.15, 1.42), (-0.08, 1.48), (-0.03, 1.47), (-0.07, 0.72), (-0.17, 0.72), (-0.165, 1.1)]
    side = lit if figure.pose.facing == 1 else [(-x, z) for x, z in lit]
    canvas.polygon([figure.point(*point) for point in side], shade(coat, 1.16))
    canvas.line([figure.point(0.05, 1.42), figure.point(0.06, 0.74)], shade(coat, 0.7), figure.size(0.014))


def _head(canvas: Canvas, figure: Figure, skin: Colour, hair: Colour) -> None:
    canvas.limb(
        figure.point(0.0, 1.44), figure.point(0.01, 1.53), (figure.size(0.06), figure.size(0.055)), shade(skin, 0.85)
    )
    canvas.ellipse(figure.point(-0.015, 1.645), (figure.size(0.112), figure.size(0.122)), hair)
    canvas.ellipse(figure.point(0.03, 1.615), (figure.size(0.085), figure.size(0.105)), skin)
    canvas.ellipse(figure.point(0.112, 1.61), (figure.size(0.022), figure.size(0.018)), shade(skin, 0.94))
    canvas.ellipse(figure.point(0.0, 1.695), (figure.size(0.105), figure.size(0.06)), hair)


def dog(canvas: Canvas, view: View, actor: Actor, pose: Pose, _t: float) -> None:
    """A trotting dog."""
    coat = COLOURS[actor.colour]
    soft_shadow(canvas, view, pose, (0.5, 0.16))
    figure = Figure(view, pose)
    phase = math.tau * pose.travelled / 0.9
    for place, shift, tone in ((0.26, 0.0, 0.62), (-0.28, math.pi, 0.62), (0.3, math.pi, 0.9), (-0.24, 0.0, 0.9)):
        swing = 0.55 * math.sin(phase + shift) if pose.moving else 0.0
        knee = (place + 0.17 * math.sin(swing), 0.2)
        paw = (place + 0.30 * math.sin(swing), 0.03 + 0.06 * max(0.0, math.cos(phase + shift)))
        canvas.limb(
            figure.point(place, 0.38), figure.point(*knee), (figure.size(0.06), figure.size(0.04)), shade(coat, tone)
        )
        canvas.limb(
            figure.point(*knee), figure.point(*paw), (figure.size(0.038), figure.size(0.032)), shade(coat, tone)
        )
    wag = 0.05 * math.sin(phase * 1.5)
    canvas.limb(
        figure.point(-0.36, 0.48), figure.point(-0.52, 0.62 + wag), (figure.size(0.03), figure.size(0.014)), coat
    )
    canvas.limb(figure.point(-0.28, 0.43), figure.point(0.27, 0.45), (figure.size(0.115), figure.size(0.125)), coat)
    canvas.limb(
        figure.point(-0.25, 0.37), figure.point(0.2, 0.37), (figure.size(0.05), figure.size(0.06)), shade(coat, 1.3)
    )
    canvas.limb(figure.point(0.29, 0.48), figure.point(0.4, 0.6), (figure.size(0.085), figure.size(0.07)), coat)
    canvas.ellipse(figure.point(0.42, 0.61), (figure.size(0.09), figure.size(0.075)), coat)
    canvas.limb(
        figure.point(0.46, 0.59), figure.point(0.55, 0.57), (figure.size(0.045), figure.size(0.034)), shade(coat, 1.15)
    )
    canvas.ellipse(figure.point(0.575, 0.585), (figure.size(0.018), figure.size(0.016)), (24, 20, 20))
    canvas.limb(
        figure.point(0.38, 0.66), figure.point(0.34, 0.55), (figure.size(0.034), figure.size(0.02)), shade(coat, 0.6)
    )
    canvas.ellipse(figure.point(0.46, 0.635), (figure.size(0.013), figure.size(0.013)), (20, 18, 18))
