"""From a question to evidence: coarse search over slots, fine re-scan, spans, exhibits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ingest.questions import Evidence, Exhibit, Hit, Picture, Query, Scope
from ingest.records import Gap, Moment, Span, StreamId
from memory.detail import Detail
from memory.followed import as_followed, as_told
from memory.index.protocol import VectorIndex
from memory.spans import Track, best_apart, clipped, continuous, flapping, matches, united
from memory.store.rows import ChapterRow, chapter_of
from memory.store.store import Store
from memory.store.streams import Origin
from memory.tables import FineLog

_SCAN_ALL = 128
"""With at most this many chapters in scope, all of them are scanned finely."""
_BEST = 48
"""Otherwise the chapters of this many best slots are, and their neighbours."""
_SLOTS = (256, 2048)
"""Slots asked of the index to find those chapters: many only where few lie in too few chapters."""
_PICTURES = 4
_OBSERVATIONS = 1000
_EXHIBIT_OBSERVATIONS = 20


@dataclass(frozen=True, slots=True, eq=False)
class FeatureBlock:
    """Fine features in the order in which they came: `vectors` float32 [N, D], int64 [N] starts, ends, epochs and pts;
    origins [N]."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    vectors: NDArray[np.float32]
    origins: tuple[Origin, ...]
    epochs: NDArray[np.int64]
    pts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


class Recall:
    """Finds footage for queries, and gathers what an answer may cite."""

    def __init__(self, store: Store, index: VectorIndex, detail: Detail) -> None:
        self._store = store
        self._index = index
        self._detail = detail

    def find(self, query: Query, scope: Scope, *, threshold: float, limit: int = 20) -> list[Hit]:
        """Spans whose probability reaches `threshold`, and in which what was found was followed, for as long as the
        query asks, best first, not overlapping within a stream."""
        chosen = self._candidates(query, scope, limit)
        hits: list[Hit] = []
        for stream in scope.streams or tuple(row.id for row in self._store.streams.all()):
            found = self._hits(stream, chosen.get(stream, []), query, threshold)
            found = as_told(found, query, self._store.timeline, Scope((stream,), scope.span), threshold)
            hits += as_followed(found, query, self._store.timeline)
        inside = (clipped(hit, scope.span) for hit in hits if hit.span.duration >= query.lasting)
        return best_apart([hit for hit in inside if hit is not None], limit)

    def evidence(self, hits: Sequence[Hit], scope: Scope, query: Query) -> Evidence:
        """Everything an answer about `scope` may be built from; hits become numbered exhibits."""
        rows = [row for row in self._store.streams.all() if not scope.streams or row.id in scope.streams]
        searched: list[tuple[StreamId, Span]] = []
        gaps: list[Gap] = []
        for row in rows:
            told = self._store.streams.told(row.id)
            span = told if scope.span is None else scope.span
            if span is not None:
                searched.append((row.id, span))
                gaps += flapping(self._store.timeline.gaps(row.id, span))
        return Evidence(
            exhibits=tuple(self._exhibit(number, hit) for number, hit in enumerate(hits, start=1)),
            observations=self._store.timeline.observations(scope, limit=_OBSERVATIONS),
            searched=tuple(searched),
            gaps=tuple(gaps),
            unknown=query.unknown,
            unsure=query.unsure,
            origins=tuple((row.id, row.origin) for row in rows if row.kind == "file" and row.origin is not None),
        )

    def replay(self, stream: StreamId, span: Span | None = None) -> FeatureBlock:
        """The fine features of a stream that are still kept and touch `span`, each frame lasting until the next."""
        rows = self._store.chapters.all(Scope((stream,), span), levels=["chapter"])
        sealed = [log for row in rows if (log := self._detail.sealed(row)) is not None]
        log = FineLog.joined([*sealed, self._detail.open(stream)])
        ends = log.ends.copy()
        frames = ~log.sounds
        ends[frames] = self._track(stream, log.where(frames)).ends
        if span is not None:
            touching = (log.starts < span.end) & ((ends > span.start) | (log.starts >= span.start))
            log, ends = log.where(touching), ends[touching]
        origins: tuple[Origin, ...] = tuple("sound" if sound else "frame" for sound in log.sounds)
        return FeatureBlock(log.starts, ends, log.vectors, origins, log.epochs, log.pts)

    def _candidates(self, query: Query, scope: Scope, limit: int) -> dict[StreamId, list[ChapterRow]]:
        """Chapters worth scanning, by stream: all when they are few, else those of the best slots and their
        neighbours."""
        rows = self._store.chapters.all(scope, most=_SCAN_ALL + 1)
        if len(rows) > _SCAN_ALL:
            wanted, owners = max(_BEST, 2 * limit), dict[str, None]()
            for slots in _SLOTS:
                if len(owners) < wanted:
                    owners = dict.fromkeys(match.owner for match in self._index.search(query.vector, scope, slots))
            rows = self._store.chapters.around([chapter_of(owner) for owner in islice(owners, wanted)])
        by_stream: dict[StreamId, list[ChapterRow]] = defaultdict(list)
        for row in rows:
            by_stream[row.stream].append(row)
        return by_stream

    def _hits(self, stream: StreamId, rows: list[ChapterRow], query: Query, threshold: float) -> list[Hit]:
        logs, coarse = [self._detail.open(stream)], []
        for row in rows:
            fine = self._detail.sealed(row) if row.level == "chapter" else None
            if fine is None:
                coarse.append(row)
            else:
                logs.append(fine)
        log = FineLog.joined(logs)
        frames, sounds = log.where(~log.sounds), log.where(log.sounds)
        found = []
        for part, track in ((frames, self._track(stream, frames)), (sounds, _apart(sounds))):
            scores = query.probability(np.vecdot(part.vectors, query.vector))
            found.append([Hit(stream, *match) for match in matches(track, scores, threshold)])
        seen, heard = found
        return [*united(seen), *heard, *self._slot_hits(coarse, query, threshold)]

    def _slot_hits(self, rows: list[ChapterRow], query: Query, threshold: float) -> Iterable[Hit]:
        """Where detail is gone, slots answer, as exactly as their spans are."""
        for row, slots in self._store.chapters.slots([row.id for row in rows]):
            scores = query.probability(np.vecdot(slots.vectors, query.vector))
            broken = np.append(slots.ends[:-1] != slots.starts[1:], True)
            track = Track(slots.starts, slots.ends, broken | slots.sounds, 0)
            for span, score, _ in matches(track, scores, threshold):
                best = int(np.argmax(np.where((slots.starts >= span.start) & (slots.ends <= span.end), scores, -1.0)))
                yield Hit(row.stream, span, score, Moment(int(slots.times[best, 3])), row.level)

    def _track(self, stream: StreamId, frames: FineLog) -> Track:
        gaps = self._store.timeline.gaps(stream, frames.span) if len(frames) else ()
        return continuous(frames.starts, frames.ends, frames.epochs, gaps, self._store.streams.end(stream))

    def _exhibit(self, number: int, hit: Hit) -> Exhibit:
        around = Scope((hit.stream,), Span(hit.span.start, Moment(max(hit.span.end, hit.span.start + 1))))
        observations = self._store.timeline.observations(around, limit=_EXHIBIT_OBSERVATIONS)
        return Exhibit(number, hit, self._pictures(hit), observations)

    def _pictures(self, hit: Hit) -> tuple[Picture, ...]:
        """Thumbnails of the peak and of moments spread over the hit, in time order."""
        spread = np.linspace(hit.span.start, max(hit.span.end - 1, hit.span.start), _PICTURES - 1).astype(np.int64)
        found: dict[Moment, Picture] = {}
        for moment in (hit.peak, *spread):
            picture = self._detail.thumbnail(hit.stream, Moment(int(moment)))
            if picture is not None and (picture.moment in hit.span or not found):
                found[picture.moment] = picture
        return tuple(found[moment] for moment in sorted(found))


def _apart(sounds: FineLog) -> Track:
    """Utterances stand for themselves."""
    return Track(sounds.starts, sounds.ends, np.ones(len(sounds), np.bool_), 0)
