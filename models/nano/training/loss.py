"""Dense distillation: in every cell the student should say what the teacher says there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nano.model import STRIDES, Seen, Size
from models.nano.training.teachers import NECK_CHANNELS


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the loss counts."""

    objectness: float = 2.0
    category: float = 1.0
    iou: float = 3.0
    regression: float = 0.5
    hint: float = 1.0
    gist: float = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A batch and what the teachers say about it.

    pictures float [B, 3, H, W] 0..255; maps and necks per level as `BoxTeacher.look` gives them; gist float [B, dim];
    known float [B], 1 where the picture has a gist label.
    """

    pictures: Tensor
    maps: tuple[Tensor, ...]
    necks: tuple[Tensor, ...]
    gist: Tensor
    known: Tensor


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


class Hint(nn.Module):
    """Linear maps from our necks to the teacher's, thrown away after training (Romero et al. 2015, FitNets)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(channels, theirs, 1) for theirs in NECK_CHANNELS)
        self.norms = nn.ModuleList(nn.BatchNorm2d(theirs, affine=False) for theirs in NECK_CHANNELS)

    def forward(self, ours: Sequence[Tensor], theirs: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
        total = ours[0].new_zeros((), dtype=torch.float32)
        for to_theirs, norm, x, y, level in zip(self.maps, self.norms, ours, theirs, maps, strict=True):
            weight = 0.3 + 4 * F.max_pool2d(level[:, 4:5], 3, 1, 1)
            wrong = F.smooth_l1_loss(to_theirs(x).float(), norm(y).clamp(-4, 4), reduction="none").mean(1, keepdim=True)
            total = total + (wrong * weight).sum() / weight.sum()
        return total


class Gist(nn.Module):
    """From the pooled backbone maps to what the gist teacher says; thrown away after training like the hint."""

    def __init__(self, size: Size, dim: int) -> None:
        super().__init__()
        self._from = 2 * (size.widths[3] + size.widths[4])
        self.hidden = nn.Linear(self._from, 2 * dim)
        self.out = nn.Linear(2 * dim, dim)

    def forward(self, pooled: Tensor) -> Tensor:
        gist: Tensor = self.out(F.relu(self.hidden(pooled[:, : self._from])))
        return gist


def gist_loss(student: Tensor, teacher: Tensor, known: Tensor) -> Tensor:
    """Mean squared distance of the whitened gists where there is a label."""
    wrong = (student.float() - teacher).square().mean(1)
    return (wrong * known).sum() / known.sum().clamp(min=1.0)


def lesson_loss(seen: Seen, hint: Hint, gist: Gist, lesson: Lesson, weights: Weights) -> dict[str, Tensor]:
    """The parts of the loss, already weighted; their sum is what is minimised."""
    return {
        "boxes": box_loss([level.float() for level in seen.maps], lesson.maps, weights),
        "hint": weights.hint * hint(seen.necks, lesson.necks, lesson.maps),
        "gist": weights.gist * gist_loss(gist(seen.pooled), lesson.gist, lesson.known),
    }
