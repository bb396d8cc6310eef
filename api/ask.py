"""Ask: a question in words, answered from the footage with citations, or an honest "not in the footage"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from api.absence import no_footage, not_found, nothing_of_note
from api.citations import Checked, supported
from api.find import Finder, Found, blind, watched
from api.highlights import moments
from api.recollecting import with_recollection
from api.refining import Refiner
from api.schemas import AnswerOut, AskIn, SearchedOut
from api.scope import Place, Scopes
from api.settings import Settings
from api.telling import telling
from api.views import Blind, Views
from ingest.clock import Clock
from ingest.questions import Evidence, Hit
from memory.memory import Memory
from models.language.questions import take_apart
from models.protocols import VideoSystem

EXHIBITS = 8
UNSUPPORTED = "The answer that was written cited nothing in the footage, so it is not shown."


@dataclass(slots=True)
class _Timings:
    """Milliseconds per step, on the monotonic clock."""

    clock: Clock
    steps: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()

    def done(self, step: str) -> None:
        now = self.clock.monotonic()
        self.steps[step] = round((now - self._began) * 1000, 1)
        self._began = now


@dataclass(frozen=True, slots=True)
class _Written:
    """An answer that has been checked."""

    text: str
    evidence: Evidence
    unseen: Blind
    found: bool = False
    cited: tuple[int, ...] = ()
    citations_removed: int = 0
    sentences_removed: int = 0


@dataclass(frozen=True, slots=True)
class Memories:
    """What an answer is made from: where to look, how to look, and what to look with."""

    memory: Memory
    finder: Finder
    scopes: Scopes
    views: Views


class Asker:
    """Questions answered from evidence, each citation checked."""

    def __init__(
        self, memories: Memories, system: VideoSystem, refiner: Refiner, settings: Settings, clock: Clock
    ) -> None:
        self._memories = memories
        self._system = system
        self._refiner = refiner
        self._profile = settings.profile
        self._clock = clock

    def ask(self, request: AskIn) -> Iterator[str | AnswerOut]:
        """The answer piece by piece, then whole. Closing the iterator stops the model."""
        timings = _Timings(self._clock)
        wanted, place = self._memories.scopes.understand(request.question, request)
        store = self._memories.memory.store
        if not watched(store, place):
            unseen = self._memories.views.blind(blind(store, place))
            text = no_footage(self._searched(place), unseen)
            yield text
            yield self._answer(request, place, _Written(text, Evidence(()), unseen), timings)
            return
        found = self._memories.finder.look(wanted or request.question, place, limit=EXHIBITS)
        timings.done("recall")
        evidence = replace(self._evidence(found, place), wanted=wanted)
        timings.done("evidence")
        if found.hits and take_apart(request.question).aim == "when":
            evidence = self._refiner.evidence(found.query.text, evidence)
            timings.done("refining")
        unseen = self._memories.views.blind(evidence.gaps)
        if not evidence.exhibits:
            if found.query.understood or found.query.unknown:
                text = not_found(self._searched(place), unseen, found.query.unknown)
            else:
                text = nothing_of_note(self._searched(place), unseen)
            yield text
            yield self._answer(request, place, _Written(text, evidence, unseen), timings)
            return
        evidence = with_recollection(evidence, self._system, self._memories.memory)
        checked = Checked({exhibit.number for exhibit in evidence.exhibits})
        for piece in self._system.answer(request.question, evidence):
            if "first_token" not in timings.steps:
                timings.done("first_token")
            if shown := checked.feed(piece):
                yield shown
        if shown := checked.finish():
            yield shown
        timings.done("answer")
        kept = supported(checked.text)
        matched = bool(kept.cited) and (bool(found.hits) or not (found.query.understood or found.query.unknown))
        written = _Written(
            kept.text or UNSUPPORTED, evidence, unseen, matched, kept.cited, checked.removed, kept.removed
        )
        yield self._answer(request, place, written, timings)

    def _evidence(self, found: Found, place: Place) -> Evidence:
        """Exhibits of what was asked for. For an open question ("what happened?"), and where words cannot be looked
        for, of what happened at all: what is told is then told of that, and each exhibit shows the moment told. So it
        is for numbers and colours of things that were not recognised: what moved may be them."""
        store, asked = self._memories.memory.store, found.query.text
        hits: list[Hit] = list(found.hits)
        open_question = bool(found.query.unknown) or not found.query.understood
        if not hits and (open_question or take_apart(asked).aim in ("count", "colour")):
            hits = moments(store, place.scope, asked=asked, limit=EXHIBITS)
        evidence = self._memories.memory.recall.evidence(hits, place.scope, found.query)
        if not found.hits:
            evidence = replace(evidence, unknown=(*evidence.unknown, *evidence.unsure), unsure=())
        shown = [replace(one, observations=tuple(telling(store, one.hit, asked=asked))) for one in evidence.exhibits]
        names = tuple((row.id, row.name) for row in place.rows)
        return replace(evidence, exhibits=tuple(shown), names=names)

    def _searched(self, place: Place) -> SearchedOut:
        return self._memories.views.searched(place.rows, place.scope.span)

    def _answer(self, request: AskIn, place: Place, written: _Written, timings: _Timings) -> AnswerOut:
        views, evidence = self._memories.views, written.evidence
        return AnswerOut(
            question=request.question,
            text=written.text,
            found=written.found,
            citations=[views.citation(exhibit) for exhibit in evidence.exhibits if exhibit.number in written.cited],
            citations_removed=written.citations_removed,
            sentences_removed=written.sentences_removed,
            searched=self._searched(place),
            gaps=written.unseen.gaps,
            more_gaps=written.unseen.more,
            unknown=list(evidence.unknown),
            model=self._system.id,
            profile=self._profile,
            timings_ms=timings.steps,
        )
