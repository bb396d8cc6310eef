"""Positions in time and space, and real seconds among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ingest.records import Moment, StreamId, seconds
from models.parts.exhibits import Shot
from models.parts.multimodal_rope import Grid, multimodal_positions
from models.systems.qwen2_vl import real_steps


def shots(*at: float) -> list[Shot]:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    return [Shot(1, StreamId("s"), Moment(seconds(second)), pixels) for second in at]


def test_as_the_paper_draws_it() -> None:
    """Two words, a video of 3 steps of 2 x 2 tokens, one word (Wang et al. 2024, figure 3)."""
    video = Grid(3, 2, 2)
    positions = multimodal_positions([False] * 2 + [True] * 12 + [False], iter([video]))
    assert positions[0].tolist() == [0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5]
    assert positions[1].tolist() == [0, 1, *[2, 2, 3, 3] * 3, 5]
    assert positions[2].tolist() == [0, 1, *[2, 3] * 6, 5]


def test_real_seconds_are_positions() -> None:
    positions = multimodal_positions([True] * 3 + [False], iter([Grid(3, 1, 1, steps=(0, 7, 30))]))
    assert positions[0].tolist() == [0, 7, 30, 31]


@pytest.mark.parametrize(
    ("at", "steps"),
    [
        ((0.0, 0.5, 1.0, 1.5, 2.0, 2.5), (0, 1, 2)),  # two per second: as in training
        ((0.0, 1.0, 2.0, 3.0), (0, 2)),
        ((0.0, 1.0, 2.0), (0, 2)),  # an odd one is shown twice
        ((0.0, 0.1, 0.2, 0.3), (0, 1)),  # too close for a second: still one after the other
        ((0.0, 1.0, 5000.0, 5001.0, 5010.0, 5011.0), (0, 60, 70)),  # a long silence is only long
    ],
)
def test_steps_of_pictures(at: tuple[float, ...], steps: tuple[int, ...]) -> None:
    assert real_steps(shots(*at)) == steps


def test_training_rate_gives_training_positions() -> None:
    steps = real_steps(shots(*(index / 2 for index in range(40))))
    assert torch.equal(Grid(20, 2, 3, steps).positions(), Grid(20, 2, 3).positions())
