"""Where student and teacher meet inside: every stage of the student ends at a map the teacher has as well.

At first each stage is given the teacher's map to start from and learns the teacher's next one (teacher forcing,
Williams and Zipser 1989, with hints, Romero et al. 2015): a dozen shallow problems in which every cell is an example,
in place of one deep problem in which few are. Later more and more stages start from what the stage before them made,
until the network stands on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nano.model import Student
from models.nano.training.loss import Lesson

_IN_HEADS = {
    "stem": ("1028", "1070", "1112"),
    "category_tower": ("1044", "1086", "1128"),
    "box_tower": ("1061", "1103", "1145"),
    "category": ("1045", "1087", "1129"),
    "box": ("1062", "1104", "1146"),
    "objectness": ("1063", "1105", "1147"),
}
BORDERS = {
    "stage4": "721", "stage8": "781", "stage16": "841", "stage32": "886", "narrow32": "890", "up16": "921",
    "narrow16": "925", "up8": "956", "down16": "964", "mix16": "990", "down32": "998", "mix32": "1024",
} | {f"heads.{level}.{part}": name for part, its in _IN_HEADS.items() for level, name in enumerate(its)}  # fmt: skip
"""The student's part to the tensor of the box teacher (`teachers.BoxTeacher`) that it learns to make."""
_LAST = ("category", "box", "objectness")
"""Parts nothing starts from."""
FLOOR = 0.05
"""No channel counts as varying less than this share of the mean of its map: rarely used ones would be all noise."""


Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


class Borders(nn.Module):
    """How much every channel of the teacher's maps varies, to measure all of them alike."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        for name, width in widths.items():
            self.register_buffer(_key(name), torch.zeros(width))

    @torch.no_grad()
    def follow(self, theirs: Mapping[str, Tensor], share: float = 0.01) -> None:
        """Take a batch of the teacher's maps into account."""
        for name, map_ in theirs.items():
            variance, known = map_.var((0, 2, 3)), self.get_buffer(_key(name))
            known.lerp_(variance, share if known.any() else 1.0)

    def loss(self, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], attention: Mapping[int, Tensor]) -> Tensor:
        """Summed over the borders: squared distance in units of the channel's variance, mostly where something is.

        `attention` [B, h, w], by height h, is how much every cell counts; elsewhere every cell of a picture counts as
        its mean does.
        """
        total = torch.zeros(())
        plain = next(iter(attention.values())).mean((1, 2), keepdim=True)
        for name, aim in theirs.items():
            map_, variance = ours[name], self.get_buffer(_key(name))
            scale = 1.0 / (variance + FLOOR * variance.mean() + 1e-6) / len(variance)
            wrong = (map_ - aim.to(map_.dtype)).square().permute(0, 2, 3, 1).float() @ scale
            weight = attention.get(map_.shape[2], plain)
            total = total + (wrong * weight).sum() / weight.expand_as(wrong).sum().clamp(min=1e-6)
        return total


def _key(name: str) -> str:
    return name.replace(".", "_")


def attention(lesson: Lesson) -> dict[int, Tensor]:
    """How much every cell counts, by height of its level: those with something in or beside them the most."""
    believed = lesson.believed[:, None, None]
    return {m.shape[2]: (0.3 + 4 * F.max_pool2d(m[:, 4:5], 3, 1, 1)[:, 0]) * believed for m in lesson.maps}


def widths_of(student: Student) -> dict[str, int]:
    """Channels at every border of this student."""
    with watched(student, {}, 0.0, torch.Generator()) as seen, torch.inference_mode():
        student(torch.zeros(2, 3, 64, 64))
    return {name: map_.shape[1] for name, map_ in seen.items()}


@contextmanager
def watched(
    student: Student, theirs: Mapping[str, Tensor], share: float, dice: torch.Generator
) -> Iterator[dict[str, Tensor]]:
    """While inside, a forward pass leaves its maps at the borders here, and goes on from the teacher's map in place of
    its own with a chance of `share` for every picture and border."""
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Hook:
        def note(_part: nn.Module, _given: tuple[Tensor, ...], made: Tensor) -> Tensor | None:
            seen[name] = made
            if share <= 0 or name.endswith(_LAST) or name not in theirs:
                return None
            lent = theirs[name].to(made.dtype)
            if share >= 1:
                return lent
            chosen = torch.rand(len(made), 1, 1, 1, generator=dice) < share
            return torch.where(chosen, lent, made)

        return note

    parts = dict(student.named_modules())
    handles = [parts[name].register_forward_hook(hook(name)) for name in BORDERS]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
