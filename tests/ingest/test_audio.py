from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.audio import GRID, HOLE, PERIOD, REACH, Samples, SoundCutter
from ingest.records import MICROSECONDS, SAMPLE_RATE

Chunk = tuple[int, Samples]


def speech(seconds: float, seed: int = 0) -> Samples:
    """Noise with pauses of a quarter of a second at random places, about one in two seconds."""
    random = np.random.default_rng(seed)
    sound = random.normal(0, 0.2, round(seconds * SAMPLE_RATE)).astype(np.float32)
    for start in random.uniform(0, seconds, round(seconds / 2)):
        at = round(start * SAMPLE_RATE)
        sound[at : at + SAMPLE_RATE // 4] *= 0.001
    return sound.clip(-1, 1)


def cut(sound: Samples, sizes: list[int], *, start: int = 0, whole: bool = True) -> list[Chunk]:
    cutter, chunks, at, turn = SoundCutter(from_start=whole), [], 0, 0
    while at < len(sound):
        size = sizes[turn % len(sizes)]
        chunks += list(cutter.add(start + at * MICROSECONDS // SAMPLE_RATE, sound[at : at + size]))
        at, turn = at + size, turn + 1
    return chunks + list(cutter.flush())


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(100, 40_000), min_size=1, max_size=5))
def test_nothing_is_lost_and_chunks_are_of_the_promised_length(seed: int, sizes: list[int]) -> None:
    sound = speech(47.3, seed)
    chunks = cut(sound, sizes)
    assert np.array_equal(np.concatenate([samples for _, samples in chunks]), sound)
    for pts, samples in chunks[:-1]:
        assert PERIOD - 2 * REACH <= len(samples) * MICROSECONDS // SAMPLE_RATE <= PERIOD + 2 * REACH
        assert pts % GRID == 0


def test_cuts_lie_in_pauses() -> None:
    sound = speech(60, 3)
    for pts, _ in cut(sound, [1024])[1:]:
        at = pts * SAMPLE_RATE // MICROSECONDS
        assert np.abs(sound[at - 160 : at + 160]).max() < 0.01


@settings(max_examples=20)
@given(begin=st.integers(0, 30 * SAMPLE_RATE), seed=st.integers(0, 100))
def test_reading_from_amid_gives_the_same_chunks(begin: int, seed: int) -> None:
    """The first, partial chunk is left out; from the next cut on everything is as if read from the start."""
    begin = begin // 320 * 320
    sound = speech(60, seed)
    whole = dict(cut(sound, [4096]))
    late = cut(sound[begin:], [4096], start=begin * MICROSECONDS // SAMPLE_RATE, whole=False)
    assert late
    assert late[0][0] <= begin * MICROSECONDS // SAMPLE_RATE + PERIOD + 2 * REACH
    for pts, samples in late:
        assert np.array_equal(whole[pts], samples)


def test_a_hole_ends_a_chunk() -> None:
    cutter = SoundCutter()
    assert list(cutter.add(0, speech(2))) == []
    (first,) = cutter.add(2 * MICROSECONDS + HOLE + 1, speech(1))
    (second,) = cutter.flush()
    assert (first[0], len(first[1])) == (0, 2 * SAMPLE_RATE)
    assert (second[0], len(second[1])) == (2 * MICROSECONDS + HOLE + 1, SAMPLE_RATE)


def test_digital_silence_is_cut_too() -> None:
    chunks = cut(np.zeros(30 * SAMPLE_RATE, np.float32), [1000])
    assert sum(len(samples) for _, samples in chunks) == 30 * SAMPLE_RATE
    assert len(chunks) >= 3


def test_what_a_broken_track_holds_comes_out_as_sound() -> None:
    sound = speech(12)
    sound[1000:1004] = (np.nan, np.inf, -np.inf, 7.0)
    given = np.concatenate([samples for _, samples in cut(sound.copy(), [1024])])
    assert np.array_equal(given[1000:1004], (0.0, 1.0, -1.0, 1.0))
    assert np.array_equal(np.delete(given, range(1000, 1004)), np.delete(sound, range(1000, 1004)))
