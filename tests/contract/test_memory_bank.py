"""The bank against tensors made by the official code, and against plain recomputation."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ingest.records import Moment, Span
from memory.bank import JointBank, TokenBank

SUITE = Path(__file__).parents[3] / "shared/parity/ma_lmm/public"
golden = pytest.mark.skipif(not SUITE.exists(), reason="the golden tensors (../shared/parity/ma_lmm) are not here")
BACKENDS = ["numpy", "torch"]


def official(bank: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One compression as the specification describes it: everything recomputed. [B, T, N, C], [B, T, N]."""
    similarity = torch.nn.functional.cosine_similarity(bank[:, :-1], bank[:, 1:], dim=-1)
    k = similarity.max(dim=1, keepdim=True).indices
    steps = torch.arange(bank.shape[1]).reshape(1, -1, 1)
    weighted = (bank * size[..., None]).to(bank.dtype)
    source = torch.gather(weighted, 1, (k + 1)[..., None].expand(-1, -1, -1, bank.shape[-1]))
    source_size = torch.gather(size, 1, k + 1)
    keep = steps != k + 1
    here = steps == k
    weighted = torch.where(here[..., None], weighted + source, weighted)
    size = torch.where(here, size + source_size, size)
    batch, length, tokens, width = bank.shape

    def kept(values: torch.Tensor, *tail: int) -> torch.Tensor:
        mask = keep.expand(batch, length, tokens).transpose(1, 2)
        return values.transpose(1, 2)[mask].reshape(batch, tokens, length - 1, *tail).transpose(1, 2)

    size = kept(size)
    return kept(weighted, width) / size[..., None], size


def cases() -> list[str]:
    if not SUITE.exists():
        return []
    manifest = json.loads((SUITE / "manifest.json").read_text())
    return sorted(manifest["files"]["compress_suite.safetensors"]["meta"]["cases"])


@pytest.fixture(scope="module")
def suite() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(SUITE / "compress_suite.safetensors")


def _native(tensor: torch.Tensor, backend: str) -> torch.Tensor | np.ndarray:
    if backend == "torch":
        return tensor
    if tensor.dtype == torch.bfloat16:
        pytest.skip("NumPy has no bfloat16")
    return tensor.numpy()


def _close(ours: object, theirs: torch.Tensor, source: torch.dtype = torch.float32) -> None:
    """Half-precision banks: the original rounds untouched entries once more, by one step of their type."""
    tolerance = 1e-6 if source in {torch.float32, torch.float64} else torch.finfo(source).eps
    tensor = torch.as_tensor(ours)
    assert tensor.dtype == theirs.dtype
    torch.testing.assert_close(tensor, theirs, atol=tolerance, rtol=tolerance, equal_nan=True)


@golden
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", cases())
def test_one_compression_is_the_official_one(case: str, backend: str, suite: dict[str, torch.Tensor]) -> None:
    before, size = suite[f"{case}.bank_in"], suite[f"{case}.size_in"]
    bank = TokenBank(suite[f"{case}.bank_out"].shape[1])
    bank.load(_native(before.transpose(0, 1), backend), _native(size.transpose(0, 1), backend))
    assert torch.equal(torch.as_tensor(bank.sizes()).transpose(0, 1), suite[f"{case}.size_out"])
    _close(torch.as_tensor(bank.features()).transpose(0, 1), suite[f"{case}.bank_out"], before.dtype)


@golden
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chain_and_a_stream_are_the_official_ones(backend: str, suite: dict[str, torch.Tensor]) -> None:
    bank = TokenBank(5)
    before, size = suite["chain40to5.bank_in"], suite["chain40to5.size_in"]
    plain, plain_size = before, size
    while plain.shape[1] > 5:
        plain, plain_size = official(plain, plain_size)
    _close(plain, suite["chain40to5.bank_out"])
    assert torch.equal(plain_size, suite["chain40to5.size_out"])

    frames = suite["stream60_M7.frames"]
    bank = TokenBank(7)
    for t in range(60):
        bank.append(_native(frames[:, t], backend))
        if f"stream60_M7.bank_after{t:02d}" in suite:
            _close(torch.as_tensor(bank.features()).transpose(0, 1), suite[f"stream60_M7.bank_after{t:02d}"])
            sizes = torch.as_tensor(bank.sizes()).transpose(0, 1)
            assert torch.equal(sizes, suite[f"stream60_M7.size_after{t:02d}"])


@golden
@pytest.mark.parametrize("case", cases())
def test_the_oracle_itself_is_the_official_computation(case: str, suite: dict[str, torch.Tensor]) -> None:
    values, size = official(suite[f"{case}.bank_in"], suite[f"{case}.size_in"])
    assert torch.equal(size, suite[f"{case}.size_out"])
    torch.testing.assert_close(values, suite[f"{case}.bank_out"], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(
    frames=hnp.arrays(np.float32, st.tuples(st.integers(1, 24), st.integers(1, 4), st.integers(2, 5)),
                      elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])),
    length=st.integers(1, 8),
)  # fmt: skip
def test_appending_equals_recomputing(backend: str, frames: np.ndarray, length: int) -> None:
    """With values whose products and norms leave ties to rounding, only sums and order are compared on such ties."""
    rng = np.random.default_rng(7)
    frames = frames + rng.normal(0, 0.05, frames.shape).astype(np.float32)
    bank = TokenBank(length)
    plain: torch.Tensor | None = None
    size = torch.ones(1, 0, frames.shape[1])
    for frame in frames:
        bank.append(frame if backend == "numpy" else torch.from_numpy(frame))
        new = torch.from_numpy(frame)[None, None]
        plain = new if plain is None else torch.cat([plain, new], dim=1)
        size = torch.cat([size, torch.ones(1, 1, frames.shape[1])], dim=1)
        if plain.shape[1] > length:
            plain, size = official(plain, size)
    assert plain is not None
    assert torch.equal(torch.as_tensor(bank.sizes()), size[0])
    torch.testing.assert_close(torch.as_tensor(bank.features()), plain[0], atol=1e-4, rtol=1e-4)


def _joint_oracle(frames: np.ndarray, length: int, *, plain: bool) -> tuple[list[np.ndarray], list[list[int]]]:
    """Groups of frame numbers, merged by recomputing every similarity each time."""
    groups: list[list[int]] = []
    values: list[np.ndarray] = []
    for number, frame in enumerate(frames):
        groups.append([number])
        values.append(frame.astype(np.float64))
        if len(groups) > length:
            units = [v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-8) for v in values]
            alike = [(a * b).sum(-1).mean() for a, b in pairwise(units)]
            k = int(np.argmax(alike))
            a, b = (1, 1) if plain else (len(groups[k]), len(groups[k + 1]))
            values[k] = (values[k] * a + values[k + 1] * b) / (a + b)
            groups[k] += groups[k + 1]
            del groups[k + 1], values[k + 1]
    return values, groups


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("plain", [False, True])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), tokens=st.integers(1, 4), length=st.integers(1, 9))
def test_joint_slots_hold_whole_frames(
    backend: str, plain: bool, seed: int, count: int, tokens: int, length: int
) -> None:
    frames = np.random.default_rng(seed).normal(size=(count, tokens, 6)).astype(np.float32)
    bank = JointBank(length, plain=plain)
    for number, frame in enumerate(frames):
        span = Span(Moment(number * 10), Moment(number * 10 + 10))
        bank.append(frame if backend == "numpy" else torch.from_numpy(frame), span)
    values, groups = _joint_oracle(frames, length, plain=plain)
    assert bank.counts == [len(group) for group in groups]
    assert [(s.start, s.end) for s in bank.spans] == [(g[0] * 10, g[-1] * 10 + 10) for g in groups]
    assert all(peak in span for peak, span in zip(bank.peaks, bank.spans, strict=True))
    np.testing.assert_allclose(np.asarray(bank.features()), np.stack(values), atol=1e-4)


def test_a_bank_refuses_what_does_not_fit() -> None:
    bank = TokenBank(3)
    bank.append(np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        bank.append(np.ones((3, 4), np.float32))
    for kind in (TokenBank, JointBank):
        with pytest.raises(ValueError, match="at least one slot"):
            kind(0)


def test_nan_counts_as_most_similar_in_both_modes() -> None:
    frames = np.eye(4, dtype=np.float32)[:, None]
    frames[2] = np.nan
    tokens, joint = TokenBank(3), JointBank(3)
    for number, frame in enumerate(frames):
        tokens.append(frame)
        joint.append(frame, Span(Moment(number), Moment(number + 1)))
    assert tokens.sizes()[:, 0].tolist() == [1, 2, 1]
    assert joint.counts == [1, 2, 1]
