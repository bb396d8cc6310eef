"""The street: houses and a shop behind a pavement and a road, painted once."""

from __future__ import annotations

import numpy as np

from ingest.records import Pixels
from ingest.scene.painting import Canvas, Colour, mix, shade
from ingest.scene.view import VIEWS, WIDTH

WALL, FAR_KERB, NEAR_KERB = 20.5, 17.2, 10.2
"""Distances of the house fronts and of the kerbs, metres."""
VIEW = VIEWS["street"]
LANTERNS = ((-6.5, 3.3), (0.55, 3.5), (7.0, 3.3))
"""Where light hangs on the wall: metres across, metres up."""
LIT = (
    (-11.2, -9.9, 0.95, 2.35),
    (-8.4, -7.3, 3.5, 4.7),
    (2.0, 3.2, 3.4, 4.6),
    (8.0, 9.3, 1.0, 2.4),
    (-4.8, 0.0, 0.55, 2.35),
)
"""Windows with light in them at night: left, right, bottom, top in metres on the wall."""

Wall = tuple[float, float, float, float]


def paint(canvas: Canvas, chance: np.random.Generator) -> None:
    """The empty street by day."""
    _sky(canvas, chance)
    _house(canvas, (-14.0, -6.5), 5.3, (150, 92, 76), brick=True)
    _house(canvas, (-6.5, 0.55), 5.7, (226, 212, 184), brick=False)
    _house(canvas, (0.55, 7.0), 5.2, (126, 146, 162), brick=False)
    _house(canvas, (7.0, 14.0), 5.5, (204, 170, 116), brick=True)
    _openings(canvas)
    _shop(canvas)
    _ground(canvas, chance)
    _planters(canvas, chance)
    for x, z in LANTERNS:
        _lantern(canvas, x, z)


def _wall(left: float, right: float, low: float, high: float) -> Wall:
    x0, y0 = VIEW.point(left, WALL, high)
    x1, y1 = VIEW.point(right, WALL, low)
    return x0, y0, x1, y1


def _sky(canvas: Canvas, chance: np.random.Generator) -> None:
    for step in range(64):
        tone = mix((108, 158, 214), (206, 224, 236), step / 63)
        canvas.rectangle(0, step * 3, WIDTH, step * 3 + 4, tone)
    for _ in range(4):
        x, y = float(chance.uniform(0, WIDTH)), float(chance.uniform(0, 30))
        for _ in range(9):
            centre = (x + float(chance.normal(0, 46)), y + float(chance.normal(0, 4)))
            canvas.ellipse(centre, (float(chance.uniform(24, 60)), float(chance.uniform(4, 9))), (234, 240, 244))


def _house(canvas: Canvas, span: tuple[float, float], eaves: float, colour: Colour, *, brick: bool) -> None:
    left, right = span
    x0, top, x1, bottom = _wall(left, right, 0.0, eaves)
    canvas.rectangle(x0, top, x1, bottom, colour)
    if brick:
        _bricks(canvas, span, eaves, colour)
    for step in range(12):
        canvas.rectangle(x0, bottom - 26 + step * 2, x1, bottom, shade(colour, 1.0 - 0.012 * (step + 1)))
    canvas.rectangle(x0, bottom - 11, x1, bottom, shade(colour, 0.62))
    ridge = [(x0 - 5, top + 3), (x1 + 5, top + 3), (x1 - 34, top - 78), (x0 + 34, top - 78)]
    roof: Colour = (112, 72, 60) if not brick else (84, 78, 80)
    canvas.polygon(ridge, roof)
    for row in range(1, 11):
        y = top + 3 - row * 7.6
        inset = 34 * row / 10.6 - 5
        canvas.line([(x0 + inset, y), (x1 - inset, y)], shade(roof, 0.84), 1.0)
    canvas.rectangle(x0 - 5, top - 1, x1 + 5, top + 5, shade(colour, 0.5))
    canvas.rectangle(x1 - 3, top, x1, bottom, shade(colour, 0.78))


def _bricks(canvas: Canvas, span: tuple[float, float], eaves: float, colour: Colour) -> None:
    left, right = span
    for row in range(int(eaves / 0.16)):
        z = row * 0.16
        x0, y, x1, _ = _wall(left, right, z, z)
        canvas.line([(x0, y), (x1, y)], shade(colour, 0.9), 1.0)
        start = left + (0.2 if row % 2 else 0.0)
        for x in np.arange(start, right, 0.42):
            upper, lower = VIEW.point(float(x), WALL, z + 0.16), VIEW.point(float(x), WALL, z)
            canvas.line([upper, lower], shade(colour, 0.92), 1.0)


def _openings(canvas: Canvas) -> None:
    windows = [(-13.4, -12.2, 0.95, 2.35), (-11.2, -9.9, 0.95, 2.35), (-12.9, -11.8, 3.5, 4.7),
     (-10.6, -9.5, 3.5, 4.7), (-8.4, -7.3, 3.5, 4.7),
               (-5.6, -4.5, 3.9, 5.1), (-3.6, -2.5, 3.9, 5.1), (-1.5, -0.4, 3.9, 5.1), (1.3, 2.6, 0.95, 2.35),
                (5.1, 6.4, 0.95, 2.35),
               (2.0, 3.2, 3.4, 4.6), (4.4, 5.6, 3.4, 4.6), (8.0, 9.3, 1.0, 2.4), (11.2, 12.6, 1.0, 2.4),
                (8.3, 9.4, 3.6, 4.8), (11.0, 12.1, 3.6, 4.8)]  # fmt: skip
    for window in windows:
        _window(canvas, _wall(*window))
    for left, right, colour in ((-8.9, -7.8, (58, 84, 70)), (3.3, 4.4, (148, 52, 44)), (9.8, 10.8, (70, 62, 96))):
        _door(canvas, _wall(left, right, 0.12, 2.25), colour)


def _window(canvas: Canvas, wall: Wall) -> None:
    x0, y0, x1, y1 = wall
    canvas.rectangle(x0 - 4, y0 - 4, x1 + 4, y1 + 4, (236, 234, 226))
    canvas.rectangle(x0, y0, x1, y1, (74, 92, 108))
    canvas.polygon([(x0, y0), (x1, y0), (x0, y1)], (92, 112, 130))
    middle = (x0 + x1) / 2
    canvas.rectangle(middle - 1.5, y0, middle + 1.5, y1, (236, 234, 226))
    canvas.rectangle(x0, y0 + (y1 - y0) * 0.42, x1, y0 + (y1 - y0) * 0.42 + 2.5, (236, 234, 226))
    canvas.rectangle(x0 - 6, y1 + 3, x1 + 6, y1 + 7, (196, 192, 184))
    canvas.rectangle(x0, y0, x1, y0 + 3, (52, 64, 76))


def _door(canvas: Canvas, wall: Wall, colour: Colour) -> None:
    x0, y0, x1, y1 = wall
    canvas.rectangle(x0 - 4, y0 - 5, x1 + 4, y1, (228, 224, 214))
    canvas.rectangle(x0, y0, x1, y1, colour)
    for top in (0.08, 0.52):
        high = y1 - y0
        canvas.rectangle(x0 + 7, y0 + high * top, x1 - 7, y0 + high * (top + 0.36), shade(colour, 0.8))
        canvas.rectangle(x0 + 9, y0 + high * top + 2, x1 - 9, y0 + high * (top + 0.36) - 2, shade(colour, 1.12))
    canvas.ellipse((x1 - 6, (y0 + y1) / 2 + 4), (2, 2), (220, 190, 110))
    canvas.rectangle(x0 - 8, y1, x1 + 8, y1 + 5, (158, 156, 150))


def _shop(canvas: Canvas) -> None:
    x0, y0, x1, y1 = _wall(-5.9, 0.1, 0.0, 3.35)
    canvas.rectangle(x0, y0, x1, y1, (46, 74, 66))
    canvas.rectangle(x0, y0, x1, y0 + 28, (34, 56, 50))
    canvas.text(((x0 + x1) / 2, y0 + 22), "BAKERY", 27, (250, 236, 196), weight=800, centred=True)
    for left, right in ((-4.8, -3.65), (-2.05, -0.1)):
        wx0, wy0, wx1, wy1 = _wall(left, right, 0.55, 2.35)
        canvas.rectangle(wx0, wy0, wx1, wy1, (92, 106, 112))
        canvas.polygon([(wx0, wy0), (wx0 + 30, wy0), (wx0, wy0 + 52)], (118, 134, 142))
        for loaf in np.arange(wx0 + 9, wx1 - 6, 15):
            canvas.ellipse((float(loaf), wy1 - 7), (6, 4), (196, 142, 78))
            canvas.ellipse((float(loaf) + 3, wy1 - 25), (5, 3.5), (214, 168, 104))
        canvas.rectangle(wx0, wy1 - 20, wx1, wy1 - 18, (128, 104, 76))
    dx0, dy0, dx1, dy1 = _wall(-3.45, -2.25, 0.05, 2.35)
    canvas.rectangle(dx0, dy0, dx1, dy1, (60, 96, 86))
    canvas.rectangle(dx0 + 6, dy0 + 6, dx1 - 6, dy1 - 24, (96, 112, 118))
    canvas.rectangle(dx0 + 9, dy0 + 22, dx1 - 9, dy0 + 37, (244, 240, 228))
    canvas.text(((dx0 + dx1) / 2, dy0 + 34), "OPEN", 12, (150, 36, 30), weight=800, centred=True)
    stripes = 12
    for stripe in range(stripes):
        left = x0 - 4 + (x1 - x0 + 8) * stripe / stripes
        right = x0 - 4 + (x1 - x0 + 8) * (stripe + 1) / stripes
        tone: Colour = (186, 62, 52) if stripe % 2 else (240, 234, 220)
        canvas.polygon([(left, y0 + 29), (right, y0 + 29), (right, y0 + 45), (left, y0 + 45)], tone)
        canvas.ellipse(((left + right) / 2, y0 + 45), ((right - left) / 2, 4), tone)


def _lantern(canvas: Canvas, x: float, z: float) -> None:
    px, py = VIEW.point(x, WALL - 0.3, z)
    canvas.line([(px, py + 10), (px, py - 12), (px - 1, py - 12)], (38, 40, 44), 3)
    canvas.polygon([(px - 7, py - 2), (px + 7, py - 2), (px + 5, py + 14), (px - 5, py + 14)], (226, 216, 180))
    canvas.polygon([(px - 9, py - 2), (px + 9, py - 2), (px, py - 10)], (38, 40, 44))


def _ground(canvas: Canvas, chance: np.random.Generator) -> None:
    def strip(near: float, far: float, colour: Colour, z: float = 0.0) -> None:
        top, bottom = VIEW.point(0, far, z)[1], VIEW.point(0, near, z)[1]
        canvas.rectangle(-4, top, WIDTH + 4, bottom, colour)

    strip(FAR_KERB, WALL, (176, 172, 164))
    strip(NEAR_KERB, FAR_KERB, (92, 94, 98))
    strip(5.0, NEAR_KERB, (182, 178, 170))
    for far, near in ((WALL, FAR_KERB), (NEAR_KERB, 6.0)):
        for x in np.arange(-14.0, 14.1, 1.0):
            canvas.line([VIEW.point(float(x), near), VIEW.point(float(x), far)], (152, 148, 140), 1.0)
        for y in np.arange(near, far, 1.0):
            _, row = VIEW.point(0, float(y))
            canvas.line([(0, row), (WIDTH, row)], (154, 150, 142), 1.0)
    for kerb in (FAR_KERB, NEAR_KERB):
        _, row = VIEW.point(0, kerb)
        canvas.rectangle(-4, row - 2, WIDTH + 4, row + 4, (206, 202, 194))
        canvas.rectangle(-4, row + 4, WIDTH + 4, row + 7, (66, 66, 70))
    for x in np.arange(-15.0, 15.0, 3.2):
        dash = [
            VIEW.point(float(x), 13.55),
            VIEW.point(float(x) + 1.7, 13.55),
            VIEW.point(float(x) + 1.7, 13.75),
            VIEW.point(float(x), 13.75),
        ]
        canvas.polygon(dash, (214, 212, 204))
    cover = [
        VIEW.point(3.4 + 0.5 * a, 12.2 + 0.34 * b)
        for a, b in ((-1, 0), (-0.6, 1), (0.6, 1), (1, 0), (0.6, -1), (-0.6, -1))
    ]
    canvas.polygon(cover, (74, 75, 78))
    _roughen(canvas.pixels, chance, round(VIEW.point(0, WALL)[1] * canvas.scale))


def _roughen(pixels: Pixels, chance: np.random.Generator, top: int) -> None:
    """Grain of asphalt and stone below row `top`."""
    ground = pixels[top:]
    grain = chance.normal(0.0, 4.0, ground.shape[:2])[:, :, None]
    ground[:] = np.clip(ground + grain, 0, 255).astype(np.uint8)


def _planters(canvas: Canvas, chance: np.random.Generator) -> None:
    for x in (-6.6, 6.9):
        px, py = VIEW.point(x, WALL - 0.45, 0.0)
        canvas.shadow([(px - 22, py - 5), (px + 34, py - 5), (px + 34, py + 5), (px - 22, py + 5)], 0.4, 4)
        canvas.polygon([(px - 17, py - 24), (px + 17, py - 24), (px + 13, py), (px - 13, py)], (126, 84, 62))
        canvas.rectangle(px - 19, py - 28, px + 19, py - 22, (144, 98, 74))
        for _ in range(70):
            u, v = float(chance.normal(0, 11)), float(abs(chance.normal(0, 15)))
            tone = mix((48, 92, 48), (110, 150, 78), float(chance.random()))
            canvas.ellipse((px + u, py - 29 - v), (4.5, 3.5), tone)
