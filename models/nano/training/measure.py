"""How well boxes agree with a teacher's confident boxes: average precision at an overlap of one half."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ingest.records import Pixels
from models.nano.boxes import Boxes, decode, letterbox, overlap, suppress
from models.nano.coco import group
from models.nano.model import Student
from models.nano.training.teachers import BoxTeacher

SIDE = 416
CONFIDENT = 0.35
"""A teacher's box above this score counts as true."""
FREQUENT = 10
"""Categories with at least this many true boxes enter the mean."""

Mask = Callable[[Boxes], NDArray[np.bool_]]


def average_precision(found: Sequence[Boxes], truth: Sequence[Boxes]) -> float:
    """Area under the interpolated precision-recall curve (as VOC since 2010), categories ignored; NaN without truth."""
    total = sum(len(each) for each in truth)
    if not total:
        return float("nan")
    used = [np.zeros(len(each), bool) for each in truth]
    ranked = sorted(
        (
            (score, image, box)
            for image, each in enumerate(found)
            for score, box in zip(each.scores, each.corners, strict=True)
        ),
        key=lambda entry: -entry[0],
    )
    hits = np.zeros(len(ranked))
    for rank, (_, image, box) in enumerate(ranked):
        if not len(truth[image]):
            continue
        iou = overlap(box[None], truth[image].corners)[0]
        iou[used[image]] = 0.0
        best = int(iou.argmax())
        if iou[best] >= 0.5:
            used[image][best] = True
            hits[rank] = 1.0
    caught = hits.cumsum()
    precision = caught / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(np.concatenate(([0.0], caught / total))) * envelope).sum())


def of(mask: Mask, boxes: Sequence[Boxes]) -> list[Boxes]:
    """The boxes of every picture for which the mask holds."""
    return [each.where(mask(each)) for each in boxes]


def table(found: Sequence[Boxes], truth: Sequence[Boxes]) -> dict[str, float]:
    """Average precision of persons, of groups, of any category, and the mean over frequent categories."""
    categories = np.concatenate([each.categories for each in truth]) if truth else np.zeros(0, np.int64)
    counts = np.bincount(categories, minlength=80)

    def score(mask: Mask) -> float:
        return average_precision(of(mask, found), of(mask, truth))

    def is_group(name: str) -> Mask:
        return lambda boxes: np.array([group(int(c)) == name for c in boxes.categories], bool)

    each = {c: score(lambda boxes, c=c: boxes.categories == c) for c in np.flatnonzero(counts >= FREQUENT)}  # type: ignore[misc]  # bound default
    result = {name: score(is_group(name)) for name in ("person", "vehicle", "animal", "object")}
    result["any"] = score(lambda boxes: np.ones(len(boxes), bool))
    result["mean"] = float(np.mean(list(each.values()))) if each else float("nan")
    return result


def teacher_truth(teacher: BoxTeacher, pictures: Sequence[Pixels], floor: float = CONFIDENT) -> list[Boxes]:
    """The teacher's boxes above `floor`, in pixels of the picture at `SIDE`."""
    result = []
    for pixels in pictures:
        maps = teacher.look(letterbox(pixels, SIDE, square=True)[0][None])
        result.append(suppress(decode([level[0] for level in maps], floor, probabilities=True)))
    return result


@torch.inference_mode()
def student_boxes(student: Student, pictures: Sequence[Pixels], floor: float = 0.02) -> list[Boxes]:
    """The student's boxes, in the same pixels as `teacher_truth`."""
    result = []
    for pixels in pictures:
        canvas = letterbox(pixels, SIDE)[0]
        batch = torch.from_numpy(canvas).permute(2, 0, 1)[None].float().contiguous(memory_format=torch.channels_last)
        seen = student(batch)
        result.append(suppress(decode([level[0].numpy() for level in seen.maps], floor)))
    return result


def agreement(student: Student, pictures: Sequence[Pixels], truth: Sequence[Boxes]) -> dict[str, float]:
    """`table` of the student on held-out pictures."""
    student.eval()
    return table(student_boxes(student, pictures), truth)
