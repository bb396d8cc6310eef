"""Answers composed from the evidence alone: what was observed is told, what could not be looked for is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from ingest.questions import Evidence
from ingest.records import Observation, Span, StreamId
from models.embedded.nouns import plural
from models.language.questions import Aim, Question, mentions, take_apart
from models.language.telling import Teller, a, at_once, duration, join, merged, some, thing

_MOST_LISTED = 5
_MOST_TOLD_APART = 12
"""Of more things than these the colours are counted first."""
_PERMANENT = 0.5
"""Text shown for more than this share of a stream's footage is part of the place, not of what happened."""
_PERMANENT_US = 20_000_000
_SURE = 0.75
_NAMED_SURE = 0.5
"""A thing with a name is told from this probability on; of things without, most that are less sure are noise."""
_BRIEF_US = 700_000
"""Things seen for a shorter time are not counted: most are flicker."""
_PASSING_US = 500_000
"""More or fewer things at once for a shorter time than this are two ways of seeing the same."""
_NEAR = {"grey": {"white"}, "white": {"grey"}, "brown": {"orange", "red"}, "black": {"grey"}}
"""Colours that are easily taken for one another."""

_Part = Callable[[Question, Evidence, Teller], Iterator[str]]


class ExtractiveSystem:
    """A `VideoSystem` without a language model. It never says what is not in the evidence."""

    id = "extractive"

    def __init__(self, *, zone: str = "UTC") -> None:
        """`zone` is the name of the time zone that live times are told in."""
        self._zone = zone

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        asked, teller = take_apart(evidence.wanted or question), Teller(evidence, self._zone)
        said = False
        for sentence in _sentences(asked, evidence, teller):
            yield f" {sentence}" if said else sentence
            said = True


def _sentences(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    unknown = tuple(dict.fromkeys((*asked.unknown, *evidence.unknown)))
    named = {one.label for one in evidence.observations if one.kind == "thing"}
    unsure = set(evidence.unsure)
    unknown = tuple(word for word in unknown if not {word, word.rstrip("s")} & (named | unsure))
    known_by_word = _spoken_or_written((*unknown, *evidence.unsure), evidence)
    if unknown and not (known_by_word and asked.aim == "which"):
        yield f"I cannot recognise {join([_quoted(word) for word in unknown], 'or')} in the picture."
    if evidence.unsure and not known_by_word:
        yield f"I cannot be sure of {join([_quoted(word) for word in evidence.unsure])}."
    if asked.aim not in ("text", "speech", "language"):
        yield from _quote(known_by_word, teller)
    yield from _PARTS[asked.aim](asked, evidence, teller)
    absent, unseeing, partly, unheard, misdated = teller.blind(evidence, _MOST_LISTED)
    if absent:
        yield f"There was no video {'; '.join(absent)}."
    if unseeing:
        yield f"The picture was {'; '.join(unseeing)}."
    if partly:
        yield f"Only part could be looked at of {'; '.join(partly)}."
    if unheard:
        yield f"Not all that sounded was listened to: {'; '.join(unheard)}."
    if misdated:
        yield f"It may have been earlier than told {'; '.join(misdated)}."
    if not evidence.gaps and not evidence.searched and not evidence.observations:
        yield "There is no footage in that time."


def _count(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    events = asked.events(evidence.observations)
    if events:
        noun = "time" if len(events) == 1 else "times"
        what = join(sorted({one.label for one in events}), "or")
        who = _capital(a(asked.kinds[0])) if asked.kinds else "Something"
        yield f"{who} {what} {len(events)} {noun}: {_listed(events, teller)}."
        return
    things = _distinct(asked.about(evidence.observations))
    if not things:
        yield from _nothing(asked, evidence, teller)
        return
    if asked.kinds and asked.number != "distinct":
        yield from _at_once(asked, evidence, things, teller)
        return
    what = _what(asked, len(things))
    yield f"{len(things)} different {what}{'' if asked.kinds else ' moved'}{_which_ones(things, teller)}."


def _at_once(asked: Question, evidence: Evidence, things: Sequence[Observation], teller: Teller) -> Iterator[str]:
    """The largest or smallest number of things at the same time, and when."""
    counted: list[tuple[int, StreamId, Span]] = []
    for stream, searched in evidence.searched:
        spans = [one.span for one in things if one.stream == stream]
        for number, span in at_once(spans, searched):
            if span.duration >= _PASSING_US:
                counted.append((number, stream, span))
    if not counted:
        yield f"{len(things)} different {_what(asked, len(things))}{_which_ones(things, teller)}."
        return
    best = max(counted) if asked.number == "most" else min(counted)
    number = best[0]
    times = [
        f"{teller.span(stream, span)}{teller.cite(stream, span)}" for count, stream, span in counted if count == number
    ]
    most = "most" if asked.number == "most" else "fewest"
    yield f"{number} {_what(asked, number)} at the same time at the {most}: {some(times, _MOST_LISTED)}."
    if len(things) <= _MOST_LISTED:
        yield f"{_capital(_listed(things, teller))}."


def _what(asked: Question, number: int) -> str:
    """ "red cars", "1 thing"."""
    kind = asked.kinds[0] if asked.kinds else "thing"
    name = kind if number == 1 else plural(kind)
    return f"{join(sorted(asked.colours), 'or')} {name}".strip()


def _colour(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    reference = _reference(asked, evidence) if asked.colours else []
    everything = _distinct(
        [one for one in evidence.observations if one.kind == "thing" and one.colour and asked.named(one.label)]
    )
    beside = [
        one
        for one in everything
        if any(
            one.key != other.key and one.stream == other.stream and one.span.overlaps(other.span) for other in reference
        )
    ]
    things = beside if asked.colours and beside else everything
    if not things:
        yield from _nothing(asked, evidence, teller)
        return
    if asked.colours and not reference:
        yield f"I saw nothing {join(sorted(asked.colours), 'or')}{'' if asked.kinds else ' move'}."
    subject = f"The {asked.kinds[0]} was" if asked.kinds else "What moved was"
    yield f"{subject} {_listed([*things], teller, colour_only=True)}."


def _reference(asked: Question, evidence: Evidence) -> list[Observation]:
    """What has the colour asked about, or one that is easily taken for it."""
    exactly = _distinct(asked.about(evidence.observations))
    near = frozenset(other for colour in asked.colours for other in _NEAR.get(colour, ()))
    return exactly or _distinct(replace(asked, colours=near).about(evidence.observations) if near else [])


def _when(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    found = asked.events(evidence.observations)
    if found or asked.unknown or asked.negative:
        found = found or (_distinct(asked.about(evidence.observations)) if not asked.negative else [])
        if found:
            yield f"{_capital(_listed(found, teller))}."
            return
    if evidence.exhibits:
        times = [
            f"{teller.span(one.hit.stream, one.hit.span)}{teller.where(one.hit.stream)} [{one.number}]"
            for one in sorted(evidence.exhibits, key=lambda one: (one.hit.stream, one.hit.span))
        ]
        yield f"At {some(times, _MOST_LISTED)}."
        return
    yield from _nothing(asked, evidence, teller)


def _how_long(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    spans = [(one.hit.stream, one.hit.span) for one in evidence.exhibits]
    if not spans:
        spans = [(one.stream, one.span) for one in _distinct(asked.about(evidence.observations))]
    if not spans:
        yield from _nothing(asked, evidence, teller)
        return
    for stream in sorted({stream for stream, _ in spans}):
        joined = merged([span for owner, span in spans if owner == stream])
        total = sum(span.duration for span in joined)
        times = [f"{teller.span(stream, span)}{teller.cite(stream, span)}" for span in joined]
        yield f"{_capital(duration(total))} in all{teller.where(stream)}: {some(times, _MOST_LISTED)}."


def _text(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    yield from _words("read", asked, evidence, teller)


def _speech(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    yield from _words("heard", asked, evidence, teller)


def _words(kind: Literal["read", "heard"], asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    """What was read or heard: of the words asked for where there are some, or all of it."""
    every = [one for one in evidence.observations if one.kind == kind]
    lines = [one for one in every if mentions(asked.literal, one.text)] if asked.literal else every
    what, beginning = {"read": ("text", "The text shown"), "heard": ("speech", "I heard")}[kind]
    if lines:
        yield f"{beginning}: {some([f'{_quoted(one.text)} ({teller.at(one)})' for one in lines], 2 * _MOST_LISTED)}."
    elif every:
        yield f"I {kind} nothing with {join([_quoted(word) for word in asked.literal], 'or')} in that footage."
    else:
        yield f"I {kind} no {what} in that footage."


def _language(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    """What speech was taken for: who listens may know one language alone."""
    spoken = [one for one in evidence.observations if one.kind == "heard" and one.actions]
    if not spoken:
        yield "I heard no speech in that footage."
    for language in dict.fromkeys(one.actions[0] for one in spoken):
        lines = [one for one in spoken if one.actions[0] == language]
        times = some([f"{_quoted(one.text)} ({teller.at(one)})" for one in lines], _MOST_LISTED)
        yield f"What I took for “{language}”: {times}."


def _whether(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    if evidence.exhibits and not asked.unknown:
        times = [
            f"{teller.span(one.hit.stream, one.hit.span)}{teller.where(one.hit.stream)} [{one.number}]"
            for one in evidence.exhibits
        ]
        yield f"Yes: {some(times, _MOST_LISTED)}."
        return
    if not asked.unknown:
        things = asked.events(evidence.observations)
        things = things or (_distinct(asked.about(evidence.observations)) if asked.actions or asked.colours else [])
        if things and not asked.negative:
            yield f"Yes: {_listed(things, teller)}."
            return
        yield from _nothing(asked, evidence, teller)
        return
    things = _distinct(asked.about(evidence.observations))
    if things:
        yield f"What I can tell: {_listed(things, teller)}."


def _what_happened(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    everything = _distinct([one for one in evidence.observations if one.kind == "thing"])
    named, things = ([one for one in everything if (one.label != "something") == known] for known in (True, False))
    events = [one for one in evidence.observations if one.kind == "event"]
    if named:
        yield f"I saw {_tally(named)}: {_listed(named, teller)}."
    if things:
        more = "more " if named else ""
        yield f"{len(things)} {more}thing{'s' if len(things) != 1 else ''} moved{_which_ones(things, teller)}."
    if events and len(things) <= _MOST_LISTED:
        told = [f"{thing(one)} {one.label} at {teller.at(one)}" for one in events]
        yield f"{_capital(some(told, _MOST_LISTED))}."
    passing = tuple(one for one in evidence.observations if not _permanent(one, evidence))
    if any(one.kind == "read" for one in passing):
        yield from _text(asked, replace(evidence, observations=passing), teller)
    if any(one.kind == "heard" for one in evidence.observations):
        yield from _speech(asked, evidence, teller)
    if not evidence.observations and evidence.searched:
        yield f"I noticed nothing in {teller.searched(evidence)}."


def _which(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    """A question about something beyond motion and colour: what was read and heard may hold the answer."""
    if _spoken_or_written(asked.unknown, evidence):
        return
    if asked.kinds:
        found = _distinct(asked.about(evidence.observations))
        yield from iter([f"{_capital(_listed(found, teller))}."] if found else _nothing(asked, evidence, teller))
        return
    kinds = {one.kind for one in evidence.observations}
    if kinds & {"read", "heard"}:
        for part, kind in ((_text, "read"), (_speech, "heard")):
            if kind in kinds:
                yield from part(asked, evidence, teller)
        return
    things = _distinct(asked.about(evidence.observations))
    if things:
        yield f"What I can tell: {_listed(things, teller)}."
    else:
        yield from _nothing(asked, evidence, teller)


def _nothing(asked: Question, evidence: Evidence, teller: Teller) -> Iterator[str]:
    if not evidence.searched:
        return
    if asked.colours and not asked.kinds and not asked.unknown and asked.actions <= {"moves", "present"}:
        yield f"Nothing {join(sorted(asked.colours), 'or')} moved in {teller.searched(evidence)}."
        return
    found = "nothing moving" if asked.unknown else "nothing like that"
    found = f"no {_what(asked, 1)}" if asked.kinds else found
    yield f"I found {found} in {teller.searched(evidence)}."
    if asked.kinds and asked.aim in ("count", "colour"):
        unnamed = _distinct([one for one in evidence.observations if (one.kind, one.label) == ("thing", "something")])
        if unnamed:
            yield f"What moved there, and could not be named: {_listed(unnamed, teller)}."


def _spoken_or_written(words: Sequence[str], evidence: Evidence) -> list[Observation]:
    candidates = [one for one in evidence.observations if one.kind in ("read", "heard")]
    return [one for one in candidates if mentions(words, one.text)] if words else []


def _quote(found: Sequence[Observation], teller: Teller) -> Iterator[str]:
    if found:
        told = [f"{_quoted(one.text)} was {one.kind} at {teller.at(one)}" for one in found]
        yield f"{_capital(some(told, _MOST_LISTED))}."


def _distinct(things: Sequence[Observation]) -> list[Observation]:
    """Each thing once, flicker left out, in order of time."""
    latest = {one.key: one for one in things}
    sure = [one for one in latest.values() if one.score >= (_SURE if one.label == "something" else _NAMED_SURE)]
    lasting = [one for one in sure if one.span.duration >= _BRIEF_US]
    return sorted(lasting, key=lambda one: (one.stream, one.span))


def _tally(things: Sequence[Observation]) -> str:
    """ "2 people and a dog"."""
    counts = Counter(one.label for one in things)
    return join([a(label) if count == 1 else f"{count} {plural(label)}" for label, count in counts.most_common()])


def _which_ones(things: Sequence[Observation], teller: Teller) -> str:
    """Things one by one as far as a reader follows; of many, their colours first."""
    tally = Counter(one.colour for one in things if one.colour)
    colours = join([f"{count} {colour}" for colour, count in tally.most_common(_MOST_LISTED)])
    return (f", {colours}" if len(things) > _MOST_TOLD_APART and tally else "") + f": {_listed(things, teller)}"


def _permanent(one: Observation, evidence: Evidence) -> bool:
    """Whether a line of text was there nearly all the time."""
    spans = [span for stream, span in evidence.searched if stream == one.stream]
    shared = [common.duration for span in spans if (common := span.intersection(one.span)) is not None]
    share = sum(shared) / max(sum(span.duration for span in spans), 1)
    return one.kind == "read" and share > _PERMANENT and sum(shared) >= _PERMANENT_US


def _listed(found: Sequence[Observation], teller: Teller, *, colour_only: bool = False) -> str:
    parts = []
    for one in found:
        doing = "" if colour_only else f" {one.label if one.kind == 'event' else join(one.actions)}"
        parts.append(f"{one.colour if colour_only else thing(one)}{doing.rstrip()} ({teller.at(one)})")
    return some(parts, _MOST_LISTED)


def _quoted(text: str) -> str:
    return f"“{text.strip(chr(34))}”"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_PARTS: dict[Aim, _Part] = {
    "count": _count,
    "colour": _colour,
    "when": _when,
    "how long": _how_long,
    "language": _language,
    "text": _text,
    "speech": _speech,
    "whether": _whether,
    "what happened": _what_happened,
    "which": _which,
}
