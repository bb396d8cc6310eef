"""Find: spans of footage that match words or a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from api.quoting import with_quoted
from api.refining import Refiner
from api.schemas import FindIn, FindOut, Where
from api.scope import Place, Scopes
from api.settings import Settings
from api.telling import telling
from api.views import Views
from ingest import sample
from ingest.errors import Invalid
from ingest.questions import Hit, Query
from ingest.records import Gap, Moment, Pixels, Span, StreamId
from memory.memory import Memory
from memory.spans import flapping
from memory.store import Store
from models.protocols import FrameEncoder

DEFAULT_THRESHOLD = 0.5
LIKELIEST = 0.1
"""The least probability at which a moment is mentioned that did not pass the threshold."""
_QUOTES = frozenset('"“”«»')


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave, before it is shown."""

    query: Query
    hits: tuple[Hit, ...]
    watched: bool
    """False when there is no footage at all in the place."""
    likeliest: Hit | None = None
    """The best that was found for words that can only be guessed at, below the threshold."""


class Finder:
    """Words or a picture to spans of footage."""

    def __init__(
        self,
        memory: Memory,
        encoder: FrameEncoder,
        refiner: Refiner,
        scopes: Scopes,
        views: Views,
        settings: Settings,
    ) -> None:
        self._memory = memory
        self._refiner = refiner
        self._encoder = encoder
        self._scopes = scopes
        self._views = views
        self._threshold = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold

    def find(self, request: FindIn) -> FindOut:
        place = self._scopes.resolve(request)
        found = self.look(request.event, place, request.threshold, request.limit)
        found = self._refined(found, place)
        return self._shown(request.event, place, found)

    def search(self, text: str, picture: bytes, where: Where, limit: int = 20) -> FindOut:
        """Either words or a picture, a JPEG for example."""
        words = any(character.isalnum() for character in text)
        if words == bool(picture):
            raise Invalid(
                "A search is for words or for a picture" + (", not for both." if words else "; neither came."),
                advice="Send a form with `text`, or with a file as `image`.",
            )
        place = self._scopes.resolve(where)
        found = self.look(text if words else sample.decoded(picture), place, limit=limit)
        return self._shown(text if words else "the picture", place, found)

    def _refined(self, found: Found, place: Place) -> Found:
        """With start and end asked of a system that can look closer."""
        proposed = self._memory.recall.evidence(found.hits, place.scope, found.query)
        refined = self._refiner.evidence(found.query.text, proposed)
        return replace(found, hits=tuple(exhibit.hit for exhibit in refined.exhibits))

    def look(self, what: str | Pixels, place: Place, threshold: float | None = None, limit: int = 20) -> Found:
        [query] = self._encoder.encode_queries([what])
        least = self._threshold if threshold is None else threshold
        store = self._memory.store
        hits = self._memory.recall.find(query, place.scope, threshold=least, limit=limit)
        hits = [hit for hit in with_quoted(hits, query, store, place.scope, limit) if hit.score >= least]
        return Found(query, tuple(hits), watched(store, place), self._likeliest(query, place, hits))

    def _likeliest(self, query: Query, place: Place, hits: Sequence[Hit]) -> Hit | None:
        """Of words that can only be guessed at and were not found: where they would be, if anywhere."""
        if hits or not query.unsure:
            return None
        return next(iter(self._memory.recall.find(query, place.scope, threshold=LIKELIEST, limit=1)), None)

    def _shown(self, event: str, place: Place, found: Found) -> FindOut:
        unseen = self._views.blind(blind(self._memory.store, place))
        return FindOut(
            event=event,
            hits=[self._views.hit(hit, telling(self._memory.store, hit, asked=found.query.text)) for hit in found.hits],
            searched=self._views.searched(place.rows, place.scope.span),
            gaps=unseen.gaps,
            more_gaps=unseen.more,
            understood=list(found.query.understood),
            unknown=list(found.query.unknown),
            unsure=list(found.query.unsure),
            note=self._note(found),
        )

    def _note(self, found: Found) -> str:
        notes = _notes(found)
        if found.likeliest is not None:
            hit = self._views.hit(found.likeliest, ())
            notes.append(f"Likeliest, but not sure: {hit.stream_name}, {hit.span.label} ({hit.score:.0%}).")
        return " ".join(notes)


def _notes(found: Found) -> list[str]:
    notes = []
    if not found.watched:
        notes.append("There is no footage in what was searched.")
    if found.query.unknown:
        notes.append(f"This profile cannot look for: {', '.join(found.query.unknown)}.")
    if found.query.unsure:
        notes.append(f"It cannot be sure of: {', '.join(found.query.unsure)}.")
    if found.watched and not found.hits:
        notes.append("Nothing in the footage passed the threshold.")
        if found.query.unknown and not _QUOTES.intersection(found.query.text):
            notes.append("To find words that are said or written, put them in quotation marks.")
    return notes


def searched_spans(store: Store, place: Place) -> Iterator[tuple[StreamId, Span]]:
    """Where is really looked, per stream: the span asked about, or everything remembered."""
    for row in place.rows:
        span = place.scope.span or store.streams.told(row.id)
        if span is not None:
            yield row.id, Span(span.start, max(span.end, Moment(span.start + 1)))


def watched(store: Store, place: Place) -> bool:
    """Whether there is any footage in the place."""
    return any(store.timeline.coverage(stream, span) for stream, span in searched_spans(store, place))


def blind(store: Store, place: Place) -> tuple[Gap, ...]:
    """The gaps in the place, as they are told."""
    spans = searched_spans(store, place)
    return tuple(gap for stream, span in spans for gap in flapping(store.timeline.gaps(stream, span)))
