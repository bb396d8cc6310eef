"""The training loop: seeded by step, so that a resumed run is the run that was never interrupted.

The learning rate warms up, stays, and cools down over the last part. The state just before cooling down is kept as
`stable.safetensors`: a later run with more pictures goes on from there instead of from weights that have settled.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.nano.model import Size, Student
from models.nano.training.borders import Borders, attention, watched, widths_of
from models.nano.training.loss import Lesson, Weights, box_loss
from models.nano.training.muon import Muon

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out, apart from the pictures. Rates are per step, `decay` per unit of rate."""

    seed: int = 0
    batch: int = 12
    images: int = 33_400
    warm_up: int = 400
    cool_down: float = 0.6
    adam: float = 2e-3
    muon: float = 0.02
    decay: float = 0.03
    average: float = 0.998
    bfloat16: bool = False
    """Half the precision for convolutions: quicker on some processors, slower on others."""
    workers: int = 2
    """Threads that each learn from an equal share of every batch."""
    led_until: int = 8_000
    """Images seen while every stage starts from the teacher's maps; less and less of them until `alone_from`."""
    alone_from: int = 16_000
    staged: float = 0.08
    """The share of pictures with known truth, once every stage stands on its own."""
    small_until: int = 10_000
    """Images seen before pictures grow from `small` to `large` sides."""
    small: tuple[int, ...] = (192, 224, 256)
    large: tuple[int, ...] = (192, 224, 256, 320)
    fine: tuple[int, ...] = (224, 256, 320, 384)
    fine_from: float = 0.8
    """The share of the run after which sides are `fine` and the borders count half: for things small in the picture."""
    size: Size = field(default_factory=Size)
    weights: Weights = field(default_factory=Weights)

    def side(self, step: int) -> int:
        """Pixels along each side of this step's pictures."""
        grown = self.fine if self.finishing(step) else self.large
        sides = self.small if step * self.batch < self.small_until else grown
        return random.Random(self.seed * 7919 + step).choice(sides)

    def rate(self, step: int) -> float:
        """The learning rate's factor: up in `warm_up` images, then flat, then down to 2 % over `cool_down`."""
        seen = step * self.batch
        left = (self.images - seen) / max(1.0, self.images * self.cool_down)
        return min(1.0, (seen + self.batch) / self.warm_up) * min(1.0, max(0.02, left))

    def lead(self, step: int) -> float:
        """The share of the stages' starting points that the teacher gives."""
        seen = step * self.batch
        return min(1.0, max(0.0, (self.alone_from - seen) / max(1, self.alone_from - self.led_until)))

    def finishing(self, step: int) -> bool:
        return step * self.batch >= max(self.images * self.fine_from, self.alone_from)

    def border(self, step: int) -> float:
        """How much what the stages make counts in the loss."""
        return self.weights.border * (0.5 if self.finishing(step) else 1.0)

    @property
    def share(self) -> int:
        """Pictures in one lesson: a worker's part of a batch."""
        return self.batch // self.workers

    @property
    def steps(self) -> int:
        return -(-self.images // self.batch)

    def cooling(self, step: int) -> bool:
        return step * self.batch >= self.images * (1 - self.cool_down)


class Trainer:
    """A student, its average, and the two optimisers. `lesson(number)` must depend on the number alone.

    Every worker has a student that shares the weights and keeps its own gradients and statistics; they are averaged
    after every step. Two that never wait inside a computation keep two busy cores better than one computation split
    over both. `cooled` says that the last step was already taken at a falling rate.
    """

    def __init__(self, recipe: Recipe, lesson: Callable[[int], Lesson]) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self._lesson, self.step = recipe, lesson, 0
        self.cooled = False
        self.student = Student(recipe.size)
        self.average = copy.deepcopy(self.student).eval().requires_grad_(requires_grad=False)
        self._borders = Borders(widths_of(self.average))
        self._team = [self.student, *(_sharing(self.student) for _ in range(recipe.workers - 1))]
        self._threads = ThreadPoolExecutor(recipe.workers)
        hidden, rest = _split(self.student)
        decayed, plain = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
        self._everything = [*hidden, *decayed, *plain]
        groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}]
        self._adam = torch.optim.AdamW(groups, lr=recipe.adam, betas=(0.9, 0.98))
        self._muon = Muon(hidden, lr=recipe.muon)

    def advance(self) -> dict[str, float]:
        """One step; the parts of its loss."""
        recipe = self.recipe
        if self.step == 0:
            self._borders.follow(self._lesson(0).borders)
        self._set_rates(recipe.rate(self.step))
        results = list(self._threads.map(self._learn, range(recipe.workers)))
        self._agree()
        torch.nn.utils.clip_grad_norm_(self._everything, 5.0)
        self._adam.step()
        self._muon.step()
        self._follow()
        if self.step % 16 == 0:
            self._borders.follow(results[0][1])
        self.cooled = recipe.cooling(self.step)
        self.step += 1
        return {name: sum(parts[name] for parts, _ in results) / recipe.workers for name in results[0][0]}

    def _learn(self, worker: int) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Gradients of one worker's lesson; the parts of its loss, and the teacher's maps."""
        recipe, student = self.recipe, self._team[worker]
        number = self.step * recipe.workers + worker
        lesson = self._lesson(number)
        theirs = {name: _laid_out(map_, half=recipe.bfloat16) for name, map_ in lesson.borders.items()}
        student.train()
        student.zero_grad()
        dice = torch.Generator().manual_seed((recipe.seed << 32) + number)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16),
            watched(student, theirs, recipe.lead(self.step), dice) as ours,
        ):
            seen = student(lesson.pictures.contiguous(memory_format=torch.channels_last))
        parts = {
            "boxes": box_loss([level.float() for level in seen.maps], lesson.maps, recipe.weights),
            "borders": recipe.border(self.step) * self._borders.loss(ours, theirs, attention(lesson)),
        }
        torch.stack(tuple(parts.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return {name: float(part.detach()) for name, part in parts.items()}, lesson.borders

    @torch.no_grad()
    def _agree(self) -> None:
        """The mean of the workers' gradients for the optimisers, and of their statistics for all of them."""
        for each in zip(*(student.parameters() for student in self._team), strict=True):
            gradients = [weight.grad for weight in each if weight.grad is not None]
            each[0].grad = torch.stack(gradients).mean(0) if gradients else None
        for same in zip(*(student.buffers() for student in self._team), strict=True):
            if same[0].dtype.is_floating_point:
                mean = torch.stack(same).mean(0)
                for buffer in same:
                    buffer.copy_(mean)

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
        for student in self._team:
            student.load_state_dict(self.student.state_dict())
        for part, optimiser in self._optimisers().items():
            memory: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _under(part, tensors).items():
                index, what = name.split("/")
                memory.setdefault(int(index), {})[what] = tensor
            optimiser.load_state_dict({"state": memory, "param_groups": optimiser.state_dict()["param_groups"]})
        self.step, self.cooled = int(about["step"]), about["cooled"] == "1"

    def _nets(self) -> dict[str, nn.Module]:
        return {"student": self.student, "average": self.average, "borders": self._borders}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam": self._adam, "muon": self._muon}


def _state(net: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, tensor.contiguous()) for name, tensor in net.state_dict().items()]


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with `part/`, without it."""
    return {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}


def _laid_out(map_: Tensor, *, half: bool) -> Tensor:
    """As the student computes: channels last, in its precision."""
    return map_.to(torch.bfloat16 if half else torch.float32, memory_format=torch.channels_last)


def _sharing(student: Student) -> Student:
    """A copy that learns into the same weights."""
    other = copy.deepcopy(student)
    for own, shared in zip(other.parameters(), student.parameters(), strict=True):
        own.data = shared.data
    return other


def _split(student: Student) -> tuple[list[Tensor], list[Tensor]]:
    """Kernels of hidden convolutions, for Muon; and the rest: the first layer, the last layers, norms, biases."""
    hidden: list[Tensor] = []
    rest: list[Tensor] = []
    for name, weight in student.named_parameters():
        inner = weight.ndim == 4 and weight.shape[1] > 3 and name.endswith("conv.weight")
        (hidden if inner else rest).append(weight)
    return hidden, rest
