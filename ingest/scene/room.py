"""The room: a living room with a sofa, shelves, a table and a window, painted once."""

from __future__ import annotations

import numpy as np

from ingest.scene.painting import Canvas, Colour, mix, shade
from ingest.scene.view import HEIGHT, VIEWS, WIDTH, Point

VIEW = VIEWS["room"]
HALF, BACK, CEILING = 3.5, 6.6, 2.75
"""Half the room's width, distance of its back wall, height: metres."""
LAMP = (2.75, 1.62)
"""The floor lamp's shade: metres across, metres up."""


def paint(canvas: Canvas, chance: np.random.Generator) -> None:
    """The empty room with its light on; night is in the window."""
    _shell(canvas)
    _floor(canvas, chance)
    _window(canvas)
    _picture(canvas)
    _shelves(canvas, chance)
    _sofa(canvas)
    _lamp(canvas)
    _table(canvas)


def _back(x: float, z: float) -> Point:
    return VIEW.point(x, BACK, z)


def _shell(canvas: Canvas) -> None:
    left, right = _back(-HALF, 0), _back(HALF, 0)
    top = _back(0, CEILING)[1]
    canvas.rectangle(0, 0, WIDTH, HEIGHT, (196, 184, 166))
    corner, end = VIEW.point(-HALF, 1.5, CEILING), VIEW.point(HALF, 1.5, CEILING)
    canvas.polygon([corner, end, (right[0], top), (left[0], top)], (226, 220, 208))
    low_left, low_right = VIEW.point(-HALF, 1.5, 0), VIEW.point(HALF, 1.5, 0)
    canvas.polygon([corner, (left[0], top), left, low_left], (184, 172, 154))
    canvas.polygon([end, (right[0], top), right, low_right], (176, 164, 146))
    for step in range(40):
        part = step / 40
        y0, y1 = top + (left[1] - top) * part, top + (left[1] - top) * (step + 1) / 40 + 1
        canvas.rectangle(left[0], y0, right[0], y1, mix((216, 206, 188), (198, 186, 166), part))
    canvas.rectangle(left[0], left[1] - 9, right[0], left[1], (238, 232, 222))
    door = [VIEW.point(-HALF, y, z) for y, z in ((4.2, 0.0), (4.2, 2.1), (5.6, 2.1), (5.6, 0.0))]
    canvas.polygon(door, (106, 84, 62))
    inner = [VIEW.point(-HALF, y, z) for y, z in ((4.32, 0.0), (4.32, 2.02), (5.48, 2.02), (5.48, 0.0))]
    canvas.polygon(inner, (58, 50, 46))


def _floor(canvas: Canvas, chance: np.random.Generator) -> None:
    canvas.polygon(
        [VIEW.point(x, y) for x, y in ((-HALF, 3.0), (HALF, 3.0), (HALF, BACK), (-HALF, BACK))], (158, 116, 78)
    )
    for plank, x in enumerate(np.arange(-HALF, HALF, 0.25)):
        near, far = float(x), float(x) + 0.25
        tone = shade((158, 116, 78), float(chance.uniform(0.9, 1.08)))
        canvas.polygon(
            [VIEW.point(near, 3.0), VIEW.point(far, 3.0), VIEW.point(far, BACK), VIEW.point(near, BACK)], tone
        )
        canvas.line([VIEW.point(near, 3.0), VIEW.point(near, BACK)], (122, 86, 56), 1.0)
        joint = BACK - 0.5 - (plank * 0.7) % 2.2
        canvas.line([VIEW.point(near, joint), VIEW.point(far, joint)], (122, 86, 56), 1.0)
    rug = [VIEW.point(x, y) for x, y in ((-1.7, 4.35), (2.0, 4.35), (1.75, 5.85), (-1.5, 5.85))]
    canvas.polygon(rug, (112, 58, 56))
    inner = [VIEW.point(x, y) for x, y in ((-1.52, 4.5), (1.8, 4.5), (1.6, 5.74), (-1.36, 5.74))]
    canvas.polygon(inner, (176, 132, 106))
    centre = [VIEW.point(x, y) for x, y in ((-1.36, 4.62), (1.63, 4.62), (1.46, 5.64), (-1.23, 5.64))]
    canvas.polygon(centre, (128, 70, 64))


def _window(canvas: Canvas) -> None:
    (x0, y0), (x1, y1) = _back(1.05, 2.2), _back(2.45, 0.95)
    canvas.rectangle(x0 - 7, y0 - 7, x1 + 7, y1 + 7, (240, 236, 228))
    for step in range(20):
        canvas.rectangle(x0, y0 + (y1 - y0) * step / 20, x1, y1, mix((20, 28, 56), (54, 66, 100), step / 20))
    for x, y, wide in ((6, 70, 26), (34, 84, 30), (70, 62, 34), (108, 88, 36)):
        canvas.rectangle(x0 + x, y0 + y, min(x1, x0 + x + wide), y1, (22, 24, 36))
        canvas.rectangle(x0 + x + 6, y0 + y + 8, x0 + x + 11, y0 + y + 14, (232, 196, 112))
        canvas.rectangle(x0 + x + 16, y0 + y + 22, x0 + x + 21, y0 + y + 28, (216, 180, 104))
    canvas.ellipse((x0 + 112, y0 + 24), (9, 9), (236, 234, 214))
    canvas.rectangle((x0 + x1) / 2 - 3, y0, (x0 + x1) / 2 + 3, y1, (240, 236, 228))
    for side, sign in ((x0, -1), (x1, 1)):
        for fold in range(4):
            near = side + sign * (4 + fold * 9)
            tone: Colour = (88, 112, 116) if fold % 2 else (104, 130, 134)
            canvas.polygon(
                [(near, y0 - 18), (near + sign * 9, y0 - 18), (near + sign * 10, y1 + 50), (near, y1 + 50)], tone
            )
    canvas.rectangle(x0 - 48, y0 - 22, x1 + 48, y0 - 17, (70, 56, 44))


def _picture(canvas: Canvas) -> None:
    (x0, y0), (x1, y1) = _back(-1.15, 2.15), _back(0.05, 1.4)
    canvas.shadow([(x0 + 4, y0 + 6), (x1 + 8, y0 + 6), (x1 + 8, y1 + 8), (x0 + 4, y1 + 8)], 0.35, 5)
    canvas.rectangle(x0 - 6, y0 - 6, x1 + 6, y1 + 6, (52, 44, 38))
    canvas.rectangle(x0, y0, x1, y1, (236, 216, 180))
    canvas.ellipse((x0 + 86, y0 + 26), (11, 11), (226, 122, 70))
    canvas.polygon(
        [(x0, y1), (x0, y1 - 26), (x0 + 44, y1 - 50), (x0 + 88, y1 - 20), (x1, y1 - 34), (x1, y1)], (92, 124, 128)
    )
    canvas.polygon([(x0, y1), (x0, y1 - 14), (x0 + 60, y1 - 26), (x1, y1 - 12), (x1, y1)], (56, 86, 84))


def _shelves(canvas: Canvas, chance: np.random.Generator) -> None:
    (x0, y0), (x1, y1) = _back(-3.2, 2.1), _back(-1.85, 0.0)
    canvas.rectangle(x0, y0, x1, y1, (96, 70, 48))
    books: tuple[Colour, ...] = (
        (150, 62, 54),
        (66, 92, 118),
        (196, 166, 96),
        (86, 112, 84),
        (206, 198, 182),
        (102, 70, 96),
    )
    for row in range(4):
        top = y0 + 7 + (y1 - y0 - 7) * row / 4
        bottom = y0 + (y1 - y0) * (row + 1) / 4 - 3
        canvas.rectangle(x0 + 6, top, x1 - 6, bottom, (66, 48, 34))
        x = x0 + 8
        while x < x1 - 16:
            wide, high = float(chance.uniform(5, 11)), float(chance.uniform(0.62, 0.92)) * (bottom - top)
            if chance.random() < 0.86:
                canvas.rectangle(x, bottom - high, x + wide - 1, bottom, shade(books[int(chance.integers(6))], 0.9))
            x += wide


def _sofa(canvas: Canvas) -> None:
    def block(
        span: tuple[float, float], depth: tuple[float, float], heights: tuple[float, float], colour: Colour
    ) -> None:
        (left, right), (near, far), (low, high) = span, depth, heights
        canvas.polygon(
            [VIEW.point(*p) for p in ((left, near, high), (right, near, high), (right, far, high), (left, far, high))],
            shade(colour, 1.18),
        )
        canvas.polygon(
            [VIEW.point(*p) for p in ((left, near, low), (right, near, low), (right, near, high), (left, near, high))],
            colour,
        )

    base: Colour = (84, 104, 122)
    canvas.shadow([VIEW.point(x, y) for x, y in ((-1.7, 5.5), (0.95, 5.5), (1.0, 6.6), (-1.7, 6.6))], 0.5, 9)
    block((-1.55, 0.75), (6.2, 6.5), (0.1, 0.95), shade(base, 0.94))
    block((-1.55, 0.75), (5.75, 6.2), (0.08, 0.45), base)
    for left in (-1.3, -0.36):
        block((left, left + 0.9), (5.74, 6.2), (0.32, 0.5), shade(base, 1.08))
    for left in (-1.62, 0.6):
        block((left, left + 0.24), (5.7, 6.45), (0.06, 0.66), shade(base, 0.86))
    cushion = [VIEW.point(*p) for p in ((-1.2, 6.0, 0.5), (-0.8, 6.0, 0.48), (-0.76, 6.1, 0.86), (-1.16, 6.1, 0.88))]
    canvas.polygon(cushion, (206, 152, 74))


def _lamp(canvas: Canvas) -> None:
    x, z = LAMP
    px, py = VIEW.point(x, 6.2, z)
    foot = VIEW.point(x, 6.2, 0.0)
    canvas.line([(px, py), foot], (60, 54, 48), 4)
    canvas.ellipse(foot, (20, 6), (60, 54, 48))
    canvas.polygon([(px - 20, py - 34), (px + 20, py - 34), (px + 31, py + 10), (px - 31, py + 10)], (248, 230, 188))


def _table(canvas: Canvas) -> None:
    legs = ((1.75, 5.3), (2.75, 5.3), (1.75, 5.9), (2.75, 5.9))
    canvas.shadow([VIEW.point(x, y) for x, y in ((1.6, 5.15), (2.95, 5.15), (2.95, 6.0), (1.6, 6.0))], 0.42, 8)
    for x, y in legs:
        canvas.line([VIEW.point(x, y, 0.0), VIEW.point(x, y, 0.5)], (84, 58, 38), 6)
    canvas.polygon(
        [VIEW.point(*p) for p in ((1.6, 5.2, 0.55), (2.9, 5.2, 0.55), (2.9, 6.0, 0.55), (1.6, 6.0, 0.55))],
        (178, 132, 88),
    )
    canvas.polygon(
        [VIEW.point(*p) for p in ((1.6, 5.2, 0.49), (2.9, 5.2, 0.49), (2.9, 5.2, 0.55), (1.6, 5.2, 0.55))],
        (132, 94, 60),
    )
    cup = VIEW.point(2.0, 5.5, 0.55)
    canvas.polygon(
        [(cup[0] - 8, cup[1] - 17), (cup[0] + 8, cup[1] - 17), (cup[0] + 6, cup[1]), (cup[0] - 6, cup[1])],
        (236, 232, 224),
    )
    canvas.ring((cup[0] + 9, cup[1] - 9), 5, (236, 232, 224), 2)
