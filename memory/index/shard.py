"""A run of entries of one stream in time order, searched by FAISS.

Entries of a time range are then a contiguous run of positions, which a flat index scans alone: a filter on time makes
a search cheaper, never worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.records import Span, Vector

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Who the entries are: int64 [N] starts, ends, owner numbers and ordinals, in order of their starts."""

    starts: Ints
    ends: Ints
    owners: Ints
    ordinals: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, chosen: NDArray[Any]) -> Columns:
        return Columns(self.starts[chosen], self.ends[chosen], self.owners[chosen], self.ordinals[chosen])

    @classmethod
    def joined(cls, parts: list[Columns]) -> Columns:
        names = ("starts", "ends", "owners", "ordinals")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class Shard:
    """Immutable but for removals."""

    def __init__(self, columns: Columns, faiss_index: Any) -> None:
        self.columns = columns
        self.faiss = faiss_index
        self._latest = np.maximum.accumulate(columns.ends) if len(columns) else columns.ends

    @classmethod
    def build(cls, columns: Columns, vectors: NDArray[np.float32]) -> Shard:
        """Of entries in any order."""
        import faiss

        order = np.argsort(columns.starts, kind="stable")
        index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.add(np.ascontiguousarray(vectors[order]))
        return cls(columns.where(order), index)

    def run(self, span: Span | None) -> tuple[int, int]:
        """The positions [first, last) outside of which no entry overlaps `span`."""
        if span is None:
            return 0, len(self.columns)
        first = int(np.searchsorted(self._latest, span.start, side="right"))
        return first, int(np.searchsorted(self.columns.starts, span.end, side="left"))

    def search(self, vector: Vector, span: Span | None, limit: int) -> tuple[NDArray[np.float32], Ints]:
        """Scores and positions of the best entries that overlap `span`, best first."""
        import faiss

        first, last = self.run(span)
        if first >= last:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorRange(first, last))  # type: ignore[call-arg]
        scores, positions = self.faiss.search(vector[None], min(limit, last - first), params=parameters)
        found = positions[0] >= 0
        scores, positions = scores[0][found], positions[0][found]
        if span is not None:
            touching = self.columns.ends[positions] > span.start
            scores, positions = scores[touching], positions[touching]
        return scores, positions

    def without(self, owners: Ints) -> Shard:
        """The shard less the entries of these owners."""
        keep = ~np.isin(self.columns.owners, owners)
        vectors = self.faiss.reconstruct_n(0, self.faiss.ntotal)
        return Shard.build(self.columns.where(keep), vectors[keep])
