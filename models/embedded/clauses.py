"""Sentences as clauses in the encoder's space: what is understood, what is not, and the query that results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from ingest.questions import Query
from ingest.records import Vector
from models.embedded.claims import Clause
from models.embedded.naming import Told, mentioned, told
from models.embedded.sentences import Reading, read
from models.embedded.space import (
    DIM,
    EVEN,
    SLOPE,
    Sense,
    concept_query,
    motion_slot,
    scene_slot,
    sight_query,
    thing_slot,
    word_query,
)
from models.embedded.vocabulary import PEOPLE, PLACES, listed

_WORDS_AT, _QUOTATION_AT = 0.65, 0.52
"""Calibration: the mean of clauses from which a match is more likely than not. Other words on the page are noise
around a word's own score of 1, so words ask for less, and many words that must come together for still less."""
_FUNCTION_SHARE = 0.5
"""The function words of a quotation weigh as much as its other words together: alone they are never enough."""
_LEAST_QUOTED = 7
"""Words of the shortest sentence that may be taken for a quotation without quotation marks."""
_ASKING: Final = re.compile(r"wh\w+|how|is|are|was|were|do|does|did|has|have|had|can|could|find|show")
_UTTERED: Final = frozenset(listed("say, says, said, saying, mention, mentions, mentioned, mentioning, about"))
_UNKNOWN_SHARE = 0.5
"""A sentence about something that cannot be recognised is at most half met by what can."""
_FULL = 1.0 - EVEN
"""What a clause that is surely met has beyond even chances."""
_DOUBT_SLOPE = 6.0
_ASIDE_SHARE = 0.7
"""The same for sentences that say more than can be seen (a woman, a dog that plays): so probable at best."""
_RARER = 2.4
"""The tower is calibrated on pictures of which one in ten is right. What someone looks for in footage is rarer: one in
a hundred. This much lower (as a logarithm of odds) are its chances before anything is seen."""
_PERCEIVED = 0.6
"""How much of a clause about the whole picture it is that its words were read or heard."""


class Tower(Protocol):
    """Sentences as calibrated queries in the space of `Sight.vector`."""

    def query(self, text: str) -> Query: ...


def query(sentence: str, tower: Tower | None = None) -> Query:
    """`sentence` as a calibrated query; `understood` and `unknown` are phrases a person can read.

    Words that name nothing the encoder recognises are compared with the whole picture through the `tower`.
    """
    reading = read(sentence)
    _settle(reading)
    if _is_quotation(reading):
        return _weighed(sentence, reading, [_quotation(reading)], ())
    unseen = reading.has("not") or reading.has("empty") or _is_about_words(reading)
    text = tower.query(sentence) if tower is not None and reading.words and not unseen else None
    unsure = tuple(dict.fromkeys(word for word in reading.words if text is not None and word not in text.unknown))
    if text is None or not unsure or not text.vector.any():
        return _weighed(sentence, reading, _clauses(reading), ())
    reading.words = [word for word in reading.words if word not in unsure]
    about = [*_said_or_written(reading), *mentioned(reading), _sight(text, unsure), *_unknown(reading)]
    return _weighed(sentence, reading, about, unsure)


def parse(sentence: str) -> list[Clause]:
    """The clauses of a sentence, in a fixed order. An empty list when it says nothing at all."""
    reading = read(sentence)
    _settle(reading)
    return [_quotation(reading)] if _is_quotation(reading) else _clauses(reading)


def _settle(reading: Reading) -> None:
    """Qualities are words like others where nothing is named; where things are, the place they are in is context."""
    if reading.has("empty"):
        reading.mentions.clear()
    if not any(not mention.place for mention in reading.mentions):
        reading.words = sorted([*reading.words, *reading.aside], key=reading.tokens.index)
        reading.aside = []
    else:
        reading.words = [word for word in reading.words if word not in PLACES]


def _clauses(reading: Reading) -> list[Clause]:
    clauses = [*_said_or_written(reading), *_facts(reading), *mentioned(reading), *_things(reading)]
    return [*clauses, *_unknown(reading)]


def _weighed(sentence: str, reading: Reading, clauses: Sequence[Clause], unsure: tuple[str, ...]) -> Query:
    """Clauses about named things must all be met; of others the mean counts."""
    known = [clause for clause in clauses if clause.known]
    unknown = [clause for clause in clauses if not clause.known]
    slope, full = _certainty(reading)
    if reading.mentions or unsure:
        weights = [clause.weight for clause in clauses]
        middle = sum(weight * (one.at + _FULL) for weight, one in zip(weights, clauses, strict=True)) - full
    else:
        share = {True: 1.0 - _UNKNOWN_SHARE, False: _UNKNOWN_SHARE} if known and unknown else {True: 1.0, False: 1.0}
        weights = [share[one.known] / len(known if one.known else unknown) for one in clauses]
        middle = sum(weight * one.at for weight, one in zip(weights, clauses, strict=True)) if clauses else 1.0
    vector = np.zeros(DIM, dtype=np.float32)
    for weight, clause in zip(weights, clauses, strict=True):
        vector += np.float32(weight) * clause.vector
    about = Told() if unsure else told(reading)
    return Query(
        text=sentence,
        vector=vector,
        slope=slope,
        offset=-slope * middle,
        understood=tuple(dict.fromkeys(one.phrase for one in known if one.phrase)),
        unknown=tuple(dict.fromkeys((*(clause.phrase for clause in unknown), *reading.aside))),
        unsure=(*(one.word for one in reading.mentions if one.share < 1.0), *unsure),
        lasting=reading.lasting_us,
        kinds=about.kinds,
        colour=about.colour,
        least=about.least,
        doing=about.doing,
    )


def _certainty(reading: Reading) -> tuple[float, float]:
    """The slope, and what a sentence that is surely met has beyond even chances."""
    shares = [one.share for one in reading.mentions] + [_ASIDE_SHARE] * bool(reading.mentions and reading.aside)
    least = min(shares, default=1.0)
    if least == 1.0:
        return SLOPE, _FULL
    return _DOUBT_SLOPE, float(np.log(least / (1.0 - least))) / _DOUBT_SLOPE


def _sight(text: Query, words: Sequence[str]) -> Clause:
    """The sentence beside the whole picture, or its words read or heard."""
    vector = sight_query(text.vector) * np.float32(text.slope / SLOPE)
    for word in words:
        vector += np.float32(_PERCEIVED / len(words)) * word_query(word)
    return Clause("", vector, at=(_RARER - text.offset) / SLOPE)


def _is_quotation(reading: Reading) -> bool:
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
    return set(reading.found) <= {"not"} and not reading.mentions and 2 * len(reading.words) < len(tokens)


def _is_about_words(reading: Reading) -> bool:
    """Whether the words of a sentence are to be heard, and not seen: said, or talked about."""
    return reading.has("speech") and not _UTTERED.isdisjoint(reading.tokens)


def _quotation(reading: Reading) -> Clause:
    """One clause of all the words of a sentence."""
    content = list(dict.fromkeys(reading.words))
    function = [word for word in dict.fromkeys(reading.tokens) if word not in content]
    vector = np.zeros(DIM, dtype=np.float32)
    for words, share in ((content, 1.0 - _FUNCTION_SHARE), (function, _FUNCTION_SHARE)):
        for word in words:
            vector += np.float32(share / len(words)) * word_query(word)
    return Clause(f'"{" ".join(reading.tokens)}"', vector, at=_QUOTATION_AT)


def _said_or_written(reading: Reading) -> Iterator[Clause]:
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


def _facts(reading: Reading) -> Iterator[Clause]:
    for fact in reading.values("fact"):
        yield Clause(fact, concept_query({scene_slot(fact): 1.0}))
    if reading.has("picture") and not reading.has("thing") and not reading.has("action"):
        for colour in reading.found.pop("colour", []):
            yield Clause(f"{colour} picture", concept_query({scene_slot(f"picture {colour}"): 1.0}))


def _things(reading: Reading) -> Iterator[Clause]:
    colours = reading.values("colour") or [""]
    about_things = any(reading.has(role) for role in ("thing", "action", "colour", "count", "place", "size"))
    if reading.has("empty") or "moves" in reading.values("not"):
        reading.words = [word for word in reading.words if word not in PLACES]
        action = "present" if reading.has("empty") else "moves"
        nobody = [thing_slot("person")] if reading.has("empty") else []
        yield Clause("empty" if action == "present" else "nothing moves", _absence([motion_slot(action)], nobody))
        return
    if reading.mentions:
        for action in reading.values("action"):
            yield Clause(f"something {action}", concept_query({motion_slot(action): 1.0}))
        yield from _arrangement(reading)
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


def _arrangement(reading: Reading) -> Iterator[Clause]:
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


def _absence(slots: Sequence[int], others: Sequence[int] = ()) -> Vector:
    """Met where motion was judged and none of `slots` holds, nor any of `others`."""
    weights = {**{slot: -1.0 / len(slots) for slot in slots}, **dict.fromkeys(others, -1.0)}
    return concept_query({scene_slot("motion judged"): 1.0, **weights})


def _unknown(reading: Reading) -> Iterator[Clause]:
    """Words that mean nothing to the encoder count only where they were read or heard; "no dog" counts nowhere."""
    for word in dict.fromkeys(reading.words):
        vector = np.zeros(DIM, dtype=np.float32) if reading.has("not") else word_query(word)
        yield Clause(word, vector, known=False, at=_WORDS_AT)
