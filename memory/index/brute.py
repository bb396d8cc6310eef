"""Exact search by scanning everything: right for small memories, and the oracle for the other index."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from threading import Lock

import numpy as np

from ingest.questions import Scope
from ingest.records import Moment, Span, Vector
from memory.index.protocol import Entries, Match


class BruteIndex:
    """`VectorIndex` without an index."""

    def __init__(self) -> None:
        self._entries: dict[str, Entries] = {}
        self._lock = Lock()

    def add(self, entries: Entries) -> None:
        with self._lock:
            self._entries[entries.owner] = entries

    def remove(self, owners: Collection[str]) -> int:
        with self._lock:
            gone = [self._entries.pop(owner) for owner in owners if owner in self._entries]
        return sum(len(entries.starts) for entries in gone)

    def search(self, vector: Vector, scope: Scope, limit: int) -> list[Match]:
        with self._lock:
            everything = list(self._entries.values())
        found: list[Match] = []
        for entries in everything:
            if scope.streams and entries.stream not in scope.streams:
                continue
            inside = np.arange(len(entries.starts))
            if scope.span is not None:
                touches = (entries.starts < scope.span.end) & (entries.ends > scope.span.start)
                inside = inside[touches]
            scores = entries.vectors[inside] @ vector
            for ordinal, score in zip(inside, scores, strict=True):
                span = Span(Moment(int(entries.starts[ordinal])), Moment(int(entries.ends[ordinal])))
                found.append(Match(entries.owner, int(ordinal), entries.stream, span, float(score)))
        return sorted(found, key=lambda match: -match.score)[:limit]

    def owners(self) -> Mapping[str, int]:
        with self._lock:
            return {owner: len(entries.starts) for owner, entries in self._entries.items()}

    def snapshot(self, folder: Path) -> None:
        """Nothing: it is rebuilt in the time it takes to read it."""
