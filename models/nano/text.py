"""The text tower: a sentence is the weighted mean of its words' vectors.

Words the table does not have are tried without their endings, then as the two words they may be made of; what remains
is unknown, and said to be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.nano.boxes import Floats

_WORD = re.compile(r"[a-z]+")
_ENDINGS = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"))
_PICTURE_WORDS = frozenset({"photo", "picture", "image", "frame", "video", "footage", "clip", "show", "shows"})
"""Said about a picture, not about what is in it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of a sentence's words in the table, and the words as the user wrote them."""

    rows: tuple[int, ...]
    understood: tuple[str, ...]
    unknown: tuple[str, ...]


class TextTower:
    """Sentences to unit vectors float32 [dim]. The length of a word's vector is how much the word weighs."""

    def __init__(self, words: Sequence[str], table: Floats, plain: frozenset[str] = frozenset()) -> None:
        """`table` float32 [len(words), dim]; words in `plain` are too common to be called understood or unknown."""
        self.words, self.table = tuple(words), table
        self._row = {word: row for row, word in enumerate(words)}
        self._plain = plain

    @property
    def dim(self) -> int:
        return int(self.table.shape[1])

    def read(self, sentence: str) -> Reading:
        """Look every word up. Words about the picture itself ("a photo of") count for nothing."""
        rows: list[int] = []
        understood: list[str] = []
        unknown: list[str] = []
        for word in words_of(sentence):
            found = lookup(word, self._row)
            rows.extend(found)
            if word in self._plain:
                continue
            (understood if found else unknown).append(word)
        return Reading(tuple(rows), tuple(dict.fromkeys(understood)), tuple(dict.fromkeys(unknown)))

    def embed(self, sentences: Sequence[str]) -> Floats:
        """float32 [N, dim], unit length; a sentence without a single known word gives zeros."""
        out = np.zeros((len(sentences), self.dim), np.float32)
        for index, sentence in enumerate(sentences):
            rows = list(self.read(sentence).rows)
            if rows:
                total = self.table[rows].sum(0)
                out[index] = total / max(float(np.linalg.norm(total)), 1e-9)
        return out


def words_of(sentence: str) -> list[str]:
    """Lower-case words of a sentence, without those about the picture itself."""
    return [word for word in _WORD.findall(sentence.lower()) if word not in _PICTURE_WORDS]


def lookup(word: str, rows: Mapping[str, int]) -> list[int]:
    """The rows of a word: its own, that of its stem, or those of the two words it is made of; empty when unknown."""
    if word in rows:
        return [rows[word]]
    for ending, instead in _ENDINGS:
        stem = word[: -len(ending)] + instead
        if word.endswith(ending) and len(stem) >= 3:
            for candidate in (stem, stem[:-1] if len(stem) > 3 and stem[-1:] == stem[-2:-1] else stem):
                if candidate in rows:
                    return [rows[candidate]]
    for cut in range(3, len(word) - 2):
        if word[:cut] in rows and word[cut:] in rows:
            return [rows[word[:cut]], rows[word[cut:]]]
    return []


@dataclass(frozen=True, slots=True, eq=False)
class PictureMap:
    """The linear way from summaries float32 [N, F] into the text space, and how its vectors are spread there.

    `weight` [F, dim], `bias` [dim]; `spread` [dim, dim] is the second moment of the unit vectors of many pictures: the
    scores of a query q over any pictures have about the variance q^T spread q.
    """

    weight: Floats
    bias: Floats
    spread: Floats

    def __call__(self, features: Floats) -> Floats:
        """Unit vectors float32 [N, dim]."""
        return unit(features @ self.weight + self.bias)

    def deviation(self, queries: Floats) -> NDArray[np.float64]:
        """Standard deviation of each query's scores over any pictures: [N, dim] to [N]."""
        variance = np.einsum("nd,de,ne->n", queries, self.spread, queries)
        return np.asarray(np.sqrt(np.maximum(variance, 1e-6)), np.float64)


def unit(vectors: Floats) -> Floats:
    """Each row scaled to length one; zeros stay zeros."""
    result: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return result.astype(np.float32)
