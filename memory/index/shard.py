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

SMALL, LARGE = 16_384, 65_536
"""A shard of so many entries is divided into cells; shards that have so many together become one."""
PER_CELL, PROBES = 128, 20
"""Entries of a cell, and how many cells a search visits."""


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

    def rows(self, positions: Ints) -> Ints:
        """All four of some entries: int64 [4, N]."""
        return np.stack([column[positions] for column in (self.starts, self.ends, self.owners, self.ordinals)])

    @classmethod
    def joined(cls, parts: list[Columns]) -> Columns:
        names = ("starts", "ends", "owners", "ordinals")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class Shard:
    """Immutable but for removals."""

    def __init__(self, columns: Columns, faiss_index: Any) -> None:
        self.columns = columns
        self.faiss = faiss_index
        self.sha256 = ""
        """Of the file it was written to, once it was."""
        self._latest = np.maximum.accumulate(columns.ends) if len(columns) else columns.ends

    @classmethod
    def build(cls, columns: Columns, vectors: NDArray[np.float32], like: Any = None) -> Shard:
        """Of entries in any order; in the cells of an index that is `like` it, if that has any."""
        order = np.argsort(columns.starts, kind="stable")
        index = like or (_inverted(vectors) if len(columns) >= SMALL else _flat(vectors.shape[1]))
        index.add(np.ascontiguousarray(vectors[order]))
        return cls(columns.where(order), index)

    @property
    def inverted(self) -> bool:
        return hasattr(self.faiss, "nlist")

    @property
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
        chosen = self._selector(first, last, span)
        if self.inverted:
            probes = PROBES
            if last - first < len(self.columns):  # a filter on time leaves little of a cell: more of them are visited
                probes = min(self.faiss.nlist, 4 * PROBES * len(self.columns) // (last - first))
            parameters: Any = faiss.SearchParametersIVF(sel=chosen, nprobe=probes)  # type: ignore[call-arg]
        else:
            parameters = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        scores, positions = self.faiss.search(vector[None], min(limit, last - first), params=parameters)
        found = positions[0] >= 0
        return scores[0][found], positions[0][found]

    def _selector(self, first: int, last: int, span: Span | None) -> Any:
        """None for all, which is fastest, else a run of positions; only where a long entry lies over shorter ones that
        ended, one by one."""
        import faiss

        if span is None or (touching := self.columns.ends[first:last] > span.start).all():
            return None if last - first == len(self.columns) else faiss.IDSelectorRange(first, last)
        mask = np.zeros(len(self.columns), np.bool_)
        mask[first:last] = touching
        return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg, arg-type]

    def without(self, owners: Ints) -> Shard:
        """The shard less the entries of these owners."""
        keep = ~np.isin(self.columns.owners, owners)
        like = _emptied(self.faiss) if self.inverted and 2 * keep.sum() >= len(keep) else None
        return Shard.build(self.columns.where(keep), self.vectors[keep], like)


def _flat(dim: int) -> Any:
    """Every vector in half precision: exact search at the speed of memory."""
    import faiss

    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _inverted(vectors: NDArray[np.float32]) -> Any:
    """Vectors in half precision, in cells of which a search visits a few. (One byte per dimension was measured too:
    it is smaller by half, and alone costs 4 to 10 of 100 nearest neighbours, however many cells are visited.)"""
    import faiss

    dim, cells = vectors.shape[1], len(vectors) // PER_CELL
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim), dim, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = 4
    sample = np.random.default_rng(0).choice(len(vectors), min(len(vectors), 40 * cells), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def _emptied(index: Any) -> Any:
    """The same cells with nothing in them: finding cells anew is what takes long."""
    import faiss

    cells = faiss.clone_index(index)
    cells.reset()
    return cells
