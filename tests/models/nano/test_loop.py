"""The training loop on pictures with perfect labels: it learns, and an interruption leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from models.nano.boxes import decode, suppress
from models.nano.model import Size
from models.nano.training import loop
from models.nano.training.loop import Recipe, Trainer
from models.nano.training.loss import Lesson, Weights, box_loss, flatten
from models.nano.training.measure import average_precision
from models.nano.training.muon import orthogonalised
from models.nano.training.targets import maps_of

from .scenes import lesson, scene

TINY = Size(widths=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1), head=16)
RECIPE = Recipe(batch=4, images=10_000, warm_up=40, bfloat16=False, workers=2, size=TINY)


def lessons(number: int) -> Lesson:
    return lesson([(2 * number + i) % 40 for i in range(RECIPE.share)])


def one_batch(number: int) -> Lesson:
    """Two pictures for one worker, two for the other, the same in every step."""
    return lesson([0, 1] if number % 2 == 0 else [2, 3])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_perfect_maps_decode_to_the_boxes_they_were_made_of() -> None:
    for seed in range(20):
        _, truth = scene(seed, 128)
        found = suppress(decode(maps_of(truth, 128, 128), 0.3, probabilities=True))
        assert sorted(found.categories) == sorted(truth.categories)
        for category in truth.categories:
            mine, theirs = found.where(found.categories == category), truth.where(truth.categories == category)
            np.testing.assert_allclose(mine.corners, theirs.corners, atol=0.01)


def test_the_loss_is_least_where_the_student_agrees() -> None:
    teacher = lesson([0, 1, 2, 3]).maps

    def logits(level: torch.Tensor) -> torch.Tensor:
        p = level[:, 4:].clamp(1e-4, 1 - 1e-4)
        return torch.cat((level[:, :4], p.log() - (1 - p).log()), 1)

    agreeing = [logits(level) for level in teacher]
    least = float(box_loss(agreeing, teacher, Weights()))
    assert abs(least) < 0.05
    for row in (0, 2, 4, 5):  # a place, a size, the objectness, a category
        wrong = [level.clone() for level in agreeing]
        for level in wrong:
            level[:, row] = level[:, row] + 1.0 if row < 4 else 0.0
        assert float(box_loss(wrong, teacher, Weights())) > least + 0.05, f"row {row} does not count"


def test_flattened_cells_are_where_decoding_says() -> None:
    picture_maps = [level[0] for level in lesson([0, 1, 2, 3]).maps]
    found = decode([level.numpy() for level in picture_maps], 0.3, probabilities=True)
    flat = flatten([level[None] for level in picture_maps])
    chosen = flat.objectness[0] > 0.3
    np.testing.assert_allclose(np.sort(flat.corners[0][chosen].numpy(), 0), np.sort(found.corners, 0), rtol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16), (8, 72), (64, 9)])
def test_muon_brings_every_singular_value_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.4


@pytest.mark.slow
def test_four_pictures_are_learned_by_heart() -> None:
    trainer = Trainer(RECIPE, one_batch)
    losses = [trainer.advance() for _ in range(100)]
    assert losses[-1]["boxes"] < losses[0]["boxes"] / 5
    trainer.student.train()  # by heart: normalised by these very pictures, not by an average that lags behind
    found, truth = [], []
    with torch.inference_mode():
        maps = trainer.student(lesson([0, 1, 2, 3]).pictures).maps
    for index in range(4):
        found.append(suppress(decode([level[index].numpy() for level in maps], 0.05)))
        truth.append(scene(index)[1])
    assert average_precision(found, truth) > 0.7


def test_a_resumed_run_is_the_run_that_was_never_interrupted(tmp_path: Path) -> None:
    straight, interrupted = Trainer(RECIPE, lessons), Trainer(RECIPE, lessons)
    for _ in range(4):
        straight.advance()
    for _ in range(2):
        interrupted.advance()
    interrupted.save(tmp_path / "latest.safetensors")
    resumed = Trainer(replace(RECIPE, seed=0), lessons)
    resumed.load(tmp_path / "latest.safetensors")
    assert resumed.step == 2
    for _ in range(2):
        resumed.advance()
    for ours, theirs in ((resumed.student, straight.student), (resumed.average, straight.average)):
        for name, tensor in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=0, msg=name)


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(RECIPE, lessons)
    path = tmp_path / "latest.safetensors"
    trainer.save(path)
    before = path.read_bytes()

    def full_disk(*_: object, **_also: object) -> None:
        raise OSError("no space left")

    trainer.step = 99
    monkeypatch.setattr(loop, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        trainer.save(path)
    assert path.read_bytes() == before


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(batch=10, images=1000, warm_up=100, cool_down=0.3)
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:70] == [1.0] * 60
    assert all(a > b for a, b in pairwise(rates[70:]))
    assert rates[-1] < 0.05
    assert [recipe.cooling(step) for step in (69, 70)] == [False, True]


def test_at_the_end_pictures_are_larger_and_the_borders_count_half() -> None:
    recipe = Recipe(batch=10, images=1000, small_until=300, alone_from=500, fine_from=0.8)
    sides = [{recipe.side(step) for step in steps} for steps in (range(30), range(30, 80), range(80, 100))]
    assert sides == [set(recipe.small), set(recipe.large), set(recipe.fine)]
    assert [recipe.border(step) for step in (0, 79, 80, 99)] == [1.0, 1.0, 0.5, 0.5]
    assert not Recipe(batch=10, images=1000, alone_from=2000).finishing(99)  # never before every stage stands alone
