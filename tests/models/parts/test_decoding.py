"""Tokens to words as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from models.parts.decoding import Manner, speak, spell


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

    assert list(speak(step, Manner(frozenset({9})), longest=10)) == [5, 3]
    assert list(speak(step, Manner(frozenset({0})), longest=3)) == [5, 3, 9]


def test_the_manner_is_the_published_one(tmp_path: Path) -> None:
    assert Manner.read(tmp_path, otherwise=7) == Manner(frozenset({7}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"top_k": 1, "repetition_penalty": 1.05}))
    assert Manner.read(tmp_path, otherwise=7) == Manner(frozenset({7}), 1.05)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    assert Manner.read(tmp_path, otherwise=7) == Manner(frozenset({1, 2}))


def test_repetition_is_weighed_as_transformers_does() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, known = torch.randn(2, 20, generator=generator), torch.randint(0, 20, (2, 9), generator=generator)
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(known, logits.clone())
    torch.testing.assert_close(Manner(frozenset(), 1.3).weigh(logits, known), theirs)


def test_a_penalty_counts_the_prompt_and_what_was_said() -> None:
    def step(said: Tensor | None) -> Tensor:
        return torch.tensor([[3.0, 2.9, 2.8, 0.1]])

    manner = Manner(frozenset({3}), penalty=1.5)
    assert list(speak(step, manner, longest=3, prompt=torch.tensor([[0]]))) == [1, 2, 0]
