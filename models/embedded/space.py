"""The layout of the embedded encoder's vector space, and the builders of vectors in it.

A vector is a row of slices. In each, a component says how strongly one concept holds in a frame (0..1), times the
slice's scale; a query divides by the same scale, so the inner product of a query with a frame is exactly the weighted
mean of how well the query's clauses are met. The scales keep a frame's norm within 1.

    slice        size  meaning of a component
    things        172  each kind of thing that has a name: that it is there, and how many
    doings        144  row of kinds x action: "a car is moving left", "a person enters"
    dress         132  row of kinds x colour: "a red car"
    sight         128  the whole picture in the space of nano's text tower, for words without a kind
    motion        156  colour x action: "a red thing is moving left", row 0 is any colour
    scene          32  facts about the picture, `SCENE`
    appearance     64  4 x 4 layout of colour and edges, for search by picture
    words         196  hashed words read in the picture and words heard

Words are hashed by their character trigrams (Weinberger et al., Feature Hashing for Large Scale Multitask Learning,
2009): a word misread by a letter still shares most trigrams with the one that is looked for.

Colours and doings are bound to rows of kinds and not to each other: "a red car drives left" is that a red car is there,
that a car drives left, and that something red moves left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

import numpy as np

from ingest.records import Vector
from models.embedded.kinds import KINDS, ROWS

COLOURS: Final = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "grey", "black",
)  # fmt: skip
ACTIONS: Final = (
    "present", "moves", "stays", "enters", "leaves", "appears", "vanishes",
    "moves left", "moves right", "moves up", "moves down", "comes closer", "moves away",
)  # fmt: skip
SCENE: Final = (
    "motion judged", "text judged", "text", "speech", "dark", "bright", "cut", "camera moves",
    "one", "two", "three", "many", "left", "centre", "right", "top", "bottom", "large", "small",
    *(f"picture {colour}" for colour in COLOURS), "things judged",
    "faces judged",
)  # fmt: skip
DOINGS: Final = ACTIONS[1:]
"""What a thing with a name does; that it is there has a slot of its own."""

SIGHT_SIZE: Final = 128
_MOTION_SIZE: Final = (len(COLOURS) + 1) * len(ACTIONS)
_SCENE_SIZE: Final = 32
APPEARANCE_SIZE: Final = 64
_WORDS_SIZE: Final = 196

THINGS: Final = slice(0, 2 * len(KINDS))
_DOINGS: Final = slice(THINGS.stop, THINGS.stop + len(ROWS) * len(DOINGS))
_DRESS: Final = slice(_DOINGS.stop, _DOINGS.stop + len(ROWS) * len(COLOURS))
SIGHT: Final = slice(_DRESS.stop, _DRESS.stop + SIGHT_SIZE)
MOTION: Final = slice(SIGHT.stop, SIGHT.stop + _MOTION_SIZE)
SCENE_FACTS: Final = slice(MOTION.stop, MOTION.stop + _SCENE_SIZE)
APPEARANCE: Final = slice(SCENE_FACTS.stop, SCENE_FACTS.stop + APPEARANCE_SIZE)
WORDS: Final = slice(APPEARANCE.stop, APPEARANCE.stop + _WORDS_SIZE)
DIM: Final = 1024
assert WORDS.stop == DIM

CONCEPT_SCALE: Final = 0.1
APPEARANCE_SCALE: Final = 0.3
SIGHT_SCALE: Final = 0.3
COUNTED: Final = 4
"""As many things of a kind are told apart by their number."""
WORD_SCALE: Final = 0.03

SLOPE: Final = 14.0
EVEN: Final = 0.75
"""Calibration: a sentence is met with probability sigmoid(SLOPE * (how well its clauses are met - EVEN))."""

MAX_WORDS: Final = 24
"""Words of one frame or utterance that enter its vector; more would drown each other."""
_COMPONENTS_PER_GRAM: Final = 4
_SHORT_WORD: Final = 4

Sense = Literal["read", "heard", "either"]


def motion_slot(action: str, colour: str = "") -> int:
    """Index of `action` done by a thing of `colour`; of any thing when the colour is empty."""
    row = COLOURS.index(colour) + 1 if colour else 0
    return MOTION.start + row * len(ACTIONS) + ACTIONS.index(action)


def scene_slot(fact: str) -> int:
    return SCENE_FACTS.start + SCENE.index(fact)


def thing_slot(kind: str) -> int:
    """Index of a thing of `kind` being there."""
    return THINGS.start + KINDS.index(kind)


def number_slot(kind: str) -> int:
    """Index of how many of `kind` there are, as a share of `COUNTED`."""
    return THINGS.start + len(KINDS) + KINDS.index(kind)


def doing_slot(row: str, action: str) -> int:
    """Index of `action` done by a thing of the kinds in `row`."""
    return _DOINGS.start + ROWS.index(row) * len(DOINGS) + DOINGS.index(action)


def dress_slot(row: str, colour: str) -> int:
    """Index of a thing of the kinds in `row` being of `colour`."""
    return _DRESS.start + ROWS.index(row) * len(COLOURS) + COLOURS.index(colour)


def frame_vector(
    concepts: Mapping[int, float],
    *,
    appearance: Vector | None = None,
    words: Mapping[str, float] | None = None,
    sight: Vector | None = None,
) -> Vector:
    """float32 [DIM], norm at most 1.

    `concepts` maps slots to strengths 0..1, `appearance` [APPEARANCE_SIZE] and `sight` [SIGHT_SIZE] are unit vectors,
    and `words` maps words, most important first, to how surely they were read or heard. The slots "text" and "speech"
    say which.
    """
    vector = np.zeros(DIM, dtype=np.float32)
    for slot, strength in concepts.items():
        vector[slot] = CONCEPT_SCALE * min(max(strength, 0.0), 1.0)
    if appearance is not None:
        vector[APPEARANCE] = APPEARANCE_SCALE * appearance
    if sight is not None:
        vector[SIGHT] = SIGHT_SCALE * sight
    strongest: dict[str, float] = {}
    for word, certainty in list((words or {}).items())[:MAX_WORDS]:
        for gram in _grams(word):
            strongest[gram] = max(strongest.get(gram, 0.0), certainty)
    for gram, certainty in strongest.items():
        indices, signs = _hashed(gram)
        vector[indices] += WORD_SCALE * certainty * signs
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm > 1.0 else vector


def concept_query(weights: Mapping[int, float]) -> Vector:
    """float32 [DIM] whose inner product with a frame is the sum of weight x strength over slots."""
    vector = np.zeros(DIM, dtype=np.float32)
    for slot, weight in weights.items():
        vector[slot] += weight / CONCEPT_SCALE
    return vector


def word_query(word: str, sense: Sense = "either") -> Vector:
    """float32 [DIM] whose inner product with a frame is the share of `word` that was perceived there.

    What was perceived by the other sense only counts as nothing: text is not speech.
    """
    excluded = {"read": ("speech",), "heard": ("text",), "either": ()}[sense]
    vector = concept_query(dict.fromkeys(map(scene_slot, excluded), -1.0))
    alone = frame_vector({}, words={word: 1.0})[WORDS]
    # Trigrams of one word may share components: dividing by its own square makes its own score exactly 1.
    vector[WORDS] = alone / max(float(alone @ alone), 1e-12)
    return vector


def appearance_query(appearance: Vector) -> Vector:
    """float32 [DIM] whose inner product with a frame is the cosine of their appearances."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[APPEARANCE] = appearance / APPEARANCE_SCALE
    return vector


def sight_query(text: Vector) -> Vector:
    """float32 [DIM] whose inner product with a frame is that of `text` [SIGHT_SIZE] with the frame's sight."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[SIGHT] = text / SIGHT_SCALE
    return vector


def normal_form(word: str) -> str:
    """A word without case, possessive and plural, so that "EGGS" and "egg" are the same."""
    word = word.lower().removesuffix("'s").strip("'-_")
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word


def _grams(word: str) -> list[str]:
    form = normal_form(word)
    padded = f"#{form}#"
    grams = [padded[i : i + 3] for i in range(len(padded) - 2)]
    if len(form) <= _SHORT_WORD:
        # Two of the three trigrams of "car" are also in "card": whole short words count as much as their trigrams.
        grams += [f"={form}/{i}" for i in range(len(grams))]
    return list(dict.fromkeys(grams)) or [padded]


@lru_cache(maxsize=65_536)
def _hashed(gram: str) -> tuple[np.ndarray, np.ndarray]:
    """Component indices int64 [4] and values float32 [4] of norm 1 for one trigram."""
    digest = hashlib.blake2b(gram.encode(), digest_size=16).digest()
    numbers = np.frombuffer(digest, dtype=">u4").astype(np.int64)
    # One component in each quarter of the slice, so that a trigram never meets itself.
    quarter = _WORDS_SIZE // _COMPONENTS_PER_GRAM
    indices = WORDS.start + np.arange(_COMPONENTS_PER_GRAM) * quarter + (numbers >> 1) % quarter
    signs = np.where(numbers & 1, 0.5, -0.5).astype(np.float32)
    return indices, signs
