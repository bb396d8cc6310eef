"""Puts a lesson together: paints pictures and asks the teacher about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from models.nano.training.augment import Painter
from models.nano.training.labels import Chooser, Labels
from models.nano.training.loop import Recipe
from models.nano.training.loss import Lesson
from models.nano.training.pictures import Example
from models.nano.training.staged import KNOWN
from models.nano.training.targets import correct
from models.nano.training.teachers import BoxTeacher


class Classroom:
    """`classroom(number)` is the lesson of that number, whatever was asked before; from any thread."""

    def __init__(self, examples: Sequence[Example], labels: Labels, teacher: BoxTeacher, recipe: Recipe) -> None:
        tiles = [i for i, example in enumerate(examples) if example.origin == "tile"]
        self._painter = Painter([e.pixels for e in examples], Chooser(examples, labels), tiles)
        self._teacher, self._recipe = teacher, recipe

    def __call__(self, number: int) -> Lesson:
        recipe = self._recipe
        side = recipe.side(number // recipe.workers)
        first = (recipe.seed << 40) + number * recipe.share
        staged = recipe.staged if recipe.lead(number // recipe.workers) == 0 else 0.0
        made = [self._painter.paint(side, first + i, staged) for i in range(recipe.share)]
        pictures = np.stack([each.pixels for each in made])
        maps, borders = self._teacher.think(pictures)
        for index, each in enumerate(made):
            if each.truth is not None:
                correct([level[index] for level in maps], each.truth, KNOWN)
        return Lesson(
            pictures=torch.from_numpy(pictures).permute(0, 3, 1, 2).float(),
            maps=tuple(torch.from_numpy(level) for level in maps),
            borders={name: torch.from_numpy(map_) for name, map_ in borders.items()},
            believed=torch.tensor([float(each.truth is None) for each in made]),
        )
