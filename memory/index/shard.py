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

LARGE = 32_768
"""A shard of so many entries is full: from then on a search visits some of its cells instead of scanning it."""
CELLS, PROBES = 512, 16


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

        order = np.argsort(columns.starts, kind="stable")
        index = _inverted(vectors) if len(columns) >= LARGE else _flat(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors[order]))
        return cls(columns.where(order), index)

    @property
    def inverted(self) -> bool:
        return hasattr(self.faiss, "nlist")

    def vectors(self) -> NDArray[np.float32]:
        """The vectors [N, D], as exactly as they are kept."""
        kept: NDArray[np.float32] = self.faiss.reconstruct_n(0, self.faiss.ntotal)
        return kept

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
        within = faiss.IDSelectorRange(first, last)
        if self.inverted:
            parameters: Any = faiss.SearchParametersIVF(sel=within, nprobe=PROBES)  # type: ignore[call-arg]
        else:
            parameters = faiss.SearchParameters(sel=within)  # type: ignore[call-arg]
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
        return Shard.build(self.columns.where(keep), self.vectors()[keep])


def _flat(dim: int) -> Any:
    """Every vector in half precision: exact search at the speed of memory."""
    import faiss

    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _inverted(vectors: NDArray[np.float32]) -> Any:
    """Vectors in half precision, in cells of which a search visits a few. (One byte per dimension was measured too:
    it is smaller by half, and alone costs 4 to 10 of 100 nearest neighbours, however many cells are visited.)"""
    import faiss

    dim = vectors.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim), dim, CELLS, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = 6
    sample = np.random.default_rng(0).choice(len(vectors), min(len(vectors), 40 * CELLS), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    index.make_direct_map()
    return index
