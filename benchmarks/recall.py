"""Search over slots: recall and speed beside scanning everything, with filters, while adding, and from a snapshot.

    python -m benchmarks.recall [--count 1000000] [--dim 256]

The vectors imitate a camera's: few latent directions, scenes that last and come back, slow drift, a little noise. More
than two million lie in a file, and are scanned for the truth alone.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from ingest.questions import Scope
from ingest.records import Moment, Span, StreamId
from memory.index import Entries, Match
from memory.index.faiss_index import FaissIndex
from memory.index.shard import LARGE

SLOT_US = 30 * 1_000_000
CHAPTER = 64
CAMERAS = 2
IN_MEMORY = 2_000_000
AT_ONCE = 100_000
INGEST_S = 20


def footage(out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill float32 [N, D] with unit vectors in time order."""
    count, dim = out.shape
    latent = 48
    basis = np.linalg.qr(rng.normal(size=(dim, latent)))[0].T.astype(np.float32)
    scenes = rng.normal(size=(2000, latent)).astype(np.float32)
    lasting = 16
    which = np.repeat(np.minimum(rng.zipf(1.4, size=count // lasting + 1) - 1, len(scenes) - 1), lasting)[:count]
    for at in range(0, count, AT_ONCE):
        part = slice(at, min(at + AT_ONCE, count))
        size = part.stop - part.start
        drift = np.cumsum(rng.standard_normal((size, latent), np.float32), axis=0) * np.float32(0.02)
        seen = scenes[which[part]] + np.float32(0.35) * rng.standard_normal((size, latent), np.float32)
        vectors = (seen + drift) @ basis
        vectors += np.float32(0.02) * rng.standard_normal(vectors.shape, np.float32)
        out[part] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return out


def near(vectors: np.ndarray, count: int, rng: np.random.Generator, mixed: int = 1) -> np.ndarray:
    """Queries float32 [count, D]: something that is there, seen a little differently; or a mixture of several, which
    is like nothing that is there."""
    some = np.mean([vectors[np.sort(rng.integers(0, len(vectors), count))] for _ in range(mixed)], axis=0)
    some = some + 0.3 * rng.normal(size=some.shape) / np.sqrt(some.shape[1])
    queries: np.ndarray = (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float32)
    return queries


def exact(vectors: np.ndarray, runs: Sequence[tuple[int, int]], queries: np.ndarray) -> np.ndarray:
    """Of every query, where its ten nearest are within `runs` of positions: int64 [Q, 10]."""
    best, places = np.full((len(queries), 10), -2.0, np.float32), np.full((len(queries), 10), -1)
    for first, last in runs:
        for at in range(first, last, AT_ONCE):
            part = slice(at, min(at + AT_ONCE, last))
            scores = np.concatenate([best, queries @ vectors[part].T], axis=1)
            known = np.concatenate([places, np.tile(np.arange(part.start, part.stop), (len(queries), 1))], axis=1)
            chosen = np.argpartition(-scores, 9, axis=1)[:, :10]
            best, places = np.take_along_axis(scores, chosen, 1), np.take_along_axis(known, chosen, 1)
    return places


def timed(work: Callable[[np.ndarray], list[Match]], queries: np.ndarray) -> tuple[np.ndarray, list[list[Match]]]:
    """Milliseconds of each [Q, 2], by the clock and of this thread's computing, and the results."""
    times, results = [], []
    for vector in queries:
        start, computing = time.perf_counter(), time.thread_time()
        results.append(work(vector))
        times.append((time.perf_counter() - start, time.thread_time() - computing))
    return np.array(times) * 1e3, results


def agreement(truth: np.ndarray, found: list[list[Match]]) -> float:
    """Which part of the ten nearest was among the ten found."""
    shares = []
    for right, matches in zip(truth, found, strict=True):
        places = {int(match.owner.split("/")[1].split("@")[0]) + match.ordinal for match in matches}
        wanted = {int(place) for place in right if place >= 0}
        shares.append(len(places & wanted) / len(wanted))
    return float(np.mean(shares))


def row(name: str, times: np.ndarray, recall: str = "") -> str:
    clock, computing = times.T
    values = (np.median(clock), np.percentile(clock, 95), np.median(computing), np.percentile(computing, 95))
    return f"| {name} | " + " | ".join(f"{value:.1f} ms" for value in values) + f" | {recall} |"


def filled(vectors: np.ndarray) -> FaissIndex:
    index, each = FaissIndex(vectors.shape[1]), len(vectors) // CAMERAS
    size = CHAPTER if len(vectors) <= IN_MEMORY else 16 * CHAPTER
    for camera in range(CAMERAS):
        for at in range(camera * each, (camera + 1) * each, size):
            add(index, vectors, at, min(size, (camera + 1) * each - at), camera, at - camera * each)
    return index


def add(index: FaissIndex, vectors: np.ndarray, at: int, size: int, camera: int, place: int) -> str:
    starts = (place + np.arange(size, dtype=np.int64)) * SLOT_US
    stream = StreamId(f"camera-{camera}")
    owner = f"{stream}/{at}@0"
    index.add(Entries(owner, stream, np.asarray(vectors[at : at + size]), starts, starts + SLOT_US))
    return owner


@dataclass(frozen=True)
class Filter:
    """A scope, and the runs of positions that lie in it."""

    name: str
    scope: Scope
    runs: tuple[tuple[int, int], ...]


def filters(count: int) -> list[Filter]:
    each = count // CAMERAS
    cameras = [(camera * each, (camera + 1) * each) for camera in range(CAMERAS)]

    def during(first: int, last: int, *chosen: int) -> Filter:
        scope = Scope(
            tuple(StreamId(f"camera-{n}") for n in chosen), Span(Moment(first * SLOT_US), Moment(last * SLOT_US))
        )
        runs = [(cameras[n][0] + first, cameras[n][0] + last) for n in chosen or range(CAMERAS)]
        return Filter("", scope, tuple(runs))

    tenth, hundredth = during(each // 2, each // 2 + each // 10), during(each // 3, each // 3 + each // 100, 1)
    return [
        Filter("index", Scope(), ((0, each * CAMERAS),)),
        Filter("index, one camera", Scope((StreamId("camera-0"),)), (cameras[0],)),
        Filter("index, a tenth of the time", tenth.scope, tenth.runs),
        Filter("index, one camera, a hundredth of the time", hundredth.scope, hundredth.runs),
    ]


def while_adding(index: FaissIndex, vectors: np.ndarray, queries: np.ndarray) -> None:
    """Search for a while in which a chapter is added every 50 ms, and a shard becomes large."""
    camera, place = 9, LARGE - 8192
    for at in range(0, place, 1024):
        add(index, vectors, at, 1024, camera, at)
    stop, adding, added = threading.Event(), [], 0
    announced: tuple[str, np.ndarray, float] | None = None

    def ingest() -> None:
        nonlocal added, announced
        while not stop.wait(0.05):
            at = (place + added) % (len(vectors) - CHAPTER)
            announced = f"camera-{camera}/{at}@0", vectors[at], time.perf_counter()
            start = time.perf_counter()
            add(index, vectors, at, CHAPTER, camera, at)
            adding.append(time.perf_counter() - start)
            added += CHAPTER

    thread = threading.Thread(target=ingest)
    thread.start()
    times, delays, seen, began = [], [], "", time.perf_counter()
    while time.perf_counter() - began < INGEST_S:
        times.append(timed(lambda v: index.search(v, Scope(), 10), queries[len(times) % len(queries)][None])[0])
        if (news := announced) is not None and news[0] != seen:
            found = index.search(news[1], Scope((StreamId(f"camera-{camera}"),)), 10)
            if any(match.owner == news[0] for match in found):
                delays.append(time.perf_counter() - news[2])
                seen = news[0]
    stop.set()
    thread.join()
    print(row(f"index, while {added} slots are added", np.concatenate(times)))
    longest = np.concatenate(times)[:, 0].max()
    print(f"\n{len(times)} searches, the longest {longest:.0f} ms. From adding a chapter to its being found: ", end="")
    print(f"median {np.median(delays) * 1e3:.0f} ms, longest {max(delays):.2f} s; the longest addition, ", end="")
    print(f"after which a shard became large, kept the next waiting for {max(adding):.2f} s")


def restart(index: FaissIndex, query: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        index.snapshot(Path(folder))
        written = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        start = time.perf_counter()
        FaissIndex.load(Path(folder), len(query)).search(query, Scope(), 10)
        ready = time.perf_counter() - start
    print(f"snapshot of {size / 1e6:.0f} MB written in {written:.1f} s; from it to the first answer {ready:.1f} s")


def memory_of_process() -> float:
    """Bytes that are in memory and in no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    shape = (options.count, options.dim)
    with tempfile.TemporaryFile() as file:
        large = options.count > IN_MEMORY
        vectors = footage(np.memmap(file, np.float32, "w+", shape=shape) if large else np.empty(shape, np.float32), rng)
        queries = near(vectors, options.queries, rng)
        before, start = memory_of_process(), time.perf_counter()
        index = filled(vectors)
        took = time.perf_counter() - start
        print(f"{options.count} vectors of {options.dim} dimensions, {CAMERAS} cameras, one thread")
        print(f"filled in {took:.0f} s ({options.count / took:.0f}/s), ", end="")
        print(f"in {(memory_of_process() - before) / 1e9:.2f} GB of memory\n")
        print("| search | median | p95 | computing: median | p95 | recall@10 |\n" + "|---" * 6 + "|")
        if not large:
            brute = faiss.IndexFlatIP(options.dim)
            brute.add(vectors)
            flat, _ = timed(lambda v: brute.search(v[None], 10)[1], queries)
            print(row("scanning everything (Flat, float32)", flat, "1"))
            del brute
        medians = []
        for one in filters(options.count)[: 1 if large else None]:
            times, found = timed(lambda v, one=one: index.search(v, one.scope, 10), queries)
            medians.append(np.median(times, axis=0))
            print(row(one.name, times, f"{agreement(exact(vectors, one.runs, queries), found):.3f}"))
        if not large:
            strange = near(vectors, options.queries, rng, mixed=4)
            times, found = timed(lambda v: index.search(v, Scope(), 10), strange)
            truth = exact(vectors, filters(options.count)[0].runs, strange)
            print(row("index, asked for what is like nothing there", times, f"{agreement(truth, found):.3f}"))
        while_adding(index, vectors, queries)
        if not large:
            clock, computing = np.median(flat, axis=0) / medians[0]
            print(f"{clock:.1f} times as fast as scanning everything, {computing:.1f} by what is computed")
        if not large:  # twice in memory
            restart(index, queries[0])


if __name__ == "__main__":
    main()
