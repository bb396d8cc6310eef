"""From logits to text: say the most probable token, stop at the end, and spell the words as they come.

Always the most probable: the same question about the same evidence has one answer. (The authors of Qwen2-VL and
CogVLM2 do the same by top_k = 1; Video-ChatGPT's and Chat-UniVi's demonstrations draw at temperature 0.2.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

Step = Callable[[Tensor | None], Tensor]
"""A language model that has read its prompt: what was said last, int64 [B, 1] (None at first) -> logits [B, V]."""

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Codec(Protocol):
    """A tokenizer for text alone: names of special tokens in the text are letters like any other."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Manner:
    """How a checkpoint wants to be spoken with.

    ends     any of these tokens ends an answer
    penalty  what has been read or said is made less likely by this factor (Keskar et al. 2019, section 4.1)
    """

    ends: frozenset[int]
    penalty: float = 1.0

    @classmethod
    def read(cls, folder: Path, otherwise: int) -> Manner:
        """From generation_config.json; where it says nothing, the answer ends with `otherwise`."""
        file = folder / "generation_config.json"
        published = json.loads(file.read_text()) if file.exists() else {}
        ends = published.get("eos_token_id", otherwise)
        return cls(frozenset(ends if isinstance(ends, list) else [ends]), published.get("repetition_penalty", 1.0))

    def weigh(self, logits: Tensor, known: Tensor) -> Tensor:
        """Logits [B, V] after tokens `known` int64 [B, n]."""
        if self.penalty == 1.0:
            return logits
        scores = logits.gather(1, known)
        return logits.scatter(1, known, torch.where(scores < 0, scores * self.penalty, scores / self.penalty))


def greedy(step: Step, length: int) -> Iterator[Tensor]:
    """The most probable token of every row, int64 [B, 1], `length` times. Closing the iterator stops the work."""
    said = None
    for _ in range(length):
        with torch.inference_mode():
            said = step(said).argmax(dim=-1, keepdim=True)
        yield said


def speak(step: Step, manner: Manner, *, longest: int, prompt: Tensor | None = None) -> Iterator[int]:
    """The tokens of one answer, at most `longest`; the ids of `prompt` int64 [1, L] count as read."""
    known = torch.empty(1, 0, dtype=torch.long) if prompt is None else prompt

    def weighed(said: Tensor | None) -> Tensor:
        nonlocal known
        logits = step(said)
        known = known.to(logits.device) if said is None else torch.cat([known, said], dim=1)
        return manner.weigh(logits, known)

    for said in greedy(weighed, longest):
        token = int(said)
        if token in manner.ends:
            return
        yield token


def spell(tokens: Iterator[int], codec: Codec, *, stop: str = "") -> Iterator[str]:
    """The text of `tokens` piece by piece, up to the words `stop`, which are never said, not even in part."""
    ids: list[int] = []
    told = 0
    text = ""
    for token in tokens:
        ids.append(token)
        text = codec.decode(ids).lstrip()
        if stop and stop in text:
            text = text[: text.index(stop)]
            break
        settled = len(text) - _may_continue(text, stop)
        if settled > told and not text.endswith(_UNFINISHED):
            yield text[told:settled]
            told = settled
    if told < len(text):
        yield text[told:]


def _may_continue(text: str, stop: str) -> int:
    """How many last letters of `text` could be the beginning of `stop`."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
