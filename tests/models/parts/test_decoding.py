"""Tokens to words as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.parts.decoding import end_tokens, speak, spell


class Bytes:
    """A token per byte: letters of several bytes come in pieces."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_pieces_make_up_the_text(text: str) -> None:
    pieces = list(spell(iter(Bytes().encode(text)), Bytes()))
    assert "".join(pieces) == text.lstrip()
    assert all(pieces)


def test_a_letter_is_said_when_it_is_whole() -> None:
    assert list(spell(iter("é!".encode()), Bytes())) == ["é", "!"]


@given(st.text("ab#", max_size=12), st.text("ab#", max_size=12))
def test_the_stop_words_are_never_said(before: str, after: str) -> None:
    text = f"{before}###{after}"
    assert "".join(spell(iter(Bytes().encode(text)), Bytes(), stop="###")) == text.split("###", maxsplit=1)[0]


def test_what_only_looks_like_a_stop_is_said() -> None:
    assert "".join(spell(iter(Bytes().encode("a ## b #")), Bytes(), stop="###")) == "a ## b #"


def test_speaking_stops_at_an_end_or_at_its_length() -> None:
    script = [5, 3, 9, 4]

    def step(said: Tensor | None) -> Tensor:
        at = 0 if said is None else script.index(int(said)) + 1
        return torch.nn.functional.one_hot(torch.tensor([script[at]]), 10).float()

    assert list(speak(step, longest=10, ends={9})) == [5, 3]
    assert list(speak(step, longest=3, ends={0})) == [5, 3, 9]


def test_end_tokens_are_the_published_ones(tmp_path: Path) -> None:
    assert end_tokens(tmp_path, otherwise=7) == {7}
    (tmp_path / "generation_config.json").write_text(json.dumps({"top_k": 1}))
    assert end_tokens(tmp_path, otherwise=7) == {7}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    assert end_tokens(tmp_path, otherwise=7) == {1, 2}
