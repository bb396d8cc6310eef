"""The named things of a sentence as clauses: that they are there, how many, in which colour, and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from models.embedded.claims import Clause
from models.embedded.kinds import FACE, GROUPS, row_of
from models.embedded.nouns import plural
from models.embedded.sentences import Mention, Reading
from models.embedded.space import (
    COUNTED,
    EVEN,
    SLOPE,
    concept_query,
    doing_slot,
    dress_slot,
    number_slot,
    scene_slot,
    thing_slot,
)
from models.embedded.vocabulary import lemma

_PER_THING: Final = 5.0
"""How much each further thing adds to the logarithm of the odds that there are at least so many."""
_CONTEXT: Final = 0.06
"""A thing that says where another is (on a bed) is often half hidden: seeing it helps, missing it does little harm."""
_UNSEEN: Final = 0.87
"""Nothing seen of a kind is a sign of its absence, not a proof: things are overlooked."""
_WRITTEN: Final = {2: "two", 3: "three", 4: "four"}
_EVENTS: Final = frozenset({"enters", "leaves", "appears", "vanishes"})
_NOBODY: Final = ("nobody", "no", "noone")
_NUMBERS: Final = {"one": 1, "two": 2, "several": 2, "three": 3, "many": 4}


def mentioned(reading: Reading) -> Iterator[Clause]:
    for mention in reading.mentions:
        if mention.place:
            yield Clause("", concept_query({thing_slot(mention.kind): 1.0}), weight=_CONTEXT)
        elif reading.has("not") and mention.kind == "person" and any(one.kind == FACE for one in reading.mentions):
            # It is the face that is not there: "nobody looks at the camera" is no less true of people who turn away.
            yield from () if mention.word in _NOBODY else _claims(mention)
        elif reading.has("not"):
            yield _absent(mention)
        else:
            yield from _claims(mention)


@dataclass(frozen=True, slots=True)
class Told:
    """What observations may tell of a sentence: labels of the things it is about, and their colour and number, when all
    it says is that they are there, or that one comes, goes or passes; no labels when it says more."""

    kinds: tuple[str, ...] = ()
    colour: str = ""
    least: int = 1
    doing: str = ""


def told(reading: Reading) -> Told:
    """What observations may tell of what `reading` says."""
    besides = [*reading.words, *reading.aside, *reading.shouted, *reading.quoted, *({*reading.found} - {"picture"})]
    if len(reading.mentions) != 1 or besides:
        return Told()
    [mention] = reading.mentions
    if mention.place or len(set(mention.colours)) > 1 or mention.kind == FACE or mention.count == "only one":
        return Told()
    kinds = (mention.kind, *sorted(GROUPS.get(mention.kind, ())))
    colour, least = mention.colours[0] if mention.colours else "", _NUMBERS.get(mention.count, 1)
    if not mention.actions:
        return Told(kinds, colour, least)
    if mention.actions == ["moves"] and least == 1 and "pass" in map(lemma, reading.tokens):
        return Told(kinds, colour, doing="passes")
    happens = len(mention.actions) == least == 1 and mention.actions[0] in _EVENTS and mention.share == 1.0
    return Told(kinds, colour, doing=mention.actions[0]) if happens else Told()


def phrase(mention: Mention) -> str:
    """What is looked for, in words: "red car"."""
    return " ".join([*mention.colours, mention.kind])


def _claims(mention: Mention) -> Iterator[Clause]:
    row, name = row_of(mention.kind), phrase(mention)
    if mention.count == "only one":
        alone = {thing_slot(mention.kind): 1.0, number_slot(mention.kind): -_PER_THING / SLOPE * COUNTED}
        yield Clause(f"only one {name}", concept_query(alone), at=EVEN - _PER_THING / SLOPE)
    elif (least := _NUMBERS.get(mention.count, 1)) > 1:
        many = concept_query({number_slot(mention.kind): _PER_THING / SLOPE * COUNTED})
        yield Clause(f"{_WRITTEN[least]} {plural(mention.kind)}", many, at=_PER_THING / SLOPE * (least - 0.5))
    elif row != mention.kind or not (mention.colours or mention.actions):
        yield Clause(name, concept_query({thing_slot(mention.kind): 1.0}))
    for colour in mention.colours:
        yield Clause(name, concept_query({dress_slot(row, colour): 1.0}))
    for action in mention.actions:
        slot = thing_slot(mention.kind) if action == "present" else doing_slot(row, action)
        yield Clause(f"{name} {action}", concept_query({slot: 1.0}))


def _absent(mention: Mention) -> Clause:
    """Without a doing the thing itself is absent; with one, it is there and does not do it."""
    row = row_of(mention.kind)
    if mention.actions:
        weights = {doing_slot(row, action): -1.0 / len(mention.actions) for action in mention.actions}
        still = {thing_slot(mention.kind): 1.0} | weights
        return Clause(f"not {phrase(mention)} {mention.actions[0]}", concept_query(still))
    slots = [dress_slot(row, colour) for colour in mention.colours] or [thing_slot(mention.kind)]
    judged = "faces judged" if mention.kind == FACE else "things judged"
    weights = {scene_slot(judged): _UNSEEN, **dict.fromkeys(slots, -1.0)}
    return Clause(f"no {phrase(mention)}", concept_query(weights))
