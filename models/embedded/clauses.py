"""Sentences as clauses in the encoder's space: what is understood, what is not, and the query that results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ingest.records import Query, Vector
from models.embedded.space import DIM, Sense, concept_query, motion_slot, scene_slot, word_query
from models.embedded.vocabulary import GRAMMAR, LONGEST_PHRASE, PEOPLE, PLACES, Meaning, lemma, meaning

_SLOPE: Final = 14.0
_CONCEPTS_AT, _WORDS_AT, _QUOTATION_AT = 0.75, 0.65, 0.52
"""Calibration: the mean of clauses from which a match is more likely than not. Other words on the page are noise
around a word's own score of 1, so words ask for less, and many words that must come together for still less."""
_FUNCTION_SHARE = 0.5
"""The function words of a quotation weigh as much as its other words together: alone they are never enough."""
_LEAST_QUOTED = 7
"""Words of the shortest sentence that may be taken for a quotation without quotation marks."""
_ASKING: Final = re.compile(r"wh\w+|how|is|are|was|were|do|does|did|has|have|had|can|could|find|show")
_UNKNOWN_SHARE = 0.5
"""A sentence about something that cannot be recognised is at most half met by what can."""
_QUOTED = re.compile(r"[\"“”«»]([^\"“”«»]+)[\"“”«»]")
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, eq=False)
class Clause:
    """One thing that a sentence claims: its words, and the vector whose product with a frame says how true it is."""

    phrase: str
    vector: Vector
    known: bool = True
    at: float = _CONCEPTS_AT
    """From how much of it on it is more likely met than not."""


@dataclass
class _Reading:
    """A sentence taken apart."""

    found: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    shouted: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """All words in lower case, in order, those within quotation marks apart."""

    def values(self, role: str) -> list[str]:
        return self.found.get(role, [])

    def has(self, role: str) -> bool:
        return role in self.found

    def note(self, what: Meaning) -> None:
        values = self.found.setdefault(what.role, [])
        if what.value and what.value not in values:
            values.append(what.value)


def query(sentence: str) -> Query:
    """`sentence` as a calibrated query; `understood` and `unknown` are phrases a person can read."""
    clauses = parse(sentence)
    known = [clause for clause in clauses if clause.known]
    unknown = [clause for clause in clauses if not clause.known]
    vector = np.zeros(DIM, dtype=np.float32)
    middle = 0.0
    for group, share in ((known, 1.0 - _UNKNOWN_SHARE), (unknown, _UNKNOWN_SHARE)):
        weight = (share if known and unknown else 1.0) / max(len(group), 1)
        for clause in group:
            vector += np.float32(weight) * clause.vector
            middle += weight * clause.at
    return Query(
        text=sentence,
        vector=vector,
        slope=_SLOPE,
        offset=-_SLOPE * (middle if clauses else 1.0),
        understood=tuple(dict.fromkeys(clause.phrase for clause in known)),
        unknown=tuple(dict.fromkeys(clause.phrase for clause in unknown)),
    )


def parse(sentence: str) -> list[Clause]:
    """The clauses of a sentence, in a fixed order. An empty list when it says nothing at all."""
    reading = _read(sentence)
    if _is_quotation(reading):
        return [_quotation(reading)]
    clauses = [*_said_or_written(reading), *_facts(reading), *_things(reading)]
    return [*clauses, *_unknown(reading)]


def _read(sentence: str) -> _Reading:
    reading = _Reading()
    reading.quoted = [word for text in _QUOTED.findall(sentence) for word in _TOKEN.findall(text)]
    tokens = _TOKEN.findall(_QUOTED.sub(" ", sentence))
    reading.tokens = [token.lower() for token in tokens]
    shout = [token.isupper() and len(token) > 1 for token in tokens]
    lemmas = [lemma(token.lower().replace("’", "'")) for token in tokens]
    at = 0
    while at < len(tokens):
        size, what = (0, None) if shout[at] else _longest(lemmas, at)
        if what is not None:
            reading.note(what)
        elif shout[at]:
            reading.shouted.append(tokens[at])
        elif lemmas[at] not in GRAMMAR:
            reading.words.append(tokens[at].lower())
        at += max(size, 1)
    return reading


def _is_quotation(reading: _Reading) -> bool:
    """Whether a sentence is what someone said rather than what can be seen: long, mostly function words, no question,
    and about nothing that the encoder could see."""
    tokens = reading.tokens
    if (
        len(tokens) < _LEAST_QUOTED
        or _ASKING.fullmatch(tokens[0])
        or not reading.words
        or reading.quoted
        or reading.shouted
    ):
        return False
    return set(reading.found) <= {"not"} and 2 * len(reading.words) < len(tokens)


def _quotation(reading: _Reading) -> Clause:
    """One clause of all the words of a sentence."""
    content = list(dict.fromkeys(reading.words))
    function = [word for word in dict.fromkeys(reading.tokens) if word not in content]
    vector = np.zeros(DIM, dtype=np.float32)
    for words, share in ((content, 1.0 - _FUNCTION_SHARE), (function, _FUNCTION_SHARE)):
        for word in words:
            vector += np.float32(share / len(words)) * word_query(word)
    return Clause(f'"{" ".join(reading.tokens)}"', vector, at=_QUOTATION_AT)


def _longest(lemmas: Sequence[str], at: int) -> tuple[int, Meaning | None]:
    for size in range(min(LONGEST_PHRASE, len(lemmas) - at), 0, -1):
        found = meaning(" ".join(lemmas[at : at + size]))
        if found is not None:
            return size, found
    return 0, None


def _said_or_written(reading: _Reading) -> Iterator[Clause]:
    """Words to be read or heard, and that there is text or speech at all."""
    literal = [*reading.quoted, *reading.shouted]
    sense: Sense = "either"
    if reading.has("speech"):
        reading.words = [word for word in reading.words if word not in PEOPLE]
    if reading.has("text") or reading.has("speech"):
        literal += reading.words
        reading.words = []
        sense = "heard" if reading.has("speech") else "read"
    for word in literal:
        yield Clause(f'"{word}"', word_query(word, sense), at=_WORDS_AT)
    if not literal and reading.has("text"):
        if reading.has("not"):
            yield Clause("no text", concept_query({scene_slot("text judged"): 1.0, scene_slot("text"): -1.0}))
        else:
            yield Clause("text", concept_query({scene_slot("text"): 1.0}))
    if not literal and reading.has("speech"):
        yield Clause("speech", concept_query({scene_slot("speech"): 1.0}), known=not reading.has("not"))


def _facts(reading: _Reading) -> Iterator[Clause]:
    for fact in reading.values("fact"):
        yield Clause(fact, concept_query({scene_slot(fact): 1.0}))
    if reading.has("picture") and not reading.has("thing") and not reading.has("action"):
        for colour in reading.found.pop("colour", []):
            yield Clause(f"{colour} picture", concept_query({scene_slot(f"picture {colour}"): 1.0}))


def _things(reading: _Reading) -> Iterator[Clause]:
    colours = reading.values("colour") or [""]
    about_things = any(reading.has(role) for role in ("thing", "action", "colour", "count", "place", "size"))
    if reading.has("empty") or "moves" in reading.values("not"):
        reading.words = [word for word in reading.words if word not in PLACES]
        action = "present" if reading.has("empty") else "moves"
        yield Clause("empty" if action == "present" else "nothing moves", _absence([motion_slot(action)]))
        return
    if reading.has("text") or reading.has("speech") or not about_things:
        if reading.has("not") and not about_things and not reading.has("text") and not reading.words:
            yield Clause("empty", _absence([motion_slot("present")]))
        return
    plain_presence = not any(reading.has(role) for role in ("action", "count", "place", "size"))
    for action in reading.values("action") or (["present"] if plain_presence or reading.has("colour") else []):
        slots = [motion_slot(action, colour) for colour in colours]
        phrase = " ".join(
            ["something", *(colour for colour in colours if colour), action.replace("present", "")]
        ).strip()
        if reading.has("not"):
            yield Clause(f"not {phrase}", _absence(slots))
        else:
            yield Clause(phrase, concept_query({slot: 1.0 / len(slots) for slot in slots}))
    yield from _arrangement(reading)


def _arrangement(reading: _Reading) -> Iterator[Clause]:
    """How many, where and how large."""
    counts = reading.values("count")
    for count in [count for count in counts if count != "several"] or counts:
        facts = ("two", "three", "many") if count == "several" else (count,)
        yield Clause(
            "one thing" if count == "one" else f"{count} things",
            concept_query({scene_slot(fact): 1.0 for fact in facts}),
        )
    for place in reading.values("place"):
        yield Clause(f"something on the {place}", concept_query({scene_slot(place): 1.0}))
    for size in reading.values("size"):
        yield Clause(f"something {size}", concept_query({scene_slot(size): 1.0}))


def _absence(slots: Sequence[int]) -> Vector:
    """Met where motion was judged and none of `slots` holds."""
    weights = {slot: -1.0 / len(slots) for slot in slots}
    return concept_query({scene_slot("motion judged"): 1.0, **weights})


def _unknown(reading: _Reading) -> Iterator[Clause]:
    """Words that mean nothing to the encoder count only where they were read or heard; "no dog" counts nowhere."""
    for word in dict.fromkeys(reading.words):
        vector = np.zeros(DIM, dtype=np.float32) if reading.has("not") else word_query(word)
        yield Clause(word, vector, known=False, at=_WORDS_AT)
