"""The words that the embedded encoder understands, as data.

Every entry says what a lemma or a phrase of lemmas stands for. What is in none of these tables is either grammar
(`GRAMMAR`) or unknown, and unknown words are never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from models.embedded.space import ACTIONS, COLOURS

Role = Literal[
    "action", "colour", "count", "place", "size", "thing", "picture", "empty", "not", "text", "speech", "fact"
]


@dataclass(frozen=True)
class Meaning:
    """What a phrase stands for: `value` names an action, colour, count or fact of `space`."""

    role: Role
    value: str = ""


def listed(text: str) -> tuple[str, ...]:
    """The phrases of a comma-separated text."""
    return tuple(phrase.strip() for phrase in text.split(","))


PLACES: Final = frozenset(
    listed("""road, street, room, yard, area, place, table, floor, field, hall, hallway, corridor, garden, driveway,
    path, parking, lot, desk, court, entrance, door, doorway, stage""")
)
"""Where things are, of which the encoder knows nothing: context when the sentence claims emptiness."""
PEOPLE: Final = frozenset(listed("narrator, speaker, voice"))
"""Who speaks does not matter to whether someone speaks."""
_DEEDS: Final = listed(
    """play, jump, sit, eat, drink, hold, carry, wear, push, pull, throw, catch, fetch, open, close, wash, cook, pour,
    stir, write, dance, climb, fight, hug, kiss, wave, smile, laugh, cry, sleep, lie, work, clean, build, watch, chase,
    bark, lick, bite, deliver, steal, fall, use, touch, point, lift, load, unload, smoke, swim, sing, hop, skip, chew,
    sniff, wag, hunt, graze, fly, float, land, brush, paint, pick, drop, kick, hit, shake, feed, pet, bend, kneel, lean,
    crouch, crawl, hang, lift, follow, meet, greet, help, search, train, exercise, stretch, rush, hurry, wander,
    stroll"""
)
_QUALITIES: Final = listed(
    """young, old, tall, short, fat, thin, happy, sad, new, beautiful, pretty, wet, dirty, clean, heavy, long, fluffy,
    furry, dressed, naked, open, closed, full, plastic, wooden, metal, shiny, loaded, electric, modern, quickly,
    slowly, fast, slow, quietly, outside, outdoors, indoors"""
)
GRAMMAR: Final = frozenset(
    listed("""a, an, the, is, are, was, were, be, been, being, am, do, does, did, done, has, have, had, will, would,
    can, could, may, might, shall, should, must, and, or, but, if, then, than, so, as, of, in, on, at, to,
    from, by, for, with, about, over, under, onto, through, along, across, during, while, before, after,
    between, its, it, this, that, these, those, there, here, he, she, they, i, you, we, me, us, my, your,
    our, his, her, their, him, them, who, whom, whose, what, which, when, where, why, how, many, much, long,
    often, any, some, every, each, all, ever, just, only, also, too, very, same, time, moment, once, again,
    now, first, last, next, colour, other, another, own, please, find, happen, show, see, tell, kind, sort,
    look, side, part, end, start, beginning, whole, back, beside, near, smallest, number, largest, highest,
    lowest, most, fewest, least, total, different, name, named, away, off,
    language, languages""")
)

_GO: Final = listed("move, go, pass, drive, walk, run, travel, cross, roll, slide, ride, head")
_VERBS: Final = (
    *_GO,
    *listed("""enter, arrive, leave, exit, depart, appear, vanish, disappear, stay, remain, stand, stop, wait, rest,
    park, approach, recede, come, turn, put, place, remove, take, speak, talk, say, shout, mention, tell, happen, show,
    see, look, pan, shake"""),
)
_IRREGULAR: Final = {
    "go": "went, gone", "drive": "drove, driven", "run": "ran", "ride": "rode, ridden", "stand": "stood",
    "come": "came", "take": "took, taken", "speak": "spoke, spoken", "say": "said", "tell": "told", "show": "shown",
    "see": "saw, seen",
    "thing": "things", "object": "objects", "item": "items", "picture": "pictures", "movement": "movements",
    "word": "words", "letter": "letters", "sign": "signs", "caption": "captions", "title": "titles",
    "subtitle": "subtitles", "label": "labels", "time": "times",
    "moment": "moments", "centre": "center, middle", "colour": "color, colors, colours, coloured, colored",
    "grey": "gray, silver, greyish", "purple": "violet, lilac", "yellow": "golden, yellowish", "brown": "beige",
    "red": "crimson, scarlet, reddish", "blue": "turquoise, bluish", "green": "greenish", "white": "whitish",
    "black": "blackish",
}  # fmt: skip

_TABLE: Final[tuple[tuple[Role, str, str], ...]] = (
    ("action", "moves", "movement, motion, activity, come"),
    ("action", "enters", "enter, arrive, come in, come into, into"),
    ("action", "leaves", "leave, left, exit, depart, out, drive away, walk away, run away"),
    ("action", "stays", "stay, remain, stand, stop, wait, rest, park, motionless, stand still, stay still"),
    ("action", "appears", "appear, put, place, put back, put down, turn up, show up, come into view"),
    ("action", "vanishes", "vanish, disappear, take away, take, remove, go missing"),
    ("action", "comes closer", "approach, closer, towards, toward, come closer, move closer"),
    (
        "action",
        "comes closer",
        "towards the camera, toward the camera, move towards the camera, come towards the camera",
    ),
    ("action", "moves away", "recede, move away, go away, away from the camera"),
    ("action", "moves right", "from the left, right"),
    ("action", "moves left", "from the right"),
    ("action", "moves down", "from the top, from above, down"),
    ("action", "moves up", "from the bottom, from below, up"),
    ("thing", "", "something, thing, object, anything, everything, item, is left, are left"),
    ("picture", "", "picture, image, frame, view, screen, video, footage, shot, background, card, clip, camera, scene"),
    ("text", "", "text, word, writing, letter, caption, title, subtitle, sign, written, lettering, inscription, label"),
    ("speech", "", "speak, talk, say, shout, mention, speech, voice, conversation, narration"),
    ("not", "person", "nobody, no one, noone, no people, no person"),
    ("not", "", "no, not, nothing, none, never, without, isn't, doesn't"),
    ("not", "moves", "still, standstill"),
    ("empty", "", "empty, deserted, vacant"),
    ("size", "large", "large, big, huge"),
    ("size", "small", "small, little, tiny"),
    ("count", "one", "one, 1, single, alone"),
    ("count", "two", "two, 2, both, pair"),
    ("count", "three", "three, 3"),
    ("count", "many", "four, 4, five, 5"),
    ("count", "several", "several, multiple, more than one, at the same time, together"),
    ("fact", "dark", "dark, darkness, night, nighttime, dim"),
    ("fact", "bright", "bright, daylight, brightly lit"),
    ("fact", "cut", "cut, scene change, new scene, scene cut"),
    ("fact", "camera moves", "camera move, camera pan, camera turn, camera shake, camera movement"),
)


def _entries() -> Iterator[tuple[str, Meaning]]:
    for verb in _GO:
        yield verb, Meaning("action", "moves")
        for way in ("in", "into", "inside"):
            yield f"{verb} {way}", Meaning("action", "enters")
        for way in ("left", "right", "up", "down"):
            yield f"{verb} {way}", Meaning("action", f"moves {way}")
            yield f"{verb} to the {way}", Meaning("action", f"moves {way}")
    for way in ("left", "right", "up", "down"):
        for phrase in (f"{way}wards", f"{way}ward", f"to the {way}"):
            yield phrase, Meaning("action", f"moves {way}")
    for place in ("left", "right", "centre", "top", "bottom"):
        for lead in ("on the", "in the", "at the"):
            yield f"{lead} {place}", Meaning("place", place)
    for colour in COLOURS:
        yield colour, Meaning("colour", colour)
        yield f"{colour} one", Meaning("colour", colour)
    for role, value, phrases in _TABLE:
        for phrase in listed(phrases):
            yield phrase, Meaning(role, value)


_PHRASES: Final = dict(_entries())
LONGEST_PHRASE: Final = max(len(phrase.split()) for phrase in _PHRASES)

assert all(meaning.value in ACTIONS for meaning in _PHRASES.values() if meaning.role == "action")


def meaning(phrase: str) -> Meaning | None:
    """What lemmas joined by spaces stand for; None when they are in no table."""
    return _PHRASES.get(phrase)


def by_importance(words: Mapping[str, float]) -> dict[str, float]:
    """Words and how sure they are, those with a meaning of their own before those of grammar, the surest first."""
    return dict(sorted(words.items(), key=lambda item: (item[0] in GRAMMAR, -item[1])))


@lru_cache(maxsize=1)
def _forms() -> dict[str, str]:
    forms = {form: word for word, text in _IRREGULAR.items() for form in listed(text)}
    for verb in _VERBS:
        stem = verb.removesuffix("e")
        doubled = verb[-1] if verb in ("stop", "put", "run", "pan") else ""
        for form in (f"{verb}s", f"{verb}es", f"{stem}{doubled}ing", f"{stem}{doubled}ed"):
            forms.setdefault(form, verb)
    return forms


def _inflected() -> Iterator[str]:
    yield from listed("ate, eaten, drank, held, wore, worn, threw, caught, wrote, fought, slept, lay, lain, built")
    yield from listed(
        "stole, fell, fallen, sang, swam, flew, bit, hung, led, fed, met, knelt, lying, hit, sat, sitting"
    )
    for verb in _DEEDS:
        stem = verb.removesuffix("e")
        twice = f"{stem}{verb[-1]}"
        yield from (verb, f"{verb}s", f"{verb}es", f"{stem}ing", f"{stem}ed", f"{twice}ing", f"{twice}ed")
        if verb.endswith("y"):
            yield from (f"{verb[:-1]}ies", f"{verb[:-1]}ied")


ASIDE: Final = frozenset(_inflected()) | frozenset(_QUALITIES)
"""Doings and qualities that cannot be seen, of things that can: they make a match less certain, not impossible."""


def lemma(token: str) -> str:
    """The dictionary form of a lower-case word, for the words of the tables; others stay as they are."""
    return _forms().get(token, token)
