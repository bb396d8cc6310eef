"""A month of fine features, one a second, searched through the product: database, chapter files, index, recall.

    python -m benchmarks.month [--days 30] [--folder FOLDER]

One camera for the month and one for a day. Beside it every feature is kept in memory as float32
and scanned. A query asks for what is as near as its ten nearest features in the scope; counted are those that lie in
the spans that are found. With `--folder` the memory is kept there, and used again by the next run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np

from benchmarks.recall import footage, near
from ingest.clock import FakeClock
from ingest.ledger import Ledger
from ingest.questions import Query, Scope
from ingest.records import Moment, Span, StreamId
from memory.chapter_files import ChapterFiles
from memory.chapters import Sealer
from memory.memory import Memory, MemoryOptions
from memory.store import no_probe
from memory.store.rows import ChapterRow, StreamRow
from memory.tables import FineLog

DIM = 256
DAY = 86_400
CHAPTER_S = 180
START = 1_700_000_000 // DAY * DAY
MONTH, SINGLE = StreamId("month"), StreamId("day")
SLOPE = 200.0
ROUNDING = 0.004
"""One byte per dimension may put a feature so much farther from a query."""


def opened(folder: Path) -> Memory:
    clock = FakeClock(START * 1_000_000)
    options = MemoryOptions(snapshot_entries=200_000)
    return Memory.open(folder, encoder="benchmark", dim=DIM, ledger=Ledger(), clock=clock, options=options)


def remember(memory: Memory, stream: StreamId, vectors: np.ndarray) -> None:
    """Chapters of three minutes, as sealing makes them."""
    memory.store.streams.add(StreamRow(stream, stream, "live", "", "", "live", "", Moment(START * 1_000_000)))
    sealer = Sealer(memory.store, ChapterFiles(memory.folder / "chapters", no_probe), 64)
    for at in range(0, len(vectors), CHAPTER_S):
        some = vectors[at : at + CHAPTER_S]
        pts = (at + np.arange(len(some), dtype=np.int64)) * 1_000_000
        starts, none = pts + START * 1_000_000, np.zeros(len(some), np.int64)
        log = FineLog(some, starts, starts + 1_000_000, none, pts, none.astype(np.bool_), (b"",) * len(some))
        row, slots = sealer.written(ChapterRow(f"{stream}/0/{pts[0]}/frame", stream, "chapter", log.span, 0, 0), log)
        with memory.store.database.write() as connection:
            memory.store.chapters.save(connection, row, slots)


def during(first: int, last: int) -> Span:
    return Span(Moment((START + first) * 1_000_000), Moment((START + last) * 1_000_000))


def measured(memory: Memory, films: dict[StreamId, np.ndarray], scope: Scope, queries: np.ndarray) -> str:
    """A row of the table: how long finding and scanning take, and which part of the nearest is found."""
    ours, scanning, shares = [], [], []
    spans = {s: (0, len(film)) for s, film in films.items() if not scope.streams or s in scope.streams}
    if scope.span is not None:
        first, last = (moment // 1_000_000 - START for moment in (scope.span.start, scope.span.end))
        spans = {stream: (min(first, end), min(last, end)) for stream, (_, end) in spans.items()}
    for vector in queries:
        start = time.perf_counter()
        scores = {stream: films[stream][a:b] @ vector for stream, (a, b) in spans.items()}
        least = np.sort(np.concatenate(list(scores.values())))[-10]
        scanning.append(time.perf_counter() - start)
        start = time.perf_counter()
        query = Query("", vector, slope=SLOPE, offset=-SLOPE * float(least - ROUNDING))
        hits = memory.recall.find(query, scope, threshold=0.5, limit=20)
        ours.append(time.perf_counter() - start)
        truth = [(s, Moment((START + a + int(at)) * 1_000_000)) for s, (a, _) in spans.items()
                 for at in np.flatnonzero(scores[s] >= least)]  # fmt: skip
        shares.append(np.mean([any(hit.stream == s and m in hit.span for hit in hits) for s, m in truth]))
    values = [f"{np.median(some) * 1e3:.0f} ms | {np.percentile(some, 95) * 1e3:.0f} ms" for some in (ours, scanning)]
    return f"{values[0]} | {values[1]} | {np.mean(shares):.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    everything = footage(np.empty(((options.days + 1) * DAY, DIM), np.float32), rng)
    films = {MONTH: everything[: options.days * DAY], SINGLE: everything[options.days * DAY :]}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        memory = opened(folder)
        if not memory.store.streams.all():
            start = time.perf_counter()
            for stream, film in films.items():
                remember(memory, stream, film)
            took = time.perf_counter() - start
            print(f"{len(everything)} features sealed in {took:.0f} s ({len(everything) / took:.0f}/s)")
            memory.close()
            start = time.perf_counter()
            memory = opened(folder)
            print(f"the index, of which there was none: made in {time.perf_counter() - start:.0f} s")
        memory.close()
        start = time.perf_counter()
        memory = opened(folder)
        query = Query("", everything[0], slope=SLOPE, offset=-0.9 * SLOPE)
        memory.recall.find(query, Scope(), threshold=0.5)
        slots = sum(memory.index.owners().values())
        print(f"{len(memory.index.owners())} chapters, {slots} slots; ", end="")
        print(f"restart to first answer: {time.perf_counter() - start:.1f} s\n")
        day = options.days // 2 * DAY
        scopes = {
            "everything": Scope(),
            "one camera of two": Scope((SINGLE,)),
            "a day of the month": Scope((MONTH,), during(day, day + DAY)),
            "an hour of the month": Scope((MONTH,), during(day, day + 3600)),
        }
        print(
            "| scope | found: median | p95 | scanned: median | p95 | of the ten nearest, found |\n" + "|---" * 6 + "|"
        )
        for name, scope in scopes.items():
            film = films[SINGLE if scope.streams == (SINGLE,) else MONTH]
            a, b = (0, len(film)) if scope.span is None else (day, int(scope.span.end // 1_000_000 - START))
            print(f"| {name} | {measured(memory, films, scope, near(film[a:b], options.queries, rng))}")
        memory.close()


if __name__ == "__main__":
    main()
