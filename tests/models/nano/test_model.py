"""The network: fusing changes nothing, and every size of picture gives maps where cells are expected."""

from __future__ import annotations

import pytest
import torch

from models.nano.model import STRIDES, Conv, Size, Student, fuse

TINY = Size(widths=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1), head=16)


def lived_in(seed: int = 0) -> Student:
    """A student whose running statistics are not those it was born with."""
    torch.manual_seed(seed)
    student = Student(TINY).train()
    for _ in range(3):
        student(torch.rand(4, 3, 64, 64) * 255)
    return student.eval()


@torch.inference_mode()
def test_folding_the_normalisation_changes_nothing() -> None:
    student, pictures = lived_in(), torch.rand(2, 3, 96, 64) * 255
    before = student(pictures)
    fused = fuse(student)
    assert not any(isinstance(part, Conv) for part in fused.modules())
    after = fused(pictures)
    for one, other in zip((*before.maps, before.pooled), (*after.maps, after.pooled), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (416, 256)])
@torch.inference_mode()
def test_a_map_has_a_cell_for_every_stride(height: int, width: int) -> None:
    seen = lived_in()(torch.zeros(1, 3, height, width))
    assert [level.shape for level in seen.maps] == [(1, 85, height // s, width // s) for s in STRIDES]
    assert seen.pooled.shape == (1, TINY.pooled)


@torch.inference_mode()
def test_a_picture_is_seen_the_same_in_any_company() -> None:
    student = lived_in()
    pictures = torch.rand(3, 3, 64, 64) * 255
    together, alone = student(pictures), student(pictures[1:2])
    torch.testing.assert_close(together.maps[0][1:2], alone.maps[0], rtol=1e-4, atol=1e-4)


def test_a_newborn_expects_nothing_almost_everywhere() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        seen = Student().eval()(torch.rand(1, 3, 64, 64) * 255)
    assert all(float(level[:, 4].sigmoid().mean()) < 0.1 for level in seen.maps)


def test_the_default_size_is_small_enough_to_ship() -> None:
    """Twelve megabytes in all at two bytes a number; the word table needs some of them."""
    assert sum(p.numel() for p in Student().parameters()) * 2 < 6_000_000
