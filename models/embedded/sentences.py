"""Sentences taken apart: the things they name, each with its colours, doings and number, and what is said besides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ingest.records import MICROSECONDS
from models.embedded.kinds import FACE
from models.embedded.nouns import CLOTHES, LONGEST_NOUN, noun
from models.embedded.vocabulary import ASIDE, GRAMMAR, LONGEST_PHRASE, Meaning, lemma, listed, meaning

_QUOTED: Final = re.compile(r"[\"“”«»]([^\"“”«»]+)[\"“”«»]")
_SAYING: Final = re.compile(
    r"(?P<before>.*\b(?:says?|said|saying|shout(?:s|ed|ing)?))[\s,:]+(?:that\s+|the\s+words?\s+)?(?P<words>\w.*)",
    re.IGNORECASE | re.DOTALL,
)
_ASKS_WHAT: Final = re.compile(r"\b(?:what|which|how)\b", re.IGNORECASE)
_NO_WORDS: Final = re.compile(
    r"(?:about|in|on|at|to|by|from|during|after|before|when|while|with|of|for|something|anything|nothing)\b"
    r"|(?:it|so|this|that)?\W*$",
    re.IGNORECASE,
)
"""What follows "says" where it is not what is said."""
_WRITTEN: Final = re.compile(
    r"\b(?:sign|screen|card|title|caption|label|board)s?\s+(?:says?|said|shows?|reads?)\b"
    r"|\bwhat\b.*\b(?:sign|screen|card|title|caption|label|board)s?\b.*\b(?:says?|said|shows?)\b"
    r"|\b(?:says?|said)\b.*\bon (?:the|a|that|this) (?:sign|screen|card|title|caption|label|board)\b",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LASTING: Final = re.compile(
    r"\b(?:for\s+)?(?:longer than|more than|at least|over|for)\s+(\d+(?:[.,]\d+)?|an?|one|two|three|five|ten)\s*"
    r"(s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_NUMBERS: Final = {"a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "five": 5.0, "ten": 10.0}
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_ON: Final = frozenset(
    listed("on, in, at, under, beside, behind, by, near, inside, over, above, across, around, along")
)
_ARTICLES: Final = frozenset(listed("a, an, the, his, her, their, its, my, your, our"))
_SEVERAL: Final = {"crowd": "many", "group of people": "three", "family": "three", "couple": "two"}
_ALONE: Final = frozenset(listed("only, single, alone, just"))
_WORN: Final = frozenset(listed("in, wearing, wears, with"))


@dataclass(slots=True)
class Mention:
    """A thing that a sentence names: the kind it is recognised as, and the word for it."""

    kind: str
    word: str
    share: float = 1.0
    """Which share of the kind the word means: less than 1 when it says more than can be seen."""
    place: bool = False
    """It says where something else is: on a bed."""
    colours: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    count: str = ""


@dataclass
class Reading:
    """A sentence taken apart."""

    mentions: list[Mention] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    """Words for what cannot be seen of a thing that can: what it does with its hands, how old it is."""
    shouted: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """All words in lower case, in order, those within quotation marks apart."""
    lasting_us: int = 0
    """For how long, when the sentence says so."""

    def values(self, role: str) -> list[str]:
        return self.found.get(role, [])

    def has(self, role: str) -> bool:
        return role in self.found

    def note(self, what: Meaning) -> None:
        values = self.found.setdefault(what.role, [])
        if what.value and what.value not in values:
            values.append(what.value)


def read(sentence: str) -> Reading:
    """The words of a sentence, each in its role."""
    reading = Reading()
    written = asks_for_writing(sentence)
    quoted, sentence = apart(sentence)
    reading.quoted = [word for text in quoted for word in _TOKEN.findall(text)]
    if (lasting := _LASTING.search(sentence)) is not None:
        number, unit = lasting.group(1).lower().replace(",", "."), lasting.group(2).lower()[0]
        reading.lasting_us = round((_NUMBERS.get(number) or float(number)) * _UNITS[unit] * MICROSECONDS)
        sentence = sentence[: lasting.start()] + " " + sentence[lasting.end() :]
    tokens = _TOKEN.findall(sentence)
    reading.tokens = [token.lower().replace("’", "'") for token in tokens]
    shout = [token.isupper() and len(token) > 1 for token in tokens]
    binding = _Binding(reading)
    lemmas = [lemma(token) for token in reading.tokens]
    at = 0
    while at < len(tokens):
        size = 1
        if shout[at]:
            reading.shouted.append(tokens[at])
        else:
            size = _take(reading, binding, lemmas, at)
        at += size
    binding.close()
    if written:
        reading.found.pop("speech", None)
        reading.note(Meaning("text"))
    if reading.has("text") or reading.has("speech"):
        _as_words(reading)
    return reading


def apart(sentence: str) -> tuple[list[str], str]:
    """What a sentence says that someone says or something reads, and the sentence without it: what stands within
    quotation marks, or else behind "says"."""
    if quoted := _QUOTED.findall(sentence):
        return quoted, _QUOTED.sub(" ", sentence)
    saying = _SAYING.fullmatch(sentence.strip())
    if saying is None or _ASKS_WHAT.search(saying["before"]) or _NO_WORDS.match(saying["words"]):
        return [], sentence
    return [saying["words"]], saying["before"]


def asks_for_writing(sentence: str) -> bool:
    """Whether it is a sign or a screen that says something, and nobody."""
    return _WRITTEN.search(sentence) is not None


def _take(reading: Reading, binding: _Binding, lemmas: Sequence[str], at: int) -> int:
    """Give the longest phrase at `at` its role. How many words it has."""
    size, what = _longest(lemmas, at)
    named_size, named = _named(reading.tokens, at)
    if named is not None and named_size >= size and not (named_size == size and what is not None):
        binding.thing(named, at)
        return named_size
    if what is not None:
        if what == Meaning("not", "person"):
            reading.note(Meaning("not"))
            binding.thing(Mention("person", reading.tokens[at]), at)
        elif not binding.take(what, at):
            reading.note(what)
        return size
    word = reading.tokens[at]
    if lemmas[at] in GRAMMAR:
        pass
    elif lemmas[at] in ASIDE or (word in CLOTHES and binding.person):
        reading.aside.append(word)
    else:
        reading.words.append(word)
    return 1


class _Binding:
    """Which colour, doing and number belongs to which thing, by the order of the words."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._waiting: list[Meaning] = []

    @property
    def person(self) -> bool:
        return any(mention.kind == "person" for mention in self._reading.mentions)

    def thing(self, mention: Mention, at: int) -> None:
        before = self._reading.tokens[max(0, at - 2) : at]
        here = bool(before) and (before[-1] in _ON or (before[-1] in _ARTICLES and before[0] in _ON))
        mention.place = here and bool(self._reading.mentions or self._reading.words)
        self._reading.mentions.append(mention)
        if not mention.place:
            for what in self._waiting:
                self._give(mention, what)
            self._waiting.clear()

    def take(self, what: Meaning, at: int) -> bool:
        """Whether `what` is said of a thing; otherwise it is said of anything."""
        if what.role not in ("colour", "action", "count"):
            return False
        last = self._doer()
        worn = what.role == "colour" and bool(set(self._reading.tokens[max(0, at - 2) : at]) & _WORN)
        follows = what.role == "action" or worn or what.value == "several"
        handled = what.value in ("appears", "vanishes") and last is not None and last.kind == "person"
        if last is not None and follows and not handled:
            self._give(last, what)
        else:
            self._waiting.append(what)
        return True

    def close(self) -> None:
        """What waits for a thing that does not come belongs to the last one, or to anything."""
        last = self._doer()
        for what in self._waiting:
            if last is None or what.role == "action":
                self._reading.note(what)
            else:
                self._give(last, what)

    def _doer(self) -> Mention | None:
        """The last thing named; of someone's face, whose it is."""
        named = [one for one in self._reading.mentions if not one.place]
        return next((one for one in reversed(named) if one.kind != FACE), named[-1] if named else None)

    def _give(self, mention: Mention, what: Meaning) -> None:
        if mention.kind == FACE and what.role != "count":
            if what.value != "appears":
                self._reading.aside.append(what.value)
        elif what.role == "colour":
            mention.colours.append(what.value)
        elif what.role == "action":
            staying = what.value == "stays" and bool(self._reading.lasting_us)
            if not staying and what.value not in mention.actions:
                mention.actions.append(what.value)
        elif what.value == "one" and set(self._reading.tokens) & _ALONE:
            mention.count = "only one"
        elif mention.count in ("", "several"):
            mention.count = what.value


def _as_words(reading: Reading) -> None:
    """Where words are looked for, names of things are words."""
    for mention in reading.mentions:
        if not (reading.has("speech") and mention.kind == "person"):
            reading.words += mention.word.split()
    reading.words += reading.aside
    reading.mentions, reading.aside = [], []


def _named(tokens: Sequence[str], at: int) -> tuple[int, Mention | None]:
    for size in range(min(LONGEST_NOUN, len(tokens) - at), 0, -1):
        phrase = " ".join(tokens[at : at + size])
        found = noun(phrase)
        if found is not None:
            many = _SEVERAL.get(phrase, "")
            return size, Mention(found[0], phrase, found[1], count=many)
    return 0, None


def _longest(lemmas: Sequence[str], at: int) -> tuple[int, Meaning | None]:
    for size in range(min(LONGEST_PHRASE, len(lemmas) - at), 0, -1):
        found = meaning(" ".join(lemmas[at : at + size]))
        if found is not None:
            return size, found
    return 0, None
