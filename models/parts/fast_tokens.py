"""Tokenizers of tokenizer.json (Llama 3, Qwen2) for text that is only text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from ingest.errors import NotFound


class FastTokens:
    """Text to ids and back. Special tokens are put in by id: their names in a text are letters like any other."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            raise NotFound(f"There is no {file.name} beside the weights.", advice="Download the tokenizer files too.")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.encode_special_tokens = True

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens are left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def special(self, name: str) -> int:
        """The id of a special token, such as "<|im_end|>"."""
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise NotFound(f"This tokenizer has no token {name}.", advice="It belongs to another model.")
        return int(found)
