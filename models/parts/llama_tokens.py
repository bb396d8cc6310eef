"""LLaMA's tokenizer as the systems of 2023 used it: sentencepiece directly, each piece of text by itself.

The tokenizers of today treat spaces after special tokens and at the start of a piece differently, which changes the
ids of prompts that are cut around pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor

UNKNOWN, BEGIN, END = 0, 1, 2


class LlamaTokens:
    """Text to ids and back. `specials` are names that stand for one id wherever they occur in a trusted template.

    `stripping` are those of them that swallow the blanks around them.
    """

    def __init__(self, model: Path, specials: Mapping[str, int], *, stripping: frozenset[str] = frozenset()) -> None:
        self._pieces = SentencePieceProcessor(model_file=str(model))
        self._specials = dict(specials)
        self._stripping = stripping
        self._cut = re.compile("(" + "|".join(map(re.escape, sorted(specials, key=len, reverse=True))) + ")")

    @property
    def size(self) -> int:
        """Pieces in the file, special tokens that were added later not counted."""
        return int(self._pieces.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """Ids of a text without special tokens: names of special tokens in it are letters like any other."""
        return list(self._pieces.encode(text)) if text else []

    def encode_template(self, text: str) -> list[int]:
        """Ids of a text that we wrote: names of special tokens in it become those tokens."""
        ids: list[int] = []
        parts = [part for part in self._cut.split(text) if part] if self._specials else [text]
        for index, part in enumerate(parts):
            if part in self._specials:
                ids.append(self._specials[part])
                continue
            before, after = parts[index - 1] if index else "", "".join(parts[index + 1 : index + 2])
            words = part.lstrip() if before in self._stripping else part
            ids += self.encode(words.rstrip() if after in self._stripping else words)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; those of special tokens are left out."""
        hidden = {UNKNOWN, BEGIN, END, *self._specials.values()}
        return str(self._pieces.decode([int(i) for i in ids if int(i) not in hidden and int(i) < self.size]))
