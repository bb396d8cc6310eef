"""How closely to look at something small that may be a person, on photographs that nano has never learned from:

    python -m benchmarks.closely SHARED [--long 24]

A photograph with someone in it (as the box teacher is sure) is shrunk until that person is so many pixels long, and
laid over a photograph with nobody in it, 320 x 180 altogether. Nano looks at the whole, at parts of so many times the
person's length around them, and at parts all over the picture, as the product does until it knows of somebody.
Beside it: the same with photographs of nobody, where every person found is made up.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.records import Box, Pixels
from models.embedded.closer import PARTS, crop
from models.nano.boxes import Boxes, Floats
from models.nano.coco import NAMES
from models.nano.detector import Nano
from models.nano.training.measure import SIDE, teacher_truth
from models.nano.training.pictures import Example, read
from models.nano.training.teachers import BoxTeacher

WIDTH, HEIGHT = 320, 180
LOOKS = (0.0, 6.0, 4.0, 3.0, 2.0, 1.5)
"""Parts as multiples of the person's length; 0 is the whole picture."""
TWO_OF_A_PHOTOGRAPH = 2
HALVES = tuple(Box(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.25, 0.5) for x in (0.0, 0.25, 0.5))
"""What the product looked at before."""
SAME = 0.4
"""Intersection over union from which a box is that of the person: they are a few pixels large."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture with one small photograph in it; `corners` float32 [4] in pixels are those of who or what is there."""

    pixels: Pixels
    corners: Floats


def people(boxes: Boxes, example: Example) -> Floats:
    scale = SIDE / max(example.pixels.shape[:2])
    return np.asarray(boxes.corners[boxes.categories == NAMES.index("person")] / scale, np.float32)


def laid(example: Example, corners: Floats, behind: Pixels, long: int, dice: random.Random) -> Scene | None:
    """The photograph over another one, the box in it `long` pixels long; None where that makes it larger."""
    import cv2

    scale = long / float((corners[2:] - corners[:2]).max())
    height, width = (round(side * scale) for side in example.pixels.shape[:2])
    if scale > 1 or not (8 <= height <= HEIGHT and 8 <= width <= WIDTH):
        return None
    pixels = np.asarray(cv2.resize(behind, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    top, left = dice.randint(0, HEIGHT - height), dice.randint(0, WIDTH - width)
    small = cv2.resize(example.pixels, (width, height), interpolation=cv2.INTER_AREA)
    pixels[top : top + height, left : left + width] = small
    return Scene(pixels, corners * np.float32(scale) + np.array([left, top, left, top], np.float32))


def part(scene: Scene, times: float) -> Box:
    """The part to look at around who is there, of the picture's shape, as the product cuts it; 0 is the whole."""
    if not times:
        return Box(0.0, 0.0, 1.0, 1.0)
    long = max((scene.corners[2] - scene.corners[0]) / WIDTH, (scene.corners[3] - scene.corners[1]) / HEIGHT)
    share = min(1.0, times * float(long))
    x, y = (scene.corners[:2] + scene.corners[2:]) / 2 / (WIDTH, HEIGHT)
    left, top = (min(max(float(side) - share / 2, 0.0), 1.0 - share) for side in (x, y))
    return Box(left, top, left + share, top + share)


def surest(nano: Nano, scene: Scene, where: Box, *, anywhere: bool) -> float:
    """The highest probability of a person in the scene's box, or of one that touches it, seen in a part."""
    [sight] = nano.see([crop(scene.pixels, where)], floor=0.05)
    sides = np.array([WIDTH, HEIGHT] * 2)
    size, origin = sides * (where.right - where.left), sides * np.array([where.left, where.top] * 2)
    found = [(one.score, corners_of(one.box) * size + origin) for one in sight.detections if one.label == "person"]
    return max((score for score, box in found if shared(box, scene.corners) > (0.0 if anywhere else SAME)), default=0.0)


def corners_of(box: Box) -> NDArray[np.floating]:
    return np.array([box.left, box.top, box.right, box.bottom])


def shared(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Intersection over union."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)
    areas = [float((each[2:] - each[:2]).prod()) for each in (a, b)]
    return float(sides.prod()) / (sum(areas) - float(sides.prod()))


def scenes(
    held: Sequence[Example], truth: Sequence[Boxes], doubt: Sequence[Boxes], long: int
) -> tuple[list[Scene], list[Scene]]:
    """With someone in them, and with nobody. `doubt` is what the teacher thinks at all possible."""
    dice = random.Random(0)
    empty = [one for one, boxes in zip(held, doubt, strict=True) if not len(people(boxes, one))]
    someone: list[Scene | None] = []
    nobody: list[Scene | None] = []
    for one, boxes in zip(held, truth, strict=True):
        few = people(boxes, one)[:TWO_OF_A_PHOTOGRAPH]
        someone += [laid(one, corners, dice.choice(empty).pixels, long, dice) for corners in few]
    for one in empty:
        height, width = one.pixels.shape[:2]
        middle = np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height], np.float32)
        nobody.append(laid(one, middle, dice.choice(empty).pixels, long, dice))
    return [one for one in someone if one is not None], [one for one in nobody if one is not None]


def row(name: str, found: Sequence[float], wrong: Sequence[float]) -> None:
    a, b = np.array(found), np.array(wrong)
    shares = [
        f"{(a >= 0.5).mean():.2f}",
        f"{(a >= 0.3).mean():.2f}",
        f"{(b >= 0.5).mean():.2f}",
        f"{(b >= 0.3).mean():.2f}",
    ]
    print(f"| {name} | {' | '.join(shares)} |", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("shared", type=Path, help="folder with images/ and real-models/")
    arguments.add_argument("--long", type=int, default=24, help="how long the people are, in pixels of 320 x 180")
    given = arguments.parse_args()
    held = [one for one in read([given.shared / "images"], ()) if one.held and one.origin == "picture"]
    teacher, nano = BoxTeacher(given.shared / "real-models" / "yolox_nano.onnx"), Nano.load()
    pictures = [one.pixels for one in held]
    truth, doubt = teacher_truth(teacher, pictures), teacher_truth(teacher, pictures, 0.1)
    someone, nobody = scenes(held, truth, doubt, given.long)
    print(f"{nano.id}: {len(someone)} people of {given.long} pixels, and {len(nobody)} photographs of nobody\n")
    print("| looked at | found at 0.5 | at 0.3 | nobody there, claimed at 0.5 | at 0.3 |\n|---|---|---|---|---|")
    for times in LOOKS:
        around = [
            [surest(nano, each, part(each, times), anywhere=anywhere) for each in some]
            for some, anywhere in ((someone, False), (nobody, True))
        ]
        row(f"{times:g} times its length" if times else "the whole", *around)
    for name, parts in (("everywhere: nine halves", HALVES), ("everywhere: quarters, and nine of 0.375", PARTS)):
        best = [
            [max(surest(nano, each, where, anywhere=anywhere) for where in parts) for each in some]
            for some, anywhere in ((someone, False), (nobody, True))
        ]
        row(name, *best)


if __name__ == "__main__":
    main()
