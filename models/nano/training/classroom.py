"""Puts a lesson together: paints a batch and asks the teachers about it.

The next lesson is prepared while the student learns from this one, on its own thread: two threads that never wait for
each other keep two busy cores better than one computation split over both.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from models.nano.training.augment import Painter
from models.nano.training.labels import Chooser, Labels
from models.nano.training.loop import Recipe
from models.nano.training.loss import Lesson
from models.nano.training.pictures import Example
from models.nano.training.teachers import BoxTeacher


class Classroom:
    """`classroom(step)` is the lesson of that step, whatever was asked before."""

    def __init__(self, examples: Sequence[Example], labels: Labels, teacher: BoxTeacher, recipe: Recipe) -> None:
        tiles = [i for i, example in enumerate(examples) if example.origin == "tile"]
        self._painter = Painter([e.pixels for e in examples], Chooser(examples, labels), tiles)
        self._labels, self._teacher, self._recipe = labels, teacher, recipe
        self._ahead = ThreadPoolExecutor(1)
        self._pending: tuple[int, Future[Lesson]] | None = None

    def __call__(self, step: int) -> Lesson:
        pending = self._pending
        self._pending = None
        lesson = pending[1].result() if pending and pending[0] == step else self.prepare(step)
        if step + 1 < self._recipe.steps:
            self._pending = (step + 1, self._ahead.submit(self.prepare, step + 1))
        return lesson

    def prepare(self, step: int) -> Lesson:
        recipe = self._recipe
        side = recipe.side(step)
        first = (recipe.seed << 40) + step * recipe.batch
        made = [self._painter.paint(side, first + i) for i in range(recipe.batch)]
        pictures = np.stack([each.pixels for each in made])
        maps, necks = self._teacher.look(pictures)
        sources = np.array([each.source for each in made])
        known = (sources >= 0) & bool(self._labels.gist.any())
        return Lesson(
            pictures=torch.from_numpy(pictures).permute(0, 3, 1, 2).float(),
            maps=tuple(torch.from_numpy(level) for level in maps),
            necks=tuple(torch.from_numpy(level) for level in necks),
            gist=torch.from_numpy(self._labels.gist[np.maximum(sources, 0)]),
            known=torch.from_numpy(known.astype(np.float32)),
        )
