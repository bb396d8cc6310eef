"""The index by FAISS: per stream, shards in time order and a small live tail.

The tail is scanned with NumPy and becomes a shard when it is full. A snapshot is one file of vectors and columns per
shard, and a manifest with the SHA-256 of each: FAISS itself loads damaged files without noticing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import StoreCorrupt
from ingest.questions import Scope
from ingest.records import Moment, Span, StreamId, Vector
from memory import durable
from memory.index.protocol import Entries, Match
from memory.index.shard import LARGE, SMALL, Columns, Shard

_TAIL = 4096
"""Entries of a stream that are scanned before they become a shard."""
_MANIFEST = "manifest.json"
_READERS = 2
"""Shards of a snapshot that are read and checked at a time."""


@dataclass(frozen=True, slots=True)
class Home:
    """Whose entries are, and in which lane how many."""

    owner: str
    stream: StreamId
    entries: int


class FaissIndex:
    """`VectorIndex` in immutable shards, one lane per stream.

    Who writes waits for others that write; a search waits for nobody: it takes the parts that are there.
    """

    def __init__(self, dim: int, probe: Callable[[str], None] = lambda _point: None) -> None:
        self._dim = dim
        self._probe = probe
        self._writing = RLock()
        self._counted = count()
        self._numbers: dict[str, int] = {}
        self._homes: dict[int, Home] = {}
        self._lanes: Mapping[StreamId, Lane] = {}

    def add(self, entries: Entries) -> None:
        with self._writing:
            self.remove([entries.owner])
            number = self._numbered(entries.owner, entries.stream, len(entries.starts))
            owners = np.full(len(entries.starts), number, np.int64)
            ordinals = np.arange(len(owners), dtype=np.int64)
            columns = Columns(entries.starts.astype(np.int64), entries.ends.astype(np.int64), owners, ordinals)
            self._lane(entries.stream).add(columns, np.asarray(entries.vectors, np.float32))

    def remove(self, owners: Collection[str]) -> int:
        with self._writing:
            gone = {number: self._homes[number] for owner in owners if (number := self._numbers.pop(owner, -1)) >= 0}
            for stream in {home.stream for home in gone.values()}:
                self._lanes[stream].remove(np.array(list(gone), np.int64))
            if gone:  # anew: a search that is under way still says whose its entries were
                self._homes = {number: home for number, home in self._homes.items() if number not in gone}
        return sum(home.entries for home in gone.values())

    def search(self, vector: Vector, scope: Scope, limit: int) -> list[Match]:
        vector = np.ascontiguousarray(vector, np.float32)
        lanes = self._lanes
        wanted = [stream for stream in scope.streams or lanes if stream in lanes]
        parts = [part for stream in wanted for part in lanes[stream].parts]
        homes = self._homes
        found = [part.search(vector, scope.span, limit) for part in parts]
        if not found:
            return []
        scores, positions = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        origin = np.repeat(np.arange(len(found)), [len(some) for some, _ in found])
        best = _best(scores, limit)
        rows = np.empty((4, len(best)), np.int64)
        for number in np.unique(origin[best]):
            mine = origin[best] == number
            rows[:, mine] = parts[number].columns.rows(positions[best[mine]])
        return [
            Match(home.owner, ordinal, home.stream, Span(Moment(start), Moment(end)), score)
            for start, end, owner, ordinal, score in zip(*rows.tolist(), scores[best].tolist(), strict=True)
            if (home := homes.get(owner)) is not None  # else forgotten just when the parts were taken
        ]

    def owners(self) -> Mapping[str, int]:
        with self._writing:
            return {home.owner: home.entries for home in self._homes.values()}

    def snapshot(self, folder: Path) -> None:
        with self._writing:
            lanes = {stream: lane.consolidated() for stream, lane in self._lanes.items()}
            names = {number: home.owner for number, home in self._homes.items()}
        files: dict[str, dict[str, str]] = {}
        for stream, shards in lanes.items():
            for shard in shards:
                if not shard.sha256 or not (folder / _name(shard.sha256)).exists():
                    data = _encode(shard, names)
                    shard.sha256 = hashlib.sha256(data).hexdigest()
                    durable.write(folder / _name(shard.sha256), data, self._probe)
                files[_name(shard.sha256)] = {"stream": stream, "sha256": shard.sha256}
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
        files = content["files"]
        with ThreadPoolExecutor(_READERS) as readers:
            decoded = readers.map(lambda name: _decode(durable.read(folder / name, files[name]["sha256"])), files)
            for (shard, owners), file in zip(decoded, files.values(), strict=True):
                shard.sha256 = file["sha256"]
                index._adopt(StreamId(file["stream"]), shard, owners)
        return index

    def _numbered(self, owner: str, stream: StreamId, entries: int) -> int:
        """A number for `owner`, which its entries carry. None is given twice: a search may still hold a former one."""
        number = next(self._counted)
        self._numbers[owner] = number
        self._homes[number] = Home(owner, stream, entries)
        return number

    def _lane(self, stream: StreamId) -> Lane:
        if stream not in self._lanes:
            self._lanes = {**self._lanes, stream: Lane()}
        return self._lanes[stream]

    def _adopt(self, stream: StreamId, shard: Shard, owners: list[str]) -> None:
        numbers = []
        for owner in owners:
            known = self._numbers.get(owner)
            numbers.append(self._numbered(owner, stream, 0) if known is None else known)
        columns = shard.columns
        renumbered = np.array(numbers, np.int64)[columns.owners]
        for number, entries in zip(*np.unique(renumbered, return_counts=True), strict=True):
            home = self._homes[int(number)]
            self._homes[int(number)] = replace(home, entries=home.entries + int(entries))
        shard.columns = Columns(columns.starts, columns.ends, renumbered, columns.ordinals)
        self._lane(stream).adopt(shard)


class Tail:
    """Entries that are not in a shard yet, scanned exactly."""

    def __init__(self, columns: Columns, vectors: Any) -> None:
        self.columns = columns
        self.vectors = vectors

    def search(self, vector: Vector, span: Span | None, limit: int) -> tuple[Any, Any]:
        scores = np.vecdot(self.vectors, vector)  # row by row: threads of BLAS would wait for busy cores
        if span is None:
            best = _best(scores, limit)
            return scores[best], best
        inside = np.flatnonzero((self.columns.starts < span.end) & (self.columns.ends > span.start))
        best = inside[_best(scores[inside], limit)]
        return scores[best], best

    def without(self, owners: Any) -> Tail:
        """The tail less the entries of these owners."""
        keep = ~np.isin(self.columns.owners, owners)
        return Tail(self.columns.where(keep), self.vectors[keep])


class Lane:
    """The entries of one stream: shards, and perhaps a tail, that are replaced and never changed."""

    def __init__(self) -> None:
        self.parts: tuple[Shard | Tail, ...] = ()

    def add(self, columns: Columns, vectors: Any) -> None:
        shards, tails = self._split()
        columns = Columns.joined([*(tail.columns for tail in tails), columns])
        vectors = np.concatenate([*(tail.vectors for tail in tails), vectors])
        self.parts = (*shards, Tail(columns, vectors))
        if len(columns) >= _TAIL:
            self.consolidated()

    def adopt(self, shard: Shard) -> None:
        self.parts = (*self.parts, shard)

    def remove(self, numbers: Any) -> None:
        left = [part.without(numbers) if np.isin(part.columns.owners, numbers).any() else part for part in self.parts]
        self.parts = tuple(part for part in left if len(part.columns))

    def consolidated(self) -> list[Shard]:
        """All entries as shards: the tail joins the last small one, and small ones become a large one."""
        shards, tails = self._split()
        if tails:
            small = shards.pop() if shards and len(shards[-1].columns) < SMALL else None
            shards.append(_joined([*([small] if small else []), *tails]))
        lesser = [shard for shard in shards if len(shard.columns) < LARGE]
        if sum(len(shard.columns) for shard in lesser) >= LARGE:
            shards = [*(shard for shard in shards if len(shard.columns) >= LARGE), _joined(lesser)]
        self.parts = tuple(shards)
        return shards

    def _split(self) -> tuple[list[Shard], list[Tail]]:
        shards = [part for part in self.parts if isinstance(part, Shard)]
        return shards, [part for part in self.parts if isinstance(part, Tail)]


def _joined(parts: Sequence[Shard | Tail]) -> Shard:
    vectors = np.concatenate([part.vectors for part in parts])
    return Shard.build(Columns.joined([part.columns for part in parts]), vectors)


def _best(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Where the largest scores are, largest first; of equals the first."""
    chosen = np.arange(len(scores))
    if len(scores) > limit:
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        chosen = np.flatnonzero(scores >= least)
    return chosen[np.argsort(-scores[chosen], kind="stable")[:limit]]


def _name(sha256: str) -> str:
    return f"{sha256[:32]}.shard"


def _encode(shard: Shard, names: Mapping[int, str]) -> bytes:
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
