"""Where a quotation was said: word by word over the utterances of a stream, also when a pause parts it in two.

An utterance is kept with its text, its start and its end; a word within it is taken to last as long as it is written.
Utterances end at pauses, so that is right to a few tenths of a second.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.questions import Hit, Query, Scope
from ingest.records import Moment, Observation, Span, StreamId, seconds
from memory.spans import best_apart
from memory.store import Store
from models.embedded.sentences import apart

LEAST_WORDS = 3
"""Fewer words are found as words."""
_ALIKE = 0.8
"""Which part of the words must be those asked for: a recogniser mishears one of five."""
_PAUSE_US = seconds(5)
"""After a longer silence nobody goes on with a sentence."""
_MOST = 20_000
"""Utterances that are looked through, from the beginning of what is asked about."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A word, when it was said, and how sure that is."""

    word: str
    span: Span
    confidence: float


def quotation(query: Query) -> list[str]:
    """The words that someone is asked to have said, in order; none where more is asked, or less than a few words."""
    if not all(phrase.startswith('"') for phrase in query.understood):
        return []
    said = apart(query.text)[0] or [phrase for phrase in query.understood if " " in phrase]
    words = _words(said[0]) if len(said) == 1 else []
    return words if len(words) >= LEAST_WORDS else []


def with_quoted(hits: Sequence[Hit], query: Query, store: Store, scope: Scope, limit: int) -> list[Hit]:
    """The hits, and in the place of those that they overlap the stretches in which the quotation itself was said."""
    wanted = quotation(query)
    if not wanted:
        return list(hits)
    quoted = [hit for line in _lines(store, scope) for hit in _said(line, wanted)]
    lines = [hit for hit in hits if not any(one.stream == hit.stream and one.span.overlaps(hit.span) for one in quoted)]
    return best_apart([*quoted, *lines], limit)


def _lines(store: Store, scope: Scope) -> Iterator[tuple[StreamId, list[_Spoken]]]:
    """What was said without a long pause, word by word; what subtitles say is another line than what was heard."""
    lines: dict[tuple[StreamId, str, str], list[_Spoken]] = defaultdict(list)
    for one in store.timeline.observations(scope, kinds=("heard",), limit=_MOST):
        key = one.stream, one.label, one.actions[0] if one.actions else ""
        held = lines[key]
        if held and one.span.start - held[-1].span.end > _PAUSE_US:
            yield one.stream, held
            held = lines[key] = []
        held += _timed(one)
    for (stream, _, _), held in lines.items():
        yield stream, held


def _timed(one: Observation) -> Iterator[_Spoken]:
    found = list(_WORD.finditer(one.text))
    length = max(1, found[-1].end()) if found else 1
    for match in found:
        start, end = (one.span.start + one.span.duration * at // length for at in match.span())
        yield _Spoken(_plain(match.group()), Span(Moment(start), Moment(end)), one.score)


def _said(line: tuple[StreamId, Sequence[_Spoken]], wanted: Sequence[str]) -> Iterator[Hit]:
    stream, spoken = line
    size, at = len(wanted), 0
    while at + size <= len(spoken):
        part = spoken[at : at + size]
        alike = sum(one.word == word for one, word in zip(part, wanted, strict=True)) / size
        if alike < _ALIKE:
            at += 1
            continue
        span = Span(part[0].span.start, Moment(max(part[-1].span.end, part[0].span.start + 1)))
        sure = sum(one.confidence for one in part) / size
        yield Hit(stream, span, alike * sure, span.start)
        at += size


def _words(text: str) -> list[str]:
    return [_plain(word) for word in _WORD.findall(text)]


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")
