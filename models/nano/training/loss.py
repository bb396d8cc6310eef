"""Dense distillation: in every cell the student should say what the teacher says there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.nano.model import STRIDES


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the loss counts."""

    objectness: float = 2.0
    category: float = 1.0
    iou: float = 3.0
    regression: float = 0.5
    border: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Pictures and what the teacher says about them.

    pictures float [B, 3, H, W] 0..255; maps per level and borders as `BoxTeacher.think` gives them; `believed`
    [B] is 1 where the borders are to be believed, and 0 where the maps are truer than the teacher.
    """

    pictures: Tensor
    maps: tuple[Tensor, ...]
    borders: dict[str, Tensor]
    believed: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """All cells of all levels in a row: corners [B, N, 4], raw [B, N, 4], objectness [B, N], categories [B, N, C]."""

    corners: Tensor
    raw: Tensor
    objectness: Tensor
    categories: Tensor


def flatten(maps: Sequence[Tensor]) -> Flat:
    corners, rows = [], []
    for level, stride in zip(maps, STRIDES, strict=True):
        height, width = level.shape[2:]
        cells = level.flatten(2).transpose(1, 2)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack((x, y), -1).reshape(-1, 2).to(cells)
        centre = (cells[..., :2] + grid) * stride
        half = cells[..., 2:4].clamp(-6, 6).exp() * (stride / 2)
        corners.append(torch.cat((centre - half, centre + half), -1))
        rows.append(cells)
    cells = torch.cat(rows, 1)
    return Flat(torch.cat(corners, 1), cells[..., :4], cells[..., 4], cells[..., 5:])


def distance_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union less the squared distance of the centres over the hull's diagonal (Zheng et al. 2020)."""
    shared = (torch.min(one[..., 2:], other[..., 2:]) - torch.max(one[..., :2], other[..., :2])).clamp(min=0).prod(-1)
    area = (one[..., 2:] - one[..., :2]).prod(-1) + (other[..., 2:] - other[..., :2]).prod(-1)
    hull = torch.max(one[..., 2:], other[..., 2:]) - torch.min(one[..., :2], other[..., :2])
    centres = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    return shared / (area - shared + 1e-6) - centres.square().sum(-1) / (hull.square().sum(-1) + 1e-6)


def _excess(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy less the target's own entropy: zero when the student agrees."""
    p = target.clamp(1e-6, 1 - 1e-6)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none") - entropy


def box_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], weights: Weights) -> Tensor:
    """The student's logits against the teacher's probabilities.

    Background cells outnumber the rest by hundreds to one, so objectness is weighted by how wrong it is (as in the
    quality focal loss, Li et al. 2020); category and box count where the teacher sees something.
    """
    ours, theirs = flatten(student), flatten(teacher)
    total = theirs.objectness.sum() + 1.0
    wrong = (ours.objectness.sigmoid() - theirs.objectness).abs().detach()
    objectness = (_excess(ours.objectness, theirs.objectness) * wrong).sum()
    seen = theirs.objectness > 0.02
    category = (_excess(ours.categories[seen], theirs.categories[seen]).sum(-1) * theirs.objectness[seen]).sum()
    sure = theirs.objectness > 0.05
    share = theirs.objectness[sure]
    iou = ((1 - distance_iou(ours.corners[sure], theirs.corners[sure])) * share).sum()
    regression = ((ours.raw[sure] - theirs.raw[sure]).abs().mean(-1) * share).sum()
    weighted = weights.objectness * objectness + weights.category * category
    return (weighted + weights.iou * iou + weights.regression * regression) / total
