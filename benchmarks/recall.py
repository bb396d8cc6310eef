"""Search over slots: recall and speed beside scanning everything, with filters, while adding, and from a snapshot.

    python -m benchmarks.recall [--count 1000000] [--dim 256]

The vectors imitate a camera's: few latent directions, scenes that last and come back, slow drift, a little noise.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from ingest.records import Moment, Scope, Span, StreamId
from memory.index import Entries
from memory.index.faiss_index import FaissIndex

SLOT_US = 30 * 1_000_000
CHAPTER = 64
CAMERAS = 2


def footage(count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors float32 [count, dim] in time order."""
    latent = 48
    basis = np.linalg.qr(rng.normal(size=(dim, latent)))[0].T.astype(np.float32)
    scenes = rng.normal(size=(2000, latent)).astype(np.float32)
    lasting = 16
    which = np.repeat(np.minimum(rng.zipf(1.4, size=count // lasting + 1) - 1, len(scenes) - 1), lasting)[:count]
    out = np.empty((count, dim), np.float32)
    for at in range(0, count, 100_000):
        part = slice(at, min(at + 100_000, count))
        size = part.stop - part.start
        drift = np.cumsum(rng.normal(size=(size, latent)).astype(np.float32), axis=0) * 0.02
        vectors = (scenes[which[part]] + 0.35 * rng.normal(size=(size, latent)).astype(np.float32) + drift) @ basis
        vectors += 0.02 * rng.normal(size=vectors.shape).astype(np.float32)
        out[part] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return out


def timed(work: Callable[[np.ndarray], object], queries: np.ndarray) -> tuple[float, float, list[object]]:
    """Median and 95th percentile in milliseconds, and the results."""
    times, results = [], []
    for vector in queries:
        start = time.perf_counter()
        results.append(work(vector))
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times)), float(np.percentile(times, 95)), results


def filled(vectors: np.ndarray) -> tuple[FaissIndex, float]:
    index = FaissIndex(vectors.shape[1])
    start = time.perf_counter()
    each = len(vectors) // CAMERAS
    for camera in range(CAMERAS):
        for at in range(camera * each, (camera + 1) * each, CHAPTER):
            add(index, vectors, at, min(CHAPTER, (camera + 1) * each - at), camera, at - camera * each)
    return index, time.perf_counter() - start


def add(index: FaissIndex, vectors: np.ndarray, at: int, size: int, camera: int, place: int) -> None:
    starts = (place + np.arange(size, dtype=np.int64)) * SLOT_US
    stream = StreamId(f"camera-{camera}")
    index.add(Entries(f"{stream}/{at}@0", stream, vectors[at : at + size], starts, starts + SLOT_US))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors = footage(options.count, options.dim, rng)
    near = vectors[rng.integers(0, len(vectors), options.queries)]
    queries = near + 0.3 * rng.normal(size=near.shape).astype(np.float32) / np.sqrt(options.dim)
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    index, took = filled(vectors)
    rate = options.count / took
    print(f"{options.count} vectors of {options.dim} dimensions, {CAMERAS} cameras, one thread")
    print(f"filled in {took:.0f} s ({rate:.0f}/s)\n")

    brute = faiss.IndexFlatIP(options.dim)
    brute.add(vectors)
    flat_ms, flat_95, truth = timed(lambda v: brute.search(v[None], 10)[1][0], queries)
    ours_ms, ours_95, found = timed(lambda v: index.search(v, Scope(), 10), queries)
    agree = []
    for right, matches in zip(truth, found, strict=True):
        places = {int(match.owner.split("/")[1].split("@")[0]) + match.ordinal for match in matches}
        agree.append(len(places & {int(place) for place in right}) / 10)
    span = options.count // CAMERAS * SLOT_US
    scopes = {
        "one camera": Scope((StreamId("camera-0"),)),
        "a tenth of the time": Scope((), Span(Moment(span // 2), Moment(span // 2 + span // 10))),
        "one camera, a hundredth": Scope(
            (StreamId("camera-1"),), Span(Moment(span // 3), Moment(span // 3 + span // 100))
        ),
    }
    print("| search | median | p95 | recall@10 |\n|---|---|---|---|")
    print(f"| scanning everything (Flat, float32) | {flat_ms:.1f} ms | {flat_95:.1f} ms | 1 |")
    print(f"| index | {ours_ms:.1f} ms | {ours_95:.1f} ms | {np.mean(agree):.3f} |")
    for name, scope in scopes.items():
        median, p95, _ = timed(lambda v, scope=scope: index.search(v, scope, 10), queries)
        print(f"| index, {name} | {median:.1f} ms | {p95:.1f} ms | |")

    stop = threading.Event()
    added = [0]

    def ingest() -> None:
        while not stop.is_set():
            add(index, vectors, added[0] % (options.count - CHAPTER), CHAPTER, 9, added[0])
            added[0] += CHAPTER
            stop.wait(0.05)

    thread = threading.Thread(target=ingest)
    thread.start()
    median, p95, _ = timed(lambda v: index.search(v, Scope(), 10), queries)
    stop.set()
    thread.join()
    print(f"| index, while {added[0]} slots were added | {median:.1f} ms | {p95:.1f} ms | |\n")
    print(f"{flat_ms / ours_ms:.0f} times as fast as scanning everything")

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        index.snapshot(Path(folder))
        written = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        start = time.perf_counter()
        FaissIndex.load(Path(folder), options.dim).search(queries[0], Scope(), 10)
        ready = time.perf_counter() - start
    print(f"snapshot of {size / 1e6:.0f} MB written in {written:.1f} s; from it to the first answer {ready:.1f} s")
    print(f"peak memory of this benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
