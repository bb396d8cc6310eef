"""From logits to text: say the most probable token, stop at the end, and spell the words as they come.

Always the most probable: the same question about the same evidence has one answer. (The authors of Qwen2-VL and
CogVLM2 do the same by top_k = 1; Video-ChatGPT's and Chat-UniVi's demonstrations draw at temperature 0.2.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
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


def end_tokens(folder: Path, otherwise: int) -> frozenset[int]:
    """Which tokens end an answer: what generation_config.json says, where there is one that does."""
    file = folder / "generation_config.json"
    published = json.loads(file.read_text()) if file.exists() else {}
    ends = published.get("eos_token_id", otherwise)
    return frozenset(ends if isinstance(ends, list) else [ends])


def greedy(step: Step, length: int) -> Iterator[Tensor]:
    """The most probable token of every row, int64 [B, 1], `length` times. Closing the iterator stops the work."""
    said = None
    for _ in range(length):
        with torch.inference_mode():
            said = step(said).argmax(dim=-1, keepdim=True)
        yield said


def speak(step: Step, *, longest: int, ends: Collection[int]) -> Iterator[int]:
    """The tokens of one answer, at most `longest`, up to one of `ends`."""
    for said in greedy(step, longest):
        token = int(said)
        if token in ends:
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
