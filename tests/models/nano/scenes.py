"""Pictures of coloured rectangles whose boxes are known."""

from __future__ import annotations

import numpy as np
import torch

from ingest.records import Pixels
from models.nano.boxes import Boxes
from models.nano.training.loss import Lesson
from models.nano.training.targets import maps_of

COLOURS = {0: (230, 40, 40), 2: (40, 60, 230), 16: (30, 200, 60)}
"""The category a rectangle of each colour stands for."""


def scene(seed: int, side: int = 96) -> tuple[Pixels, Boxes]:
    """One rectangle of each colour, none covering another's centre, on a noisy ground."""
    dice = np.random.default_rng(seed)
    picture = dice.integers(90, 140, (side, side, 3)).astype(np.uint8)
    corners = []
    for place, colour in zip(dice.permutation(4), COLOURS.values(), strict=False):
        size = dice.integers(side // 5, side // 3, 2)
        left, top = (place % 2) * side // 2 + 4, (place // 2) * side // 2 + 4
        corners.append((left, top, left + size[0], top + size[1]))
        picture[top : top + size[1], left : left + size[0]] = colour
    categories = np.array(list(COLOURS), np.int64)
    return picture, Boxes(np.array(corners, np.float32), np.ones(3, np.float32), categories)


def lesson(seeds: list[int], side: int = 96) -> Lesson:
    """A batch of scenes with their perfect labels, and nobody's maps to start from."""
    made = [scene(seed, side) for seed in seeds]
    pictures = torch.from_numpy(np.stack([picture for picture, _ in made]))
    maps = [maps_of(boxes, side, side) for _, boxes in made]
    return Lesson(
        pictures=pictures.permute(0, 3, 1, 2).float(),
        maps=tuple(torch.from_numpy(np.stack([each[level] for each in maps])) for level in range(3)),
        borders={},
        believed=torch.ones(len(made)),
    )
