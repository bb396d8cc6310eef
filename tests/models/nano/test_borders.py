"""Teaching stage by stage: who starts from what, and who learns from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.nano.model import Size, Student
from models.nano.training.borders import BORDERS, Borders, attention, watched, widths_of
from models.nano.training.loop import Recipe

from .scenes import lesson

TINY = Size(widths=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1), head=16)
TEACHER = Path(__file__).parents[4] / "shared" / "real-models" / "yolox_nano.onnx"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student(TINY).eval()


def maps_of(student: Student, pictures: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode(), watched(student, {}, 0.0, torch.Generator()) as seen:
        student(pictures)
    return {name: map_.clone() for name, map_ in seen.items()}


def test_watching_changes_nothing_and_leaves_nothing_behind(student: Student) -> None:
    pictures = torch.rand(2, 3, 64, 64) * 255
    with torch.inference_mode():
        before = student(pictures)
        with watched(student, {}, 1.0, torch.Generator()) as seen:
            during = student(pictures)
    assert set(seen) == set(BORDERS)
    torch.testing.assert_close(before.maps, during.maps, rtol=0, atol=0)
    assert not any(part._forward_hooks for part in student.modules())


def test_a_stage_that_is_led_starts_from_what_the_teacher_has(student: Student) -> None:
    one, other = torch.rand(2, 1, 3, 64, 64) * 255
    theirs = maps_of(student, other)
    with torch.inference_mode(), watched(student, theirs, 1.0, torch.Generator()) as led:
        student(one)
    alone = maps_of(student, one)
    torch.testing.assert_close(led["stage4"], alone["stage4"], msg="the first stage sees the picture")
    for name in set(BORDERS) - {"stage4"}:
        torch.testing.assert_close(led[name], theirs[name], msg=f"{name} starts from the other picture's maps")


def test_a_share_of_pictures_is_led(student: Student) -> None:
    pictures = (torch.rand(1, 3, 64, 64) * 255).expand(16, 3, 64, 64)
    theirs = {"stage4": torch.full((16, 8, 16, 16), 9.0)}
    own = maps_of(student, pictures)["stage8"][0]
    with torch.inference_mode(), watched(student, theirs, 0.5, torch.Generator().manual_seed(3)) as seen:
        student(pictures)
    alone = [bool(torch.allclose(map_, own, atol=1e-4)) for map_ in seen["stage8"]]
    assert 0 < sum(alone) < 16


def test_a_led_stage_learns_by_itself(student: Student) -> None:
    """The error at one border moves the stage before it and no other."""
    batch = lesson([0, 1], side=64)
    theirs = {name: torch.randn_like(map_) for name, map_ in maps_of(student, batch.pictures).items()}
    borders = Borders(widths_of(student))
    borders.follow(theirs)
    with watched(student, theirs, 1.0, torch.Generator()) as ours:
        student(batch.pictures)
    borders.loss(ours, {"mix16": theirs["mix16"]}, attention(batch)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    moved = {name.split(".")[0] for name, weight in student.named_parameters() if weight.grad is not None}
    assert moved == {"mix16"}


def test_agreement_costs_nothing_and_a_picture_that_is_not_believed_does_not_count(student: Student) -> None:
    batch = lesson([0, 1], side=64)
    ours = maps_of(student, batch.pictures)
    borders = Borders(widths_of(student))
    borders.follow(ours)
    assert float(borders.loss(ours, ours, attention(batch))) == 0.0
    wrong = {name: map_.clone() for name, map_ in ours.items()}
    for map_ in wrong.values():
        map_[1] += 1.0
    assert float(borders.loss(ours, wrong, attention(batch))) > 1.0
    batch.believed[1] = 0.0
    assert float(borders.loss(ours, wrong, attention(batch))) == 0.0


def test_every_channel_counts_alike_however_loud_it_is(student: Student) -> None:
    batch = lesson([0, 1], side=64)
    torch.manual_seed(1)
    theirs = {"stage16": torch.randn(2, 16, 4, 4)}
    loud = {"stage16": theirs["stage16"] * 50}
    off = torch.randn(2, 16, 4, 4)
    costs = []
    for aim, scale in ((theirs, 1.0), (loud, 50.0)):
        borders = Borders(widths_of(student))
        borders.follow(aim)
        costs.append(float(borders.loss({"stage16": aim["stage16"] + off * scale}, aim, attention(batch))))
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)


def test_the_lead_is_given_up_bit_by_bit() -> None:
    recipe = Recipe(batch=10, images=1000, led_until=200, alone_from=400)
    assert [recipe.lead(step) for step in (0, 20, 30, 40, 99)] == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_the_teacher_has_a_map_of_the_same_shape_at_every_border() -> None:
    if not TEACHER.exists():
        pytest.skip("the teacher is not beside the project")
    if importlib.util.find_spec("onnx") is None:
        pytest.skip("the package onnx, which only training needs, is not installed")
    from models.nano.training.teachers import BoxTeacher

    teacher = BoxTeacher(TEACHER)
    pictures = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3)).astype(np.uint8)
    maps, borders = teacher.think(pictures)
    ours = maps_of(Student().eval(), torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    assert {name: map_.shape for name, map_ in borders.items()} == {n: tuple(m.shape) for n, m in ours.items()}
    for level, said in enumerate(maps):
        logits = borders[f"heads.{level}.category"]
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), said[:, 5:], atol=1e-5)
        np.testing.assert_allclose(borders[f"heads.{level}.box"], said[:, :4], atol=1e-5)
