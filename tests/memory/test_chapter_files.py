"""What is kept at hand of chapter files has a bound in bytes, whatever is asked and however large they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ingest.records import StreamId
from memory import chapter_files
from memory.chapter_files import ChapterFiles
from memory.store import no_probe
from memory.tables import FineLog


def log(number: int, frames: int) -> FineLog:
    times = np.arange(frames, dtype=np.int64) + number * 1_000_000
    vectors = np.random.default_rng(number).normal(size=(frames, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nothing = np.zeros(frames, np.int64)
    return FineLog(vectors, times, times + 1, nothing, times, nothing.astype(bool), (bytes(1000),) * frames)


def test_logs_at_hand_stay_within_their_bytes(tmp_path: Path) -> None:
    files = ChapterFiles(tmp_path, no_probe)
    written = []
    for number in range(40):
        path = files.name(StreamId("door"), f"door/{number}", 0)
        sha256, _, _ = files.write(path, log(number, 700))
        written.append((path, sha256))
    for path, sha256 in [*written, *written[:5], written[0], written[0]]:
        assert len(files.read(path, sha256)) == 700
        assert sum(kept.size for kept in files._cache.values()) == files._held <= chapter_files._CACHED
    assert files.read(*written[0]) is files.read(*written[0])
    for path, sha256 in written:
        files.delete(path, sha256)
    assert files._held == 0
