"""The seam `VectorIndex`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.questions import Scope
from ingest.records import Span, StreamId, Vector


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Vectors of one owner (a chapter's revision): float32 [N, D], and int64 [N] starts and ends."""

    owner: str
    stream: StreamId
    vectors: NDArray[np.float32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Match:
    """The `ordinal`-th entry of `owner` and its inner product with the query."""

    owner: str
    ordinal: int
    stream: StreamId
    span: Span
    score: float


class VectorIndex(Protocol):
    """Vectors with a stream and a span, searched by inner product. Safe to search while another thread adds."""

    def add(self, entries: Entries) -> None:
        """Make entries findable at once; entries that owner had before are replaced."""

    def remove(self, owners: Collection[str]) -> int:
        """Forget everything of these owners. How many entries went."""

    def search(self, vector: Vector, scope: Scope, limit: int) -> list[Match]:
        """The best entries among those whose stream and span lie in the scope, best first."""

    def owners(self) -> Mapping[str, int]:
        """Who is in it, with how many entries."""

    def snapshot(self, folder: Path) -> None:
        """Write everything under `folder`, durably, so that `load` need not rebuild it."""
