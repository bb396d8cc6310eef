"""What a question asks for, as far as observations can answer it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ingest.records import Observation
from models.embedded.clauses import parse
from models.embedded.kinds import FACE, GROUPS
from models.embedded.sentences import apart, asks_for_writing, read
from models.embedded.space import ACTIONS, COLOURS

Number = Literal["distinct", "most", "fewest"]
"""What is counted: different things over time, or those in the picture at the same time."""
Aim = Literal["count", "colour", "when", "how long", "language", "text", "speech", "whether", "what happened", "which"]

_AIMS: Final[tuple[tuple[Aim, str], ...]] = (
    ("count", r"\b(how many|number of|count)\b"),
    ("colour", r"\b(what|which) colou?rs?\b"),
    ("how long", r"\bhow long\b|\bfor how (long|much time)\b"),
    ("when", r"^\s*(when|since when|until when)\b|\b(at )?what time\b"),
    ("language", r"\b(what|which) languages?\b"),
    ("speech", r"\b(what|which|who)\b.*\b(said|say|says|saying|spoken|speaks?|talks?|talking|heard|mention(s|ed)?)\b"),
    ("text", r"\b(what|which)\b.*\b(text|written|writing|title|caption|sign|words?|read|label|says)\b"),
    ("what happened", r"\bwhat('s| is| was)? (happen\w*|going on|went on|there|new|seen|visible|in (it|there))\b"),
    ("what happened", r"^\s*(describe|summari[sz]e|tell me|list)\b|\bwhat (moves|moved|did you see|changed)\b"),
    ("whether", r"^\s*(did|do|does|is|are|was|were|has|have|had|can|could|any|anything|anyone)\b"),
    ("which", r"\b(what|which|who|whose|where)\b"),
)

_NUMBER: Final[tuple[tuple[Number, str], ...]] = (
    ("fewest", r"\b(smallest|lowest|least|minimum|fewest)\b"),
    ("most", r"\b(at once|at the same time|largest|highest|most|maximum)\b"),
    (
        "distinct",
        r"\b(how many|number of|count)\b.*\b(pass|passe[ds]|came|come|enter|left|leave|different)\w*\b",
    ),
    ("most", r"\b(how many)\b.*\b(is|are|was|were|do you see|can you see|stand|sit|lie)\b"),
)


@dataclass(frozen=True)
class Question:
    """A question taken apart: what it is after, and the kinds, colours, actions and words it is about."""

    aim: Aim
    number: Number
    kinds: tuple[str, ...]
    colours: frozenset[str]
    actions: frozenset[str]
    unknown: tuple[str, ...]
    literal: tuple[str, ...]
    """Words to be read or heard."""
    negative: bool

    def about(self, observations: Sequence[Observation]) -> list[Observation]:
        """The things among `observations` that the question is about; without a name for them, those that moved."""
        things = [one for one in observations if one.kind == "thing" or one.label in self.kinds]
        if not self.kinds and not self._rests:
            things = [one for one in things if one.actions != ("stays",)]
        return [one for one in things if self._fits(one)]

    def named(self, label: str) -> bool:
        """Whether a thing of this name is one of those asked about."""
        return not self.kinds or any(label == kind or label in GROUPS.get(kind, ()) for kind in self.kinds)

    @property
    def _rests(self) -> bool:
        return "stays" in self.actions

    def _fits(self, one: Observation) -> bool:
        directed = {action for action in self.actions if action.startswith("moves ") or action == "comes closer"}
        coloured = not self.colours or one.colour in self.colours
        return self.named(one.label) and coloured and (not directed or bool(directed & {*one.actions}))

    def events(self, observations: Sequence[Observation]) -> list[Observation]:
        """The arrivals and departures that the question asks about."""
        wanted = self.actions & {"enters", "leaves", "appears", "vanishes"}
        return [
            one
            for one in observations
            if one.kind == "event"
            and one.label in wanted
            and self.named(one.text)
            and (not self.colours or one.colour in self.colours)
        ]


def _kinds(text: str) -> tuple[str, ...]:
    """What is asked about. Of someone who looks at the camera that is the face."""
    named = tuple(dict.fromkeys(one.kind for one in read(text).mentions if not one.place))
    return (FACE,) if FACE in named else named


def take_apart(text: str) -> Question:
    """What a question asks for, and about what."""
    quoted, rest = apart(text)
    lowered = rest.lower()
    aim: Aim = next((aim for aim, pattern in _AIMS if re.search(pattern, lowered)), "whether")
    if aim == "speech" and asks_for_writing(text):
        aim = "text"
    clauses = parse(text)
    literal = tuple(clause.phrase.strip('"') for clause in clauses if clause.phrase.startswith('"'))
    if len(literal) == 1 and not quoted and " " in literal[0]:
        aim = "when"  # a quotation and nothing else
    words = {word for clause in clauses if clause.known for word in _parts(clause.phrase)}
    return Question(
        aim=aim,
        number=next((number for number, pattern in _NUMBER if re.search(pattern, lowered)), "distinct"),
        kinds=_kinds(text),
        colours=frozenset(words & set(COLOURS)),
        actions=frozenset(words & set(ACTIONS)),
        unknown=tuple(clause.phrase for clause in clauses if not clause.known),
        literal=literal,
        negative=any(clause.phrase.startswith(("not ", "no ", "nothing", "empty")) for clause in clauses),
    )


def _parts(phrase: str) -> set[str]:
    """Single words of a clause's phrase, and the actions of several words within it."""
    return {*phrase.split(), *(action for action in ACTIONS if re.search(rf"\b{action}\b", phrase))}


def mentions(words: Sequence[str], text: str) -> bool:
    """Whether `text` has one of `words`, or a word that begins like it ("produced", "production")."""
    stems = {word.lower()[: max(3, min(6, len(word)))] for word in words}
    return any(token.startswith(stem) for token in re.findall(r"[^\W_]+", text.lower()) for stem in stems)
