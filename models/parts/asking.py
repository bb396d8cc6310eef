"""What the systems that came out of language models share when they answer: the question's words, and the answer's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import Literal

from ingest.errors import Invalid
from ingest.questions import Evidence
from ingest.records import MICROSECONDS
from models.parts.exhibits import Shot, citations, said, shots
from models.parts.prompts import material
from models.room import down_the_ladder

_LETTERS = 2000
"""Of what was read and heard, so much fits beside the pictures in a context of 2048 tokens."""

_ALL = 100_000

_CITATION = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Answering:
    """How a system answers.

    sampling  "evidence": all pictures of the exhibits, thinned evenly to what the system takes. "official": the
              authors' rule, as if the exhibits' pictures were the frames of a file; for benchmarks and comparison
    longest   tokens of an answer
    """

    sampling: Literal["evidence", "official"] = "evidence"
    longest: int = 512

    def look(self, evidence: Evidence, most: int) -> list[Shot]:
        """The pictures to choose from. Without any there is nothing to answer about, and that is an error."""
        seen = shots(evidence, most if self.sampling == "evidence" else _ALL)
        if not seen:
            raise Invalid("There is no picture in the evidence.", advice="Ask about a time that was watched.")
        return seen


def with_material(question: str, evidence: Evidence) -> str:
    """The question after what was read and heard, which is fenced as data; what comes last may be left out."""
    lengths = accumulate(len(observation.text) for observation in said(evidence))
    fitting = [observation for observation, length in zip(said(evidence), lengths, strict=True) if length <= _LETTERS]
    fenced = material(fitting)
    return f"{fenced}\n{question}" if fenced else question


def rate(seen: list[Shot]) -> float:
    """Pictures per second, at least one: what `official` sampling takes for the frame rate."""
    duration = (seen[-1].moment - seen[0].moment) / MICROSECONDS
    return max((len(seen) - 1) / duration, 1.0) if duration > 0 else 1.0


def told(tell: Callable[[list[Shot]], Iterator[str]], shown: list[Shot]) -> Iterator[str]:
    """What `tell` says about the pictures, with citations; about fewer of them if they do not fit in memory."""
    least = shown

    def thinned(step: int) -> Iterator[str]:
        nonlocal least
        least = shown[::step]
        return tell(least)

    pieces = down_the_ladder(thinned, len(shown))
    first = list(islice(pieces, 1))  # from here on it is settled which pictures are answered about
    yield from cited(chain(first, pieces), least)


def cited(pieces: Iterator[str], shown: list[Shot]) -> Iterator[str]:
    """The answer and, if it did not cite by itself, the exhibits it rests on behind it."""
    answer = ""
    for piece in pieces:
        answer += piece
        yield piece
    if not _CITATION.search(answer):
        yield citations(shown)
