"""Merging slots where the least is lost: what it keeps, and that its exact mode is MA-LMM's rule."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import Moment, Span
from memory.bank import JointBank
from memory.condense import EXACT, Policy, condensed, policy_for, shares
from memory.tables import SlotTable


def slots(vectors: np.ndarray, counts: list[int] | None = None, sounds: list[int] | None = None) -> SlotTable:
    """Slots of ten microseconds, one after the other."""
    starts = np.arange(len(vectors)) * 10
    columns = [starts, starts + 10, counts or [1] * len(vectors), starts + 3, sounds or [0] * len(vectors)]
    return SlotTable(vectors.astype(np.float32), np.array(columns, np.int64).T.reshape(-1, 5))


def scenes(lengths: list[int], noise: float, dim: int = 64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    means = np.linalg.qr(rng.normal(size=(dim, len(lengths))))[0].T
    frames = np.repeat(means, lengths, axis=0)
    frames = frames + noise * rng.normal(size=frames.shape) / np.sqrt(dim)
    return frames / np.linalg.norm(frames, axis=1, keepdims=True)


@given(seed=st.integers(0, 10**6), count=st.integers(2, 40))
@settings(max_examples=60)
def test_the_exact_mode_merges_as_the_bank_does(seed: int, count: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    bank = JointBank(count - 1)
    for number, vector in enumerate(vectors):
        bank.append(vector, Span(Moment(number * 10), Moment(number * 10 + 10)))
    table = condensed(slots(vectors), count - 1, EXACT)
    assert table.counts.tolist() == bank.counts
    assert table.times[:, :2].tolist() == [[span.start, span.end] for span in bank.spans]
    np.testing.assert_allclose(table.vectors, bank.features(), atol=1e-6)


@given(data=st.data())
@settings(max_examples=100)
def test_nothing_is_lost_but_borders(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    counts = data.draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    sounds = data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    most = data.draw(st.integers(1, 45))
    vectors = np.random.default_rng(count).normal(size=(count, 5))
    vectors[data.draw(st.integers(0, count - 1))] = data.draw(st.sampled_from([0.0, 1.0, np.nan]))
    before = slots(vectors, counts, sounds)
    after = condensed(before, most, Policy(noise=0.1, lasting=100.0))
    assert len(after) == max(min(most, count), len(set(sounds)))
    assert (np.diff(after.starts) > 0).all()
    for kind in (False, True):
        was, now = before.where(before.sounds == kind), after.where(after.sounds == kind)
        assert now.counts.sum() == was.counts.sum()
        if len(was):
            assert (now.starts[0], now.ends[-1]) == (was.starts[0], was.ends[-1])
            assert (now.ends[:-1] <= now.starts[1:]).all()
            assert ((now.times[:, 3] >= now.starts) & (now.times[:, 3] < now.ends)).all()
        total = (was.vectors * was.counts[:, None]).sum(axis=0)
        np.testing.assert_allclose((now.vectors * now.counts[:, None]).sum(axis=0), total, rtol=1e-3, atol=1e-3)


def test_a_moment_half_like_its_scene_outlives_the_noise_of_the_scene() -> None:
    """Two frames of a noisy scene show something besides. By cosine alone an average of many looks more like them than
    two frames of the scene look like each other, and they are gone before the noise is."""
    kept = {"policy": 0, "exact": 0}
    for seed in range(20):
        frames = scenes([200], noise=0.6, seed=seed)
        frames[120:122] += 0.4 * scenes([1], noise=0.0, seed=seed + 100)[0]
        table = slots(frames / np.linalg.norm(frames, axis=1, keepdims=True))
        for name, policy in {"policy": policy_for([table], 20), "exact": EXACT}.items():
            slots_left = [row[:3] for row in condensed(table, 20, policy).times.tolist()]
            kept[name] += [1200, 1220, 2] in slots_left
    assert kept["policy"] >= kept["exact"] + 5, kept


def test_a_slot_does_not_swallow_everything() -> None:
    """Where everything is new, cosines differ only by chance: time decides."""
    vectors = np.random.default_rng(3).normal(size=(600, 16))
    longest = {}
    for policy in (EXACT, policy_for([slots(vectors)], 60)):
        table = condensed(slots(vectors), 60, policy)
        longest[policy] = int((table.ends - table.starts).max())
    assert longest[policy] < 0.5 * longest[EXACT]


def test_shares_take_from_where_the_least_is_lost() -> None:
    losses = [np.array([0.1, 5.0], np.float32), np.array([], np.float32), np.array([0.2, 0.3, np.inf], np.float32)]
    assert shares(losses, 2) == [1, 0, 1]
    assert shares(losses, 3) == [1, 0, 2]
    assert shares(losses, 100) == [2, 0, 2]
    assert shares([], 3) == []
