"""The index by FAISS: per stream, shards in time order and a small live tail.

The tail is scanned with NumPy and becomes a shard when it is full. A snapshot is one file of vectors and columns per
shard, and a manifest with the SHA-256 of each: FAISS itself loads damaged files without noticing.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from ingest.errors import StoreCorrupt
from ingest.records import Moment, Scope, Span, StreamId, Vector
from memory import durable
from memory.index.protocol import Entries, Match
from memory.index.shard import Columns, Shard

_TAIL = 4096
"""Entries of a stream that are scanned before they become a shard."""
_MANIFEST = "manifest.json"


class FaissIndex:
    """`VectorIndex` in immutable shards, one lane per stream."""

    def __init__(self, dim: int, probe: Callable[[str], None] = lambda _point: None) -> None:
        self._dim = dim
        self._probe = probe
        self._lock = RLock()
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._streams: dict[StreamId, Lane] = defaultdict(Lane)
        self._homes: dict[int, tuple[StreamId, int]] = {}

    def add(self, entries: Entries) -> None:
        with self._lock:
            self.remove([entries.owner])
            number = len(self._names)
            self._names.append(entries.owner)
            self._numbers[entries.owner] = number
            self._homes[number] = entries.stream, len(entries.starts)
            owners = np.full(len(entries.starts), number, np.int64)
            ordinals = np.arange(len(owners), dtype=np.int64)
            columns = Columns(entries.starts.astype(np.int64), entries.ends.astype(np.int64), owners, ordinals)
            self._streams[entries.stream].add(columns, np.asarray(entries.vectors, np.float32))

    def remove(self, owners: Collection[str]) -> int:
        with self._lock:
            numbers = [self._numbers.pop(owner) for owner in owners if owner in self._numbers]
            homes = [self._homes.pop(number) for number in numbers]
            for stream in {stream for stream, _ in homes}:
                self._streams[stream].remove(np.array(numbers, np.int64))
        return sum(count for _, count in homes)

    def search(self, vector: Vector, scope: Scope, limit: int) -> list[Match]:
        vector = np.ascontiguousarray(vector, np.float32)
        with self._lock:
            wanted = scope.streams or tuple(self._streams)
            lanes = [(stream, self._streams[stream].parts()) for stream in wanted if stream in self._streams]
            names = self._names
        found: list[Match] = []
        for stream, parts in lanes:
            for part in parts:
                scores, positions = part.search(vector, scope.span, limit)
                columns = part.columns
                for score, at in zip(scores.tolist(), positions.tolist(), strict=True):
                    span = Span(Moment(int(columns.starts[at])), Moment(int(columns.ends[at])))
                    owner = names[columns.owners[at]]
                    found.append(Match(owner, int(columns.ordinals[at]), stream, span, score))
        return sorted(found, key=lambda match: -match.score)[:limit]

    def owners(self) -> Mapping[str, int]:
        with self._lock:
            return {owner: self._homes[number][1] for owner, number in self._numbers.items()}

    def snapshot(self, folder: Path) -> None:
        with self._lock:
            lanes = {stream: lane.consolidated() for stream, lane in self._streams.items()}
            names = list(self._names)
        files: dict[str, dict[str, str]] = {}
        for stream, shards in lanes.items():
            for shard in shards:
                data = _encode(shard, names)
                name = f"{hashlib.sha256(data).hexdigest()[:32]}.shard"
                known = (folder / name).exists()
                sha256 = hashlib.sha256(data).hexdigest() if known else durable.write(folder / name, data, self._probe)
                files[name] = {"stream": stream, "sha256": sha256}
        self._probe("during snapshot")
        manifest = json.dumps({"dim": self._dim, "files": files}, indent=1).encode()
        signed = hashlib.sha256(manifest).hexdigest().encode() + b"\n" + manifest
        durable.write(folder / _MANIFEST, signed, self._probe)
        for stale in folder.glob("*.shard"):
            if stale.name not in files:
                durable.delete(stale)

    @classmethod
    def load(cls, folder: Path, dim: int, probe: Callable[[str], None] = lambda _point: None) -> FaissIndex:
        """What `snapshot` wrote. Raises `StoreCorrupt` when it is missing, damaged or of other vectors."""
        try:
            signature, manifest = (folder / _MANIFEST).read_bytes().split(b"\n", 1)
            if hashlib.sha256(manifest).hexdigest().encode() != signature:
                raise ValueError("its manifest is damaged")
            content = json.loads(manifest)
            if content["dim"] != dim:
                raise ValueError(f"it holds vectors of {content['dim']} dimensions")
        except (OSError, ValueError, KeyError) as error:
            raise StoreCorrupt(f"The index snapshot cannot be used: {error}.", advice="It is rebuilt.") from error
        index = cls(dim, probe)
        for name, file in content["files"].items():
            index._adopt(StreamId(file["stream"]), durable.read(folder / name, file["sha256"]))
        return index

    def _adopt(self, stream: StreamId, data: bytes) -> None:
        shard, owners = _decode(data)
        numbers = []
        for owner in owners:
            if owner not in self._numbers:
                self._numbers[owner] = len(self._names)
                self._homes[len(self._names)] = stream, 0
                self._names.append(owner)
            numbers.append(self._numbers[owner])
        columns = shard.columns
        renumbered = np.array(numbers, np.int64)[columns.owners]
        for number, count in zip(*np.unique(renumbered, return_counts=True), strict=True):
            self._homes[int(number)] = stream, self._homes[int(number)][1] + int(count)
        shard.columns = Columns(columns.starts, columns.ends, renumbered, columns.ordinals)
        self._streams[stream].shards.append(shard)


class Tail:
    """Entries that are not in a shard yet, scanned exactly."""

    def __init__(self, columns: Columns, vectors: Any) -> None:
        self.columns = columns
        self.vectors = vectors

    def search(self, vector: Vector, span: Span | None, limit: int) -> tuple[Any, Any]:
        inside = np.arange(len(self.columns))
        if span is not None:
            inside = inside[(self.columns.starts < span.end) & (self.columns.ends > span.start)]
        scores = self.vectors[inside] @ vector
        best = np.argsort(-scores, kind="stable")[:limit]
        return scores[best], inside[best]


class Lane:
    """The entries of one stream."""

    def __init__(self) -> None:
        self.shards: list[Shard] = []
        self._tail: list[Tail] = []

    def parts(self) -> list[Shard | Tail]:
        if len(self._tail) > 1:
            self._tail = [self._joined_tail()]
        return [*self.shards, *self._tail]

    def add(self, columns: Columns, vectors: Any) -> None:
        self._tail.append(Tail(columns, vectors))
        if sum(len(part.columns) for part in self._tail) >= _TAIL:
            self.consolidated()

    def remove(self, numbers: Any) -> None:
        for at, shard in enumerate(self.shards):
            if np.isin(shard.columns.owners, numbers).any():
                self.shards[at] = shard.without(numbers)
        self.shards = [shard for shard in self.shards if len(shard.columns)]
        kept = []
        for part in self._tail:
            keep = ~np.isin(part.columns.owners, numbers)
            if keep.any():
                kept.append(Tail(part.columns.where(keep), part.vectors[keep]))
        self._tail = kept

    def consolidated(self) -> list[Shard]:
        """All entries as shards: the tail joins the last one until that is full."""
        if self._tail:
            tail = self._joined_tail()
            columns, vectors = tail.columns, tail.vectors
            if self.shards and not self.shards[-1].inverted:
                last = self.shards.pop()
                columns = Columns.joined([last.columns, columns])
                vectors = np.concatenate([last.vectors(), vectors])
            self.shards.append(Shard.build(columns, vectors))
            self._tail = []
        return list(self.shards)

    def _joined_tail(self) -> Tail:
        columns = Columns.joined([part.columns for part in self._tail])
        return Tail(columns, np.concatenate([part.vectors for part in self._tail]))


def _encode(shard: Shard, names: list[str]) -> bytes:
    import faiss
    from safetensors.numpy import save

    columns = shard.columns
    used, local = np.unique(columns.owners, return_inverse=True)
    owners = json.dumps([names[number] for number in used]).encode()
    return save(
        {
            "faiss": faiss.serialize_index(shard.faiss),
            "columns": np.stack([columns.starts, columns.ends, local.astype(np.int64), columns.ordinals]),
            "owners": np.frombuffer(owners, np.uint8),
        }
    )


def _decode(data: bytes) -> tuple[Shard, list[str]]:
    import faiss
    from safetensors.numpy import load

    tensors = load(data)
    columns = Columns(*tensors["columns"])
    return Shard(columns, faiss.deserialize_index(tensors["faiss"])), json.loads(tensors["owners"].tobytes())
