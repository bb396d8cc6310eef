"""Every bank, on every kind of array, computes what the official code does: its tensors, and plain recomputation."""

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
no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
BACKENDS = ["numpy", "torch", pytest.param("cuda", marks=no_cuda)]


def official(bank: torch.Tensor, size: torch.Tensor, *, plain: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """One compression as the specification describes it: everything recomputed. [B, T, N, C], [B, T, N]. `plain`: the
    mean that the paper writes, which counts no frames."""
    similarity = torch.nn.functional.cosine_similarity(bank[:, :-1], bank[:, 1:], dim=-1)
    k = similarity.max(dim=1, keepdim=True).indices
    steps = torch.arange(bank.shape[1]).reshape(1, -1, 1)
    weights = torch.ones_like(size) if plain else size
    weighted = (bank * weights[..., None]).to(bank.dtype)
    source = torch.gather(weighted, 1, (k + 1)[..., None].expand(-1, -1, -1, bank.shape[-1]))
    source_size, source_weight = torch.gather(size, 1, k + 1), torch.gather(weights, 1, k + 1)
    keep = steps != k + 1
    here = steps == k
    weighted = torch.where(here[..., None], weighted + source, weighted)
    size = torch.where(here, size + source_size, size)
    weights = torch.where(here, weights + source_weight, weights)
    batch, length, tokens, width = bank.shape

    def kept(values: torch.Tensor, *tail: int) -> torch.Tensor:
        mask = keep.expand(batch, length, tokens).transpose(1, 2)
        return values.transpose(1, 2)[mask].reshape(batch, tokens, length - 1, *tail).transpose(1, 2)

    return kept(weighted, width) / kept(weights)[..., None], kept(size)


def cases() -> list[str]:
    if not SUITE.exists():
        return []
    manifest = json.loads((SUITE / "manifest.json").read_text())
    return sorted(manifest["files"]["compress_suite.safetensors"]["meta"]["cases"])


@pytest.fixture(scope="module")
def suite() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(SUITE / "compress_suite.safetensors")


def native(array: torch.Tensor | np.ndarray, backend: str) -> torch.Tensor | np.ndarray:
    """The array as this implementation takes it."""
    tensor = torch.as_tensor(array)
    if backend != "numpy":
        return tensor.to("cpu" if backend == "torch" else backend)
    if tensor.dtype == torch.bfloat16:
        pytest.skip("NumPy has no bfloat16")
    return tensor.numpy()


def common(ours: torch.Tensor | np.ndarray) -> torch.Tensor:
    """What a bank gave, where it can be compared."""
    return torch.as_tensor(ours).cpu()


def _close(tensor: torch.Tensor, theirs: torch.Tensor, source: torch.dtype = torch.float32) -> None:
    """Half-precision banks: the original rounds untouched entries once more, by one step of their type."""
    tolerance = 1e-6 if source in {torch.float32, torch.float64} else torch.finfo(source).eps
    assert tensor.dtype == theirs.dtype
    torch.testing.assert_close(tensor, theirs, atol=tolerance, rtol=tolerance, equal_nan=True)


@golden
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", cases())
def test_one_compression_is_the_official_one(case: str, backend: str, suite: dict[str, torch.Tensor]) -> None:
    before, size = suite[f"{case}.bank_in"], suite[f"{case}.size_in"]
    bank = TokenBank(suite[f"{case}.bank_out"].shape[1])
    bank.load(native(before.transpose(0, 1), backend), native(size.transpose(0, 1), backend))
    assert torch.equal(common(bank.sizes()).transpose(0, 1), suite[f"{case}.size_out"])
    _close(common(bank.features()).transpose(0, 1), suite[f"{case}.bank_out"], before.dtype)


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
        bank.append(native(frames[:, t], backend))
        if f"stream60_M7.bank_after{t:02d}" in suite:
            _close(common(bank.features()).transpose(0, 1), suite[f"stream60_M7.bank_after{t:02d}"])
            sizes = common(bank.sizes()).transpose(0, 1)
            assert torch.equal(sizes, suite[f"stream60_M7.size_after{t:02d}"])


@golden
@pytest.mark.parametrize("case", cases())
def test_the_oracle_itself_is_the_official_computation(case: str, suite: dict[str, torch.Tensor]) -> None:
    values, size = official(suite[f"{case}.bank_in"], suite[f"{case}.size_in"])
    assert torch.equal(size, suite[f"{case}.size_out"])
    torch.testing.assert_close(values, suite[f"{case}.bank_out"], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("paper", [False, True])
@settings(max_examples=60)
@given(
    frames=hnp.arrays(np.float32, st.tuples(st.integers(1, 24), st.integers(1, 4), st.integers(2, 5)),
                      elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])),
    length=st.integers(1, 8),
)  # fmt: skip
def test_appending_equals_recomputing(backend: str, paper: bool, frames: np.ndarray, length: int) -> None:
    """With values whose products and norms leave ties to rounding, only sums and order are compared on such ties."""
    rng = np.random.default_rng(7)
    frames = frames + rng.normal(0, 0.05, frames.shape).astype(np.float32)
    bank = TokenBank(length, plain=paper)
    plain: torch.Tensor | None = None
    size = torch.ones(1, 0, frames.shape[1])
    for frame in frames:
        bank.append(native(frame, backend))
        new = torch.from_numpy(frame)[None, None]
        plain = new if plain is None else torch.cat([plain, new], dim=1)
        size = torch.cat([size, torch.ones(1, 1, frames.shape[1])], dim=1)
        if plain.shape[1] > length:
            plain, size = official(plain, size, plain=paper)
    assert plain is not None
    assert torch.equal(common(bank.sizes()), size[0])
    torch.testing.assert_close(common(bank.features()), plain[0], atol=1e-4, rtol=1e-4)


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
@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), tokens=st.integers(1, 4), length=st.integers(1, 9))
def test_joint_slots_hold_whole_frames(
    backend: str, plain: bool, seed: int, count: int, tokens: int, length: int
) -> None:
    frames = np.random.default_rng(seed).normal(size=(count, tokens, 6)).astype(np.float32)
    bank = JointBank(length, plain=plain)
    for number, frame in enumerate(frames):
        span = Span(Moment(number * 10), Moment(number * 10 + 10))
        bank.append(native(frame, backend), span)
    values, groups = _joint_oracle(frames, length, plain=plain)
    assert bank.counts == [len(group) for group in groups]
    assert [(s.start, s.end) for s in bank.spans] == [(g[0] * 10, g[-1] * 10 + 10) for g in groups]
    assert all(peak in span for peak, span in zip(bank.peaks, bank.spans, strict=True))
    np.testing.assert_allclose(common(bank.features()).numpy(), np.stack(values), atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bank_refuses_what_does_not_fit(backend: str) -> None:
    bank = TokenBank(3)
    bank.append(native(np.ones((2, 4), np.float32), backend))
    with pytest.raises(ValueError, match="does not fit"):
        bank.append(native(np.ones((3, 4), np.float32), backend))
    for kind in (TokenBank, JointBank):
        with pytest.raises(ValueError, match="at least one slot"):
            kind(0)


def appended(bank: TokenBank | JointBank, frames: np.ndarray, backend: str) -> list[int]:
    """How many frames the slots stand for once all are appended."""
    for number, frame in enumerate(frames):
        if isinstance(bank, JointBank):
            bank.append(native(frame, backend), Span(Moment(number), Moment(number + 1)))
        else:
            bank.append(native(frame, backend))
    counts: list[int] = bank.counts if isinstance(bank, JointBank) else common(bank.sizes())[:, 0].int().tolist()
    return counts


MODES = [TokenBank, JointBank]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("plain", [False, True])
def test_nan_counts_as_most_similar(mode: type, plain: bool, backend: str) -> None:
    frames = np.eye(4, dtype=np.float32)[:, None]
    frames[2] = np.nan
    assert appended(mode(3, plain=plain), frames, backend) == [1, 2, 1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
def test_of_equal_pairs_the_first_merges_and_zero_is_like_nothing(mode: type, backend: str) -> None:
    frames = np.eye(3, dtype=np.float32)[[0, 0, 1, 1], None]
    assert appended(mode(3), frames, backend) == [2, 1, 1]
    frames = np.stack([np.zeros((1, 3)), np.zeros((1, 3)), *np.eye(3)[[0, 0], None]]).astype(np.float32)
    assert appended(mode(3), frames, backend) == [1, 1, 2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("plain", "expected"), [(False, 2.0), (True, 2.5)])
def test_the_paper_takes_the_mean_of_the_two_and_the_code_that_of_all_frames(
    mode: type, plain: bool, expected: float, backend: str
) -> None:
    bank = mode(1, plain=plain)
    assert appended(bank, np.array([[[1.0]], [[1.0]], [[4.0]]], np.float32), backend) == [3]
    assert float(common(bank.features()).item()) == expected
