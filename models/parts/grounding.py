"""When, in a model's words, made into spans that can be trusted to lie within the evidence."""

from __future__ import annotations

import re
from dataclasses import replace

from ingest.questions import Evidence, Exhibit
from ingest.records import Moment, Span, seconds
from models.parts.prompts import disarm

ANSWER_LENGTH = 32
"""Tokens that a start and an end need."""

_NUMBER = r"(\d{1,6}(?:\.\d{1,3})?)"
_UNIT = r"(?:\s*(?:s|sec|secs|second|seconds))?"
_SPAN = re.compile(
    rf"[\[(]?(?:from\s+)?{_NUMBER}{_UNIT}\s*(?:-|–|to|until|and|,)\s*{_NUMBER}{_UNIT}[\])]?\.?", re.IGNORECASE
)


def parse_seconds(answer: str) -> tuple[float, float] | None:
    """(start, end) of "3 to 7", "from 3.5 s to 7 seconds", "[3, 7]"; None for anything else, or if it runs backwards.

    An answer with more words in it is not taken apart: what else it says may take the numbers back.
    """
    match = _SPAN.fullmatch(answer.strip())
    if match is None:
        return None
    start, end = float(match[1]), float(match[2])
    return (start, end) if start <= end else None


def only(exhibit: Exhibit, evidence: Evidence) -> Evidence:
    """The evidence as if this exhibit were all."""
    return replace(evidence, exhibits=(exhibit,))


def when(event: str) -> str:
    """The question for start and end, in seconds from the first picture."""
    return (
        f'From which second to which second of the video does this happen: "{disarm(event)}"? '
        "Answer with two numbers, as in: 3 to 7. If it does not happen, answer: never."
    )


def within(answer: str, zero: Moment, exhibit: Exhibit) -> Span | None:
    """The span that `answer` names in seconds after `zero`, cut to the exhibit; None if nothing of it is inside.

    The last second counts whole, since the model sees about a picture per second.
    """
    named = parse_seconds(answer)
    if named is None:
        return None
    start, end = (Moment(zero + seconds(value)) for value in (named[0], named[1] + 1))
    return Span(start, end).intersection(exhibit.hit.span)
