"""Train nano from random weights: `python -m models.nano.train --help`.

    python -m models.nano.train --pictures FOLDER --teachers FOLDER --run FOLDER --minutes 60

The same command again goes on where it stopped. Pictures may be folders, tar archives and videos, one's own as well.
`weights.safetensors` in the run's folder is the result. Without captions the box teacher describes the pictures, and
without a sentence teacher the words are those of the weights that ship.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ingest.clock import SystemClock
from ingest.errors import Invalid, NotFound
from models.nano.boxes import NONE, Boxes
from models.nano.coco import NAMES
from models.nano.detector import WEIGHTS, Nano
from models.nano.text import TextTower
from models.nano.training import export, sentences
from models.nano.training import labels as labelling
from models.nano.training.classroom import Classroom
from models.nano.training.labels import Labels
from models.nano.training.loop import Recipe, Trainer
from models.nano.training.measure import agreement, teacher_truth
from models.nano.training.pictures import Example, read
from models.nano.training.sentences import Sayings
from models.nano.training.space import SpaceRecipe
from models.nano.training.teachers import BoxTeacher, SentenceTeacher

log = logging.getLogger("nano")

BOX_TEACHER = "yolox_nano.onnx"
LATEST, STABLE = "latest.safetensors", "stable.safetensors"
TESTS_ONLY = ("dog-fetch", "bedroom", "cooking-eggs", "car-detection")
"""Clips that are not learned from: three whose terms allow tests alone, and cars from straight above, which the teacher
does not see and would teach wrongly."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    pictures: tuple[Path, ...]
    teachers: Path
    run: Path
    sayings: Sayings
    sentence_teacher: Path | None = None
    exclude: tuple[str, ...] = TESTS_ONLY
    minutes: float = float("inf")
    every_minutes: float = 2.0
    measure_minutes: float = 10.0
    threads: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All pictures, those that are only measured on, and where the teacher is confident of a box in those."""

    everything: list[Example]
    held: list[Example]
    truth: list[Boxes]


def _arguments() -> tuple[Order, Recipe]:
    parser = argparse.ArgumentParser(prog="python -m models.nano.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--pictures", type=Path, action="append", required=True, help="folder, tar or video to learn from; repeatable")
    add("--teachers", type=Path, required=True, help=f"folder with {BOX_TEACHER}")
    add("--run", type=Path, required=True, help="folder for checkpoints and labels; resumed when it holds any")
    add("--exclude", action="append", default=[], help="pass over files whose path contains this; repeatable")
    add("--captions", type=Path, help='JSON {file name: ["what it shows", ...]}')
    add("--classes", type=Path, help='JSON {folder name: "name, other name"}')
    add("--sentences", type=Path, action="append", default=[], help="text file, a sentence a line; repeatable")
    add("--sentence-teacher", type=Path, help="folder of a sentence encoder for transformers")
    add("--minutes", type=float, default=float("inf"), help="stop after this long (the same command resumes)")
    add("--images", type=int, default=Recipe().images, help="training pictures in the whole run, cooling down included")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1, help="for the student; one more prepares lessons")
    add("--bfloat16", action="store_true", help="try it: some processors train faster with it, others slower")
    given = parser.parse_args()
    order = Order(
        pictures=tuple(given.pictures), teachers=given.teachers, run=given.run, minutes=given.minutes,
        exclude=(*TESTS_ONLY, *given.exclude), threads=given.threads, sentence_teacher=given.sentence_teacher,
        sayings=sentences.read(given.captions, given.classes, given.sentences),
    )  # fmt: skip
    return order, replace(Recipe(), images=given.images, seed=given.seed, bfloat16=given.bfloat16)


def run(order: Order, recipe: Recipe) -> None:
    """Train until the run is complete or the minutes are over, then write what ships."""
    torch.set_num_threads(order.threads)
    if not (order.teachers / BOX_TEACHER).exists():
        raise NotFound(f"there is no {BOX_TEACHER} in {order.teachers}", advice="Give its folder with --teachers.")
    order.run.mkdir(parents=True, exist_ok=True)
    everything = list(read(order.pictures, order.exclude))
    examples = [example for example in everything if not example.held]
    if not examples:
        raise Invalid("there is nothing to learn from", advice="Give --pictures a folder with pictures in it.")
    teacher = BoxTeacher(order.teachers / BOX_TEACHER, order.threads)
    held = [example for example in everything if example.held and example.origin == "picture"]
    material = Material(everything, held, teacher_truth(teacher, [example.pixels for example in held]))
    trainer = Trainer(recipe, Classroom(examples, _labels(order, examples, teacher), teacher, recipe))
    _resume(trainer, order.run)
    _train(trainer, order, material)
    trainer.save(order.run / LATEST)
    _note(order.run, trainer, material)
    _finish(order, trainer, material, teacher)


def _labels(order: Order, examples: list[Example], teacher: BoxTeacher) -> Labels:
    stored = order.run / "labels.npz"
    known = labelling.load(stored, len(examples))
    if known is not None:
        return known
    made = labelling.prepare(examples, teacher)
    labelling.save(made, stored)
    return made


def _resume(trainer: Trainer, folder: Path) -> None:
    """From the latest checkpoint; from the stable one when that one cooled down towards an earlier, nearer end."""
    latest, stable = folder / LATEST, folder / STABLE
    if not latest.exists():
        return
    trainer.load(latest)
    if trainer.cooled and not trainer.recipe.cooling(trainer.step) and stable.exists():
        trainer.load(stable)
    log.info("going on at step %d of %d", trainer.step, trainer.recipe.steps)


def _train(trainer: Trainer, order: Order, material: Material) -> None:
    clock, recipe = SystemClock(), trainer.recipe
    started = saved = measured = clock.monotonic()
    first, sums = trainer.step, dict[str, float]()
    while trainer.step < recipe.steps and clock.monotonic() - started < order.minutes * 60:
        if recipe.cooling(trainer.step) and not trainer.cooled:
            trainer.save(order.run / STABLE)
        for name, part in trainer.advance().items():
            sums[name] = sums.get(name, part) * 0.99 + part * 0.01
        now = clock.monotonic()
        if now - saved > order.every_minutes * 60:
            saved = now
            trainer.save(order.run / LATEST)
            pace = (trainer.step - first) * recipe.batch / (now - started)
            rounded = {name: round(value, 3) for name, value in sums.items()}
            log.info("step %d, %.1f pictures/s, losses %s", trainer.step, pace, rounded)
        if now - measured > order.measure_minutes * 60:
            measured = now
            _note(order.run, trainer, material)


def _note(folder: Path, trainer: Trainer, material: Material) -> None:
    measured = agreement(trainer.average, [example.pixels for example in material.held], material.truth)
    line = {"images": trainer.step * trainer.recipe.batch} | {k: round(v, 4) for k, v in measured.items()}
    log.info("%s", line)
    with (folder / "measured.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _finish(order: Order, trainer: Trainer, material: Material, teacher: BoxTeacher) -> None:
    """Fit the text space and the calibrations to the averaged student, and write everything as one file."""
    space = SpaceRecipe(seed=trainer.recipe.seed)
    tower = _tower(order, space)
    sayings = order.sayings if order.sayings.captions else _described(order.sayings, material, teacher)
    paired = export.pair(trainer.average, material.everything, sayings)
    picture = export.map_of(tower, paired, space)
    fresh = paired.held & paired.captioned
    finished = export.Finished(
        student=trainer.average, tower=tower, picture=picture, images=trainer.step * trainer.recipe.batch,
        boxes=export.box_calibration(trainer.average, [e.pixels for e in material.held], material.truth),
        judgement=export.judgement_of(tower, picture, paired.part(fresh if fresh.any() else paired.captioned)),
    )  # fmt: skip
    export.write(finished, order.run / WEIGHTS)


def _described(sayings: Sayings, material: Material, teacher: BoxTeacher) -> Sayings:
    """For pictures nobody has described: the names of what the box teacher is confident of."""
    captions: dict[str, tuple[str, ...]] = {}
    for example in material.everything:
        (boxes,) = teacher_truth(teacher, [example.pixels]) if example.origin == "picture" else (NONE,)
        if len(boxes):
            captions[example.name] = tuple(NAMES[category] for category in dict.fromkeys(boxes.categories.tolist()))
    return replace(sayings, captions=captions)


def _tower(order: Order, space: SpaceRecipe) -> TextTower:
    """The text tower, which does not depend on the student: fitted once a run, or the one that ships."""
    stored = order.run / "tower.npz"
    if stored.exists():
        with np.load(stored) as file:
            return TextTower([str(word) for word in file["words"]], file["table"])
    if order.sentence_teacher is None:
        return Nano.load().text
    tower = export.tower_of(order.sayings, SentenceTeacher(order.sentence_teacher), space)
    np.savez(stored, words=np.array(tower.words), table=tower.table)
    return tower


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run(*_arguments())


if __name__ == "__main__":
    main()
