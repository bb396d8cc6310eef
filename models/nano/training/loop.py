"""The training loop: seeded by step, so that a resumed run is the run that was never interrupted.

The learning rate warms up, stays, and cools down over the last part. The state just before cooling down is kept as
`stable.safetensors`: a later run with more pictures goes on from there instead of from weights that have settled.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.nano.model import Size, Student
from models.nano.training.loss import Gist, Hint, Lesson, Weights, lesson_loss
from models.nano.training.muon import Muon

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out, apart from the pictures. Rates are per step, `decay` per unit of rate."""

    seed: int = 0
    batch: int = 16
    images: int = 300_000
    warm_up: int = 1_600
    cool_down: float = 0.3
    adam: float = 2e-3
    muon: float = 0.02
    decay: float = 0.03
    average: float = 0.998
    bfloat16: bool = False
    """Half the precision for convolutions: quicker on some processors, slower on others."""
    small_until: int = 20_000
    """Images seen before pictures grow from `small` to `large` sides."""
    small: tuple[int, ...] = (192, 224, 256)
    large: tuple[int, ...] = (224, 256, 320, 384)
    size: Size = field(default_factory=Size)
    gist: int = 256
    weights: Weights = field(default_factory=Weights)

    def side(self, step: int) -> int:
        """Pixels along each side of this step's pictures."""
        sides = self.small if step * self.batch < self.small_until else self.large
        return random.Random(self.seed * 7919 + step).choice(sides)

    def rate(self, step: int) -> float:
        """The learning rate's factor: up in `warm_up` images, then flat, then down to 2 % over `cool_down`."""
        seen = step * self.batch
        left = (self.images - seen) / max(1.0, self.images * self.cool_down)
        return min(1.0, (seen + self.batch) / self.warm_up) * min(1.0, max(0.02, left))

    @property
    def steps(self) -> int:
        return -(-self.images // self.batch)

    def cooling(self, step: int) -> bool:
        return step * self.batch >= self.images * (1 - self.cool_down)


class Trainer:
    """A student, its average, and the two optimisers. `lesson(step)` must depend on the step alone.

    `cooled` says that the last step was already taken at a falling rate.
    """

    def __init__(self, recipe: Recipe, lesson: Callable[[int], Lesson]) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self._lesson, self.step = recipe, lesson, 0
        self.cooled = False
        self.student = Student(recipe.size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
        self.average = copy.deepcopy(self.student).eval().requires_grad_(requires_grad=False)
        self._hint, self._gist = Hint(recipe.size.neck), Gist(recipe.size, recipe.gist)
        hidden, rest = _split(self.student)
        rest += [*self._gist.parameters(), *self._hint.parameters()]
        decayed, plain = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
        self._everything = [*hidden, *decayed, *plain]
        groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}]
        self._adam = torch.optim.AdamW(groups, lr=recipe.adam, betas=(0.9, 0.98))
        self._muon = Muon(hidden, lr=recipe.muon)

    def advance(self) -> dict[str, float]:
        """One step; the parts of its loss."""
        lesson, recipe = self._lesson(self.step), self.recipe
        self._set_rates(recipe.rate(self.step))
        self.student.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            seen = self.student(lesson.pictures.contiguous(memory_format=torch.channels_last))
            parts = lesson_loss(seen, self._hint, self._gist, lesson, recipe.weights)
        self._adam.zero_grad()
        self._muon.zero_grad()
        torch.stack(tuple(parts.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self._everything, 5.0)
        self._adam.step()
        self._muon.step()
        self._follow()
        self.cooled = recipe.cooling(self.step)
        self.step += 1
        return {name: float(part.detach()) for name, part in parts.items()}

    def _set_rates(self, factor: float) -> None:
        for group in self._adam.param_groups:
            group["lr"] = self.recipe.adam * factor
        for group in self._muon.param_groups:
            group["lr"] = self.recipe.muon * factor

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.state_dict().values(), self.student.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)

    def save(self, path: Path) -> None:
        """Write a checkpoint (safetensors); a crash half-way leaves the earlier one."""
        tensors = {f"{part}/{name}": tensor for part, net in self._nets().items() for name, tensor in _state(net)}
        for part, optimiser in self._optimisers().items():
            for index, memory in optimiser.state_dict()["state"].items():
                tensors |= {f"{part}/{index}/{name}": tensor.contiguous() for name, tensor in memory.items()}
        beside = path.with_suffix(".part")
        save_file(tensors, str(beside), metadata={"step": str(self.step), "cooled": str(int(self.cooled))})
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        with safe_open(str(path), "pt") as file:
            about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for part, net in self._nets().items():
            net.load_state_dict(_under(part, tensors))
        for part, optimiser in self._optimisers().items():
            memory: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _under(part, tensors).items():
                index, what = name.split("/")
                memory.setdefault(int(index), {})[what] = tensor
            optimiser.load_state_dict({"state": memory, "param_groups": optimiser.state_dict()["param_groups"]})
        self.step, self.cooled = int(about["step"]), about["cooled"] == "1"

    def _nets(self) -> dict[str, nn.Module]:
        return {"student": self.student, "average": self.average, "hint": self._hint, "gist": self._gist}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam": self._adam, "muon": self._muon}


def _state(net: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, tensor.contiguous()) for name, tensor in net.state_dict().items()]


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with `part/`, without it."""
    return {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}


def _split(student: Student) -> tuple[list[Tensor], list[Tensor]]:
    """Kernels of hidden convolutions, for Muon; and the rest: the first layer, the last layers, norms, biases."""
    hidden: list[Tensor] = []
    rest: list[Tensor] = []
    for name, weight in student.named_parameters():
        inner = weight.ndim == 4 and weight.shape[1] > 3 and name.endswith("conv.weight")
        (hidden if inner else rest).append(weight)
    return hidden, rest
