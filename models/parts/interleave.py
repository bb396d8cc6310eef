"""Prompts with pictures in them: pieces of text, each with tokens of its own, and embeddings between."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from models.parts.llama_tokens import LlamaTokens


class Slot(Enum):
    """A place in a prompt where embeddings go. No text can name it, so no text can open one."""

    HERE = "here"


HERE = Slot.HERE


def segments(parts: Sequence[str | Slot]) -> list[str]:
    """The texts before, between and after the slots: one more than there are slots."""
    texts = [""]
    for is_slot, group in groupby(parts, key=lambda part: part is HERE):
        if is_slot:
            texts += [""] * len(list(group))
        else:
            texts[-1] = "".join(str(part) for part in group)
    return texts


class SlottedWords:
    """LLaMA's tokenizer as MiniGPT-4 and those after it use it: every text between slots by itself, and only the first
    with a beginning."""

    BEGIN, END = 1, 2

    def __init__(self, model: Path) -> None:
        self.llama = LlamaTokens(model, {"<unk>": 0, "<s>": self.BEGIN, "</s>": self.END})

    def encode(self, parts: Sequence[str | Slot]) -> list[list[int]]:
        """Ids of each segment."""
        first, *others = [self.llama.encode_template(text) for text in segments(parts)]
        return [[self.BEGIN, *first], *others]


def interleave(texts: Sequence[Sequence[int]], inserted: Sequence[Tensor], words: nn.Module) -> Tensor:
    """Ids of the segments and embeddings [n, C] of the slots between them to one row [1, L, C]."""
    if len(texts) != len(inserted) + 1:
        raise ValueError(f"{len(inserted)} pictures need {len(inserted) + 1} texts around them, not {len(texts)}")
    device = next(words.parameters()).device
    embedded = [words(torch.tensor(list(ids), dtype=torch.int64, device=device)) for ids in texts]
    row = [embedded[0]]
    for between, text in zip(inserted, embedded[1:], strict=True):
        row += [between.to(text.dtype), text]
    return torch.cat(row).unsqueeze(0)
