"""Several frames resampled at once against each by itself."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest

from ingest import sounds
from ingest.records import MICROSECONDS

RATE = 22_050


def frames(count: int, layout: str = "mono", at: int = 0) -> list[tuple[int, av.AudioFrame]]:
    """Frames of noise that follow each other from `at` microseconds on, as a decoder gives them."""
    random, made = np.random.default_rng(count), []
    for place in range(count):
        noise = random.normal(0, 0.2, (1 if layout == "mono" else 2, 1024)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = RATE, place * 1024
        made.append((at + place * 1024 * MICROSECONDS // RATE, frame))
    return made


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_joined_frames_give_the_same_samples(layout: str) -> None:
    heard, alone, at_once = frames(40, layout), sounds.mono_resampler(), sounds.mono_resampler()
    one_by_one = [sounds.samples(alone, frame) for _, frame in heard]
    ((start, whole),) = sounds.joined(heard)
    assert (start, whole.samples) == (0, 40 * 1024)
    assert np.array_equal(sounds.samples(at_once, whole), np.concatenate(one_by_one))


def test_a_hole_and_another_kind_of_sound_begin_anew() -> None:
    heard = [*frames(3), *frames(2, at=5_000_000), *frames(4, "stereo", at=5_092_880)]
    runs = list(sounds.joined(heard))
    assert [(start, run.samples // 1024, run.layout.name) for start, run in runs] == [
        (0, 3, "mono"), (5_000_000, 2, "mono"), (5_092_880, 4, "stereo"),
    ]  # fmt: skip


def test_clocks_that_round_do_not_split_a_run() -> None:
    """A camera that tells milliseconds."""
    heard = [(pts // 1000 * 1000, frame) for pts, frame in frames(200)]
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(heard))
    assert len(list(sounds.joined(heard))) == 1


def test_nothing_is_nothing() -> None:
    assert list(sounds.joined([])) == []
