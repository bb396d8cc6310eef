"""Citations are checked in code, whoever wrote the answer.

`Checked` passes an answer on as it is written, without the citations that do not exist. `supported` then keeps the
sentences that cite something or that claim nothing about the footage.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_GROUP = re.compile(r"\s?\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\]")
_MAYBE_OPEN = re.compile(r"\s?\[[\d\s,;–-]*\Z|\s\Z")
_CITED = r"(?:\s*\[[\d\s,;–-]+\])*"
_SENTENCE = re.compile(
    r"(?:“[^”\n]*”|\"[^\"\n]*\"|.)+?"
    rf"(?:[.!?…]+[\"”’')]*{_CITED}(?=\s|\Z)|(?<=[.!?…][”\"]){_CITED}(?=\s+[^\s(\[a-z]|\s*\Z)|\n+|\Z)\s*",
    re.DOTALL,
)
"""What is quoted is one piece, whatever stands in it; it ends the sentence when another begins behind it."""
_NO_CLAIM = re.compile(
    r"\b(?:no|not|nothing|nobody|none|never|cannot|can't|couldn't|isn't|doesn't|didn't|unknown|unclear|unable|"
    r"searched|looked for|sorry|picture was (?:frozen|dark)|"
    r"may have been earlier than told|only part(?:ly|ially)? (?:could be |was |were )?looked at)\b",
    re.IGNORECASE,
)
"""What was missing, or what is said of the search and not of the footage."""
_SHORT = 3
"""Words: "Yes." or "In summary:" claims nothing by itself."""


class Checked:
    """A filter over the pieces of an answer; `removed` counts citations that do not exist."""

    def __init__(self, numbers: Collection[int]) -> None:
        self._numbers = numbers
        self._held = ""
        self.removed = 0
        self.text = ""

    def feed(self, piece: str) -> str:
        """What may be shown now. A bracket that is still open is held back."""
        self._held += piece
        unfinished = _MAYBE_OPEN.search(self._held)
        cut = unfinished.start() if unfinished else len(self._held)
        return self._release(cut)

    def finish(self) -> str:
        return self._release(len(self._held))

    def _release(self, cut: int) -> str:
        ready, self._held = self._held[:cut], self._held[cut:]
        shown = _GROUP.sub(self._keep, ready)
        self.text += shown
        return shown

    def _keep(self, match: re.Match[str]) -> str:
        cited = _expand(match.group())
        real = [number for number in cited if number in self._numbers]
        self.removed += len(cited) - len(real)
        if len(real) == len(cited):
            return match.group()
        space = " " if match.group().startswith(" ") else ""
        return f"{space}[{', '.join(map(str, real))}]" if real else ""


@dataclass(frozen=True, slots=True)
class Supported:
    text: str
    cited: tuple[int, ...]
    removed: int
    """Sentences about the footage that cited nothing."""


def supported(text: str) -> Supported:
    """`text` without the sentences that claim something about the footage and cite nothing."""
    kept, removed = [], 0
    for match in _SENTENCE.finditer(text):
        sentence = match.group()
        if cited(sentence) or _NO_CLAIM.search(sentence) or len(sentence.split()) <= _SHORT:
            kept.append(sentence)
        elif sentence.strip():
            removed += 1
    joined = "".join(kept).strip()
    return Supported(joined, cited(joined), removed)


def cited(text: str) -> tuple[int, ...]:
    """Numbers cited in `text`, each once, in order of appearance."""
    return tuple(dict.fromkeys(number for group in _GROUP.findall(text) for number in _expand(group)))


def _expand(group: str) -> list[int]:
    """ "[1, 3-5]" as 1, 3, 4, 5."""
    numbers: list[int] = []
    for part in re.split(r"[,;]", group.strip().strip("[]")):
        ends = [int(end) for end in re.findall(r"\d+", part)]
        numbers += range(ends[0], min(ends[-1], ends[0] + 99) + 1) if len(ends) > 1 else ends
    return numbers
