"""Chapter files: the detail of a sealed chapter, immutable, checksummed.

A file is safetensors. The fine log is int8 with one scale per feature (a vector is its codes times its scale);
thumbnails lie one behind the other. Slots are rows of the database: a file can go, and they still answer.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from threading import Lock
from urllib.parse import quote

import numpy as np

from ingest.errors import StoreCorrupt
from ingest.records import StreamId
from memory import durable
from memory.store.database import Probe
from memory.tables import FineLog

_CACHED = 32 << 20
"""Bytes of logs that are kept at hand: a log is a few minutes, and of a lively stream several megabytes."""


class ChapterFiles:
    """The folder of chapter files."""

    def __init__(self, folder: Path, probe: Probe) -> None:
        self.folder = folder
        self.aside = folder / "aside"
        self._probe = probe
        self._lock = Lock()
        self._cache: OrderedDict[str, FineLog] = OrderedDict()
        self._held = 0

    @staticmethod
    def name(stream: StreamId, chapter: str, revision: int) -> str:
        """Where a chapter lies: the same whenever the same chapter is sealed again."""
        return f"{quote(stream, safe='')}/{quote(chapter.removeprefix(stream + '/'), safe='')}.{revision}.safetensors"

    def write(self, path: str, log: FineLog) -> tuple[str, int, int]:
        """Write a log. Returns its checksum, the bytes of its vectors and of its thumbnails."""
        data = encode(log)
        sha256 = durable.write(self.folder / path, data, self._probe)
        thumbnails = sum(len(jpeg) for jpeg in log.thumbnails)
        return sha256, len(data) - thumbnails, thumbnails

    def read(self, path: str, sha256: str) -> FineLog:
        """The log at `path`, its vectors dequantised to float32. Raises `StoreCorrupt`."""
        with self._lock:
            if (kept := self._cache.get(sha256)) is not None:
                self._cache.move_to_end(sha256)
                return kept
        log = decode(durable.read(self.folder / path, sha256))
        with self._lock:
            if sha256 not in self._cache:
                self._cache[sha256] = log
                self._held += log.size
            while self._held > _CACHED:
                self._held -= self._cache.popitem(last=False)[1].size
        return log

    def delete(self, path: str, sha256: str = "") -> bool:
        with self._lock:
            kept = self._cache.pop(sha256, None)
            self._held -= kept.size if kept is not None else 0
        return durable.delete(self.folder / path)

    def leave(self, stream: StreamId) -> None:
        """The stream is gone, and so is its folder."""
        durable.delete_folder(self.folder / quote(stream, safe=""))

    def set_aside(self, path: str) -> None:
        """Move a damaged file where nothing reads it."""
        source = self.folder / path
        if source.exists():
            self.aside.mkdir(parents=True, exist_ok=True)
            source.replace(self.aside / path.replace("/", "-"))

    def names(self) -> set[str]:
        """Every chapter file there is."""
        found = self.folder.rglob("*.safetensors")
        return {str(path.relative_to(self.folder)) for path in found if self.aside not in path.parents}

    def sweep(self, expected: set[str]) -> int:
        """Remove leftovers and files that no row speaks of. How many there were."""
        orphans = self.names() - expected
        for orphan in orphans:
            durable.delete(self.folder / orphan)
        return len(orphans) + durable.sweep(self.folder)


def encode(log: FineLog) -> bytes:
    """A fine log as safetensors: vectors as int8 with a float32 scale per row, thumbnails end to end."""
    from safetensors.numpy import save

    peak = np.abs(log.vectors).max(axis=1, initial=0.0)
    scale = (np.where(peak > 0, peak, 1.0) / 127.0).astype(np.float32)
    codes = np.rint(log.vectors / scale[:, None]).astype(np.int8)
    lengths = np.array([len(jpeg) for jpeg in log.thumbnails], np.int64)
    return save(
        {
            "codes": codes,
            "scale": scale,
            "times": np.stack([log.starts, log.ends, log.epochs, log.pts]).astype(np.int64),
            "sounds": log.sounds.astype(np.uint8),
            "thumbnails": np.frombuffer(b"".join(log.thumbnails), np.uint8),
            "thumbnail_lengths": lengths,
        }
    )


def decode(data: bytes) -> FineLog:
    """What `encode` wrote. Raises `StoreCorrupt` on anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        starts, ends, epochs, pts = tensors["times"]
        bounds = np.concatenate([[0], np.cumsum(tensors["thumbnail_lengths"])])
        jpegs = tensors["thumbnails"].tobytes()
        return FineLog(
            vectors=tensors["codes"].astype(np.float32) * tensors["scale"][:, None],
            starts=starts,
            ends=ends,
            epochs=epochs,
            pts=pts,
            sounds=tensors["sounds"].astype(np.bool_),
            thumbnails=tuple(jpegs[a:b] for a, b in pairwise(bounds)),
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreCorrupt(f"Not a chapter file: {error}.", advice="Run `hindsight doctor --repair`.") from error
