from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import MICROSECONDS, SampleReason
from ingest.sampling import HEIGHT, LINGER, WIDTH, Grey, Sampler, Sampling, shrink

FPS = 25


def grey(level: float, square: int | None = None) -> Grey:
    picture = np.full((HEIGHT, WIDTH), level, np.float32)
    if square is not None:
        picture[20:26, square : square + 6] = 250
    return picture


def sample(pictures: list[Grey], sampling: Sampling, first: int = 0, pts0: int = 0) -> dict[int, SampleReason]:
    """Picture number -> reason, reading from `first` on."""
    sampler, kept = Sampler(sampling), {}
    for number in range(first, len(pictures)):
        pts = pts0 + number * MICROSECONDS // FPS
        if sampler.wants(pts) and (reason := sampler.judge(pts, pictures[number])):
            kept[number] = reason
    return kept


def test_a_still_scene_costs_the_floor() -> None:
    kept = sample([grey(90)] * (FPS * 60), Sampling(floor_hz=0.5))
    beginning = [n for n in kept if n <= FPS]
    assert 4 <= len(beginning) <= 5, "a scene is learnt at the ceiling"
    assert [n for n in kept if n > FPS] == list(range(FPS * 2, FPS * 60, FPS * 2))
    assert set(kept.values()) == {"rate"}


def test_movement_is_sampled_at_the_ceiling_and_until_it_is_seen_to_have_ended() -> None:
    pictures = [grey(90, 10 + max(0, min(n, 250) - 125) // 4) for n in range(500)]
    kept = sample(pictures, Sampling(floor_hz=0.5, ceiling_hz=4))
    moving = [n for n, reason in kept.items() if reason == "motion"]
    assert 125 <= moving[0] <= 135
    assert 255 <= moving[-1] <= 285
    assert 0.7 * 4 * 6 <= len(moving) <= 4 * 6 + 1
    kept_after = [n for n in kept if 250 < n <= 275]
    assert len(kept_after) >= 4, "the second after a movement is seen as finely as the movement"


def test_noise_is_not_movement() -> None:
    noise = np.random.default_rng(1)
    pictures = [grey(90) + noise.normal(0, 2.5, (HEIGHT, WIDTH)).astype(np.float32) for _ in range(250)]
    assert "motion" not in sample(pictures, Sampling()).values()


def test_a_cut_is_a_scene() -> None:
    kept = sample([grey(60)] * 60 + [grey(160)] * 60, Sampling(motion=False))
    assert [n for n, reason in kept.items() if reason == "scene"] == [63]


def test_gating_can_be_switched_off() -> None:
    pictures = [grey(90, n % 80) for n in range(250)]
    assert set(sample(pictures, Sampling(motion=False)).values()) == {"rate"}


def test_key_frames_are_all_kept_up_to_the_ceiling() -> None:
    kept = sample([grey(90)] * 250, Sampling(keyframes_only=True, ceiling_hz=1))
    assert set(kept.values()) == {"key"}
    assert len(kept) == 10


@settings(max_examples=60)
@given(
    squares=st.lists(st.integers(0, 80), min_size=60, max_size=120),
    first=st.integers(0, 40),
    pts0=st.integers(-(10**12), 10**12),
    ceiling=st.sampled_from([1.0, 2.5, 4.0, 10.0]),
)
def test_what_is_kept_does_not_depend_on_where_reading_began(
    squares: list[int], first: int, pts0: int, ceiling: float
) -> None:
    """A moment behind the point where reading begins, the samples are the same ones for the same reasons."""
    pictures = [grey(90, square) for square in squares]
    sampling = Sampling(ceiling_hz=ceiling)
    settled = first + 2 * round(FPS / ceiling) + 1 + round(LINGER / MICROSECONDS * FPS)
    whole, late = sample(pictures, sampling, 0, pts0), sample(pictures, sampling, first, pts0)
    assert {n: r for n, r in whole.items() if n > settled} == {n: r for n, r in late.items() if n > settled}


@settings(max_examples=40)
@given(height=st.integers(1, 1200), width=st.integers(1, 2000))
def test_any_size_shrinks(height: int, width: int) -> None:
    small = shrink(np.full((height, width), 77, np.uint8))
    assert small.shape[0] <= 2 * HEIGHT + 2
    assert small.shape[1] <= 2 * WIDTH + 2
    assert np.all(small == 77)


def test_shrinking_is_a_local_mean() -> None:
    luma = np.zeros((HEIGHT * 8, WIDTH * 8), np.uint8)
    luma[80:88, 160:168] = 200
    small = shrink(luma)
    assert small[10, 20] == 200
    assert small.sum() == 200


@given(height=st.integers(200, 900), width=st.integers(200, 1400), pad=st.integers(0, 63))
@settings(max_examples=20)
def test_each_cell_is_the_mean_of_its_samples(height: int, width: int, pad: int) -> None:
    """Against the same said plainly, to the last bit: noise, in a plane whose rows are longer than the picture."""
    luma = np.random.default_rng(height * width).integers(0, 256, (height, width + pad), np.uint8)[:, :width]
    sparse = luma[:: max(1, height // (4 * HEIGHT)), :: max(1, width // (4 * WIDTH))]
    down, across = sparse.shape[0] // HEIGHT, sparse.shape[1] // WIDTH
    small = shrink(luma)
    assert small.shape == (sparse.shape[0] // down, sparse.shape[1] // across)
    for row, column in ((0, 0), (small.shape[0] - 1, small.shape[1] - 1), (7, 31)):
        cell = sparse[row * down : (row + 1) * down, column * across : (column + 1) * across]
        assert small[row, column] == np.float32(cell.mean())
