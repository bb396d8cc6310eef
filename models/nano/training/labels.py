"""What the box teacher says about every source picture once, before training: is anything in it?

Kept in the run's folder, so a resumed run does not ask again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.nano.boxes import decode, letterbox
from models.nano.training.pictures import Example
from models.nano.training.teachers import BoxTeacher

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]

SHEET = 3
"""Tiles are shown to the box teacher this many by this many: alone they would be blurs the size of a picture."""
SHARES = {"picture": 0.66, "clip": 0.09, "tile": 0.25}
"""How often a training picture is drawn from each origin."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """`content` float32 [N]: the box teacher's highest score in each picture."""

    content: Floats


def prepare(examples: Sequence[Example], boxes: BoxTeacher) -> Labels:
    """Ask the teacher once about every picture, before training."""
    content = np.zeros(len(examples), np.float32)
    tiles = [i for i, example in enumerate(examples) if example.origin == "tile"]
    for index, example in enumerate(examples):
        if example.origin != "tile":
            maps = boxes.look(letterbox(example.pixels, 320, square=True)[0][None])
            content[index] = _best([level[0] for level in maps])
    for start in range(0, len(tiles), SHEET * SHEET):
        part = tiles[start : start + SHEET * SHEET]
        content[part] = _sheet_content([examples[i] for i in part], boxes)
    log.info("the box teacher has seen %d pictures; something in %d", len(examples), int((content > 0.3).sum()))
    return Labels(content)


def _best(maps: Sequence[Floats]) -> float:
    return float(max(decode(maps, 0.05, probabilities=True).scores, default=0.0))


def _sheet_content(examples: Sequence[Example], boxes: BoxTeacher) -> Floats:
    import cv2

    side = 416 // SHEET
    canvas = np.full((416, 416, 3), 114, np.uint8)
    for place, example in enumerate(examples):
        row, column = divmod(place, SHEET)
        cell = cv2.resize(example.pixels, (side, side), interpolation=cv2.INTER_CUBIC)
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = cell
    maps = boxes.look(canvas[None])
    found = decode([level[0] for level in maps], 0.05, probabilities=True)
    best = np.zeros(len(examples), np.float32)
    for corners, score in zip(found.corners, found.scores, strict=True):
        column, row = (int(v // side) for v in (corners[:2] + corners[2:]) / 2)
        place = row * SHEET + column
        if 0 <= column < SHEET and row >= 0 and place < len(best):
            best[place] = max(best[place], score)
    return best


def save(labels: Labels, path: Path) -> None:
    np.savez(path, content=labels.content)


def load(path: Path, count: int) -> Labels | None:
    """The labels of an earlier start, or None when there are none or they are of other pictures."""
    if not path.exists():
        return None
    with np.load(path) as stored:
        labels = Labels(stored["content"])
    return labels if len(labels.content) == count else None


class Chooser:
    """Draws a source picture: origins by `SHARES`, and mostly pictures with something in them."""

    def __init__(self, examples: Sequence[Example], labels: Labels, with_content: float = 0.8) -> None:
        self._with_content = with_content
        self._pools: list[tuple[float, list[int], list[int]]] = []
        for origin, share in SHARES.items():
            mine = [i for i, example in enumerate(examples) if example.origin == origin]
            if mine:
                full = [i for i in mine if labels.content[i] > 0.3]
                rest = [i for i in mine if labels.content[i] <= 0.3]
                self._pools.append((share, full or rest, rest or full))

    def __call__(self, dice: random.Random) -> int:
        pool = dice.choices(self._pools, weights=[share for share, _, _ in self._pools])[0]
        chosen = pool[1] if dice.random() < self._with_content else pool[2]
        return chosen[dice.randrange(len(chosen))]
