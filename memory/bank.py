"""MA-LMM's memory bank: a fixed number of slots; one more merges the most similar neighbours in time.

After He et al., "MA-LMM: Memory-Augmented Large Multimodal Model for Long-Term Video Understanding" (CVPR 2024),
section 3.2, as its code computes it: neighbours are compared by cosine, the first of the most similar pairs merges,
and the merged slot is the mean weighted by how many frames each side stands for (`plain=True`: the unweighted mean
that the paper writes).

`TokenBank` lets every token position merge on its own (what the MA-LMM system consumes); `JointBank` merges all
tokens of a frame together, so that a slot has one count and one span (what chapters consist of). Both keep the
similarities of neighbours: appending a frame computes the one that is new and the two beside a merge, never all.
NumPy and torch arrays, on any device, take the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ingest.records import Span

Array = Any
"""A NumPy array or a torch tensor."""

_EPSILON = 1e-8
"""Norms are not taken smaller than this, so zero vectors are similar to nothing (cosine 0)."""


class TokenBank:
    """A bank whose token positions merge independently ("independent" mode)."""

    def __init__(self, length: int, *, plain: bool = False) -> None:
        if length < 1:
            raise ValueError(f"a bank holds at least one slot, not {length}")
        self.length = length
        self._plain = plain
        self._filled = 0
        self._shape: tuple[int, ...] = ()
        self._values: Array = None  # [P, length + 1, C], rows in any order
        self._units: Array = None  # the same, each divided by its norm
        self._sizes: Array = None  # [P, length + 1] of those rows
        self._order: Array = None  # [P, length + 1]: the row of each slot, oldest first
        self._similar: Array = None  # [P, length]: slot t to slot t + 1

    def __len__(self) -> int:
        return self._filled

    def append(self, frame: Array) -> None:
        """Add a frame [..., C]; merges one pair per position when the bank is full."""
        tokens = frame.reshape(-1, frame.shape[-1])
        xp = _namespace(frame)
        if self._values is None:
            self._allocate(xp, tokens, tuple(frame.shape))
        elif tuple(frame.shape) != self._shape:
            raise ValueError(f"a frame of shape {tuple(frame.shape)} does not fit a bank of {self._shape}")
        elif (wider := xp.promote_types(self._values.dtype, tokens.dtype)) != self._values.dtype:
            self._convert(xp, wider)
        self._push(xp, _cast(tokens, self._values.dtype), 1)
        if self._filled > self.length:
            self._merge(xp)

    def load(self, features: Array, sizes: Array) -> None:
        """Replace the content by slots [T, ..., C] that stand for `sizes` [T, ...] frames; merges while T > length."""
        xp = _namespace(features)
        self._values, self._filled = None, 0
        for t in range(len(features)):
            tokens = features[t].reshape(-1, features.shape[-1])
            if t == 0:
                self._allocate(xp, tokens, tuple(features.shape[1:]), sizes.dtype)
            self._push(xp, _cast(tokens, self._values.dtype), sizes[t].reshape(-1))
            if self._filled > self.length:
                self._merge(xp)

    def features(self) -> Array:
        """The slots [T, ..., C], oldest first."""
        xp = _namespace(self._values)
        ordered = self._values[self._positions[:, None], self._order[:, : self._filled]]
        return xp.moveaxis(ordered, 1, 0).reshape(self._filled, *self._shape)

    def sizes(self) -> Array:
        """How many frames each slot stands for [T, ...], oldest first."""
        xp = _namespace(self._values)
        ordered = self._sizes[self._positions[:, None], self._order[:, : self._filled]]
        return xp.moveaxis(ordered, 1, 0).reshape(self._filled, *self._shape[:-1])

    def _allocate(self, xp: Any, tokens: Array, shape: tuple[int, ...], size_dtype: Any = None) -> None:
        count, width = tokens.shape
        here = {} if xp is np else {"device": tokens.device}
        rows = self.length + 1
        self._shape = shape
        self._values = xp.empty((count, rows, width), dtype=tokens.dtype, **here)
        self._units = xp.empty((count, rows, width), dtype=tokens.dtype, **here)
        self._sizes = xp.ones((count, rows), dtype=size_dtype or xp.float32, **here)
        self._similar = xp.zeros((count, self.length), dtype=tokens.dtype, **here)
        self._order = xp.zeros((count, rows), dtype=xp.int64, **here) + xp.arange(rows, **here)
        self._positions = xp.arange(count, **here)
        self._steps = xp.arange(rows, **here)

    def _convert(self, xp: Any, dtype: Any) -> None:
        self._values = _cast(self._values, dtype)
        self._units = _unit(xp, self._values)
        self._similar = _cast(self._similar, dtype)
        for t in range(1, self._filled):
            at, before = self._order[:, t], self._order[:, t - 1]
            self._similar[:, t - 1] = _dot(xp, self._unit(before), self._unit(at))

    def _unit(self, rows: Array) -> Array:
        return self._units[self._positions, rows]

    def _push(self, xp: Any, tokens: Array, size: Array | int) -> None:
        row = self._order[:, self._filled]
        unit = _unit(xp, tokens)
        self._values[self._positions, row] = tokens
        self._units[self._positions, row] = unit
        self._sizes[self._positions, row] = size
        if self._filled:
            last = self._order[:, self._filled - 1]
            self._similar[:, self._filled - 1] = _dot(xp, self._unit(last), unit)
        self._filled += 1

    def _merge(self, xp: Any) -> None:
        pairs = self._filled - 1
        k = _first_largest(xp, self._similar[:, :pairs], self._steps[:pairs])
        here = self._positions
        kept, gone = self._order[here, k], self._order[here, k + 1]
        merged, size = self._mean(here, kept, gone)
        if merged.dtype != self._values.dtype:
            self._convert(xp, merged.dtype)
        unit = _unit(xp, merged)
        self._values[here, kept] = merged
        self._units[here, kept] = unit
        self._sizes[here, kept] = size
        steps = self._steps[None, :-1]
        self._order[:, :-1] = xp.where(steps <= k[:, None], self._order[:, :-1], self._order[:, 1:])
        self._order[:, -1] = gone
        self._similar[:, :-1] = xp.where(steps[:, :-1] < k[:, None], self._similar[:, :-1], self._similar[:, 1:])
        self._filled -= 1
        self._compare(xp, k, unit)

    def _mean(self, here: Array, kept: Array, gone: Array) -> tuple[Array, Array]:
        left, right = self._values[here, kept], self._values[here, gone]
        left_size, right_size = self._sizes[here, kept], self._sizes[here, gone]
        size = left_size + right_size
        if self._plain:
            return (left + right) / 2, size
        # multiplied in the bank's own type, divided in the wider one: how the original rounds half precision
        dtype = self._values.dtype
        total = _cast(left * left_size[:, None], dtype) + _cast(right * right_size[:, None], dtype)
        return total / size[:, None], size

    def _compare(self, xp: Any, k: Array, unit: Array) -> None:
        """Similarities of the merged slots `k` to their neighbours."""
        here, last = self._positions, self._filled - 1
        before = xp.clip(k - 1, 0, last)
        after = xp.clip(k + 1, 0, last)
        left = _dot(xp, self._unit(self._order[here, before]), unit)
        right = _dot(xp, unit, self._unit(self._order[here, after]))
        inner = k > 0
        self._similar[here[inner], k[inner] - 1] = left[inner]
        inner = k < last
        self._similar[here[inner], k[inner]] = right[inner]


class JointBank:
    """A bank whose slots hold whole frames [..., C] ("joint" mode): one count, one span, one peak per slot.

    Two slots are as similar as the mean of their tokens' cosines. `spans` cover what was merged; `peaks` are the
    moments of the frames that started the larger side of every merge, the most typical ones.
    """

    def __init__(self, length: int, *, plain: bool = False) -> None:
        if length < 1:
            raise ValueError(f"a bank holds at least one slot, not {length}")
        self.length = length
        self._plain = plain
        self._values: Array = None
        self._units: Array = None
        self._order: list[int] = []
        self._similar: list[float] = []
        self.counts: list[int] = []
        self.spans: list[Span] = []
        self.peaks: list[int] = []

    def __len__(self) -> int:
        return len(self._order)

    def append(self, frame: Array, span: Span, *, count: int = 1, peak: int | None = None) -> int | None:
        """Add a frame, or a slot that stands for `count` frames. Returns which slot merged with its successor."""
        xp = _namespace(frame)
        if self._values is None:
            here = {} if xp is np else {"device": frame.device}
            shape = (self.length + 1, *frame.shape)
            self._values, self._units = (xp.empty(shape, dtype=frame.dtype, **here) for _ in range(2))
            self._free = 0
        row = self._free
        self._free = row + 1
        self._values[row] = frame
        self._units[row] = _unit(xp, frame)
        if self._order:
            self._similar.append(self._similarity(self._order[-1], row))
        self._order.append(row)
        self.counts.append(count)
        self.spans.append(span)
        self.peaks.append(span.start if peak is None else peak)
        return self._merge(xp) if len(self._order) > self.length else None

    def features(self) -> Array:
        """The slots [T, ..., C], oldest first."""
        return self._values[self._order]

    def _similarity(self, left: int, right: int) -> float:
        product = (self._units[left] * self._units[right]).sum(-1)
        return float(product.mean()) if product.ndim else float(product)

    def _merge(self, xp: Any) -> int:
        k = _first_largest_of(self._similar)
        kept, gone = self._order[k], self._order[k + 1]
        left, right = (1, 1) if self._plain else (self.counts[k], self.counts[k + 1])
        self._values[kept] = (self._values[kept] * left + self._values[gone] * right) / (left + right)
        self._units[kept] = _unit(xp, self._values[kept])
        if self.counts[k + 1] > self.counts[k]:
            self.peaks[k] = self.peaks[k + 1]
        self.counts[k] += self.counts[k + 1]
        self.spans[k] = self.spans[k].hull(self.spans[k + 1])
        for column in (self._order, self.counts, self.spans, self.peaks):
            del column[k + 1]
        del self._similar[k]
        self._free = gone
        if k > 0:
            self._similar[k - 1] = self._similarity(self._order[k - 1], kept)
        if k < len(self._similar):
            self._similar[k] = self._similarity(kept, self._order[k + 1])
        return k


def _namespace(array: Array) -> Any:
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _cast(array: Array, dtype: Any) -> Array:
    if array.dtype == dtype:
        return array
    return array.astype(dtype) if isinstance(array, np.ndarray) else array.to(dtype)


def _unit(xp: Any, vectors: Array) -> Array:
    """Vectors [..., C] over their norms."""
    norms = xp.linalg.vector_norm(vectors, axis=-1, keepdims=True)
    return vectors / xp.clip(norms, _EPSILON, None)


def _dot(xp: Any, left: Array, right: Array) -> Array:
    """Inner products of [P, C] with [P, C]."""
    if left.dtype.itemsize < 4:
        return (left * right).sum(-1)
    return xp.einsum("pc,pc->p", left, right)


def _first_largest(xp: Any, values: Array, steps: Array) -> Array:
    """Index of the first maximum along the last axis; NaN counts as the maximum."""
    if xp is np:
        return values.argmax(axis=-1)
    top = values.amax(dim=-1, keepdim=True)
    largest = (values == top) | values.isnan()
    return xp.where(largest, steps, values.shape[-1]).amin(dim=-1)


def _first_largest_of(values: Sequence[float]) -> int:
    best = 0
    for index, value in enumerate(values):
        if value != value:  # noqa: PLR0124 NaN is the one value unlike itself
            return index
        if value > values[best]:
            best = index
    return best
