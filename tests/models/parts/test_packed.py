"""Packed layers compute what they were packed from."""

from __future__ import annotations

import copy

import pytest
import torch

from models.parts.packed import Packed, pack
from models.parts.qformer import QFormer, QFormerConfig, Text


@pytest.mark.parametrize("words", [1, 12, 50])
@torch.no_grad()
def test_a_packed_qformer_says_the_same(words: int) -> None:
    torch.manual_seed(words)
    plain = QFormer(QFormerConfig(layers=2, hidden=48, heads=4, intermediate=96, context_width=40)).eval()
    packed = copy.deepcopy(plain)
    pack(packed)
    assert any(isinstance(part, Packed) for part in packed.modules())
    ids = torch.randint(0, 30523, (2, words))
    text = Text(ids, torch.ones_like(ids))
    queries, visual = torch.randn(2, 5, 48), torch.randn(2, 17, 40)
    torch.testing.assert_close(packed(queries, visual, text), plain(queries, visual, text), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_layers_without_bias_and_of_another_precision() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(6, 3, bias=False), torch.nn.Linear(3, 2).bfloat16())
    rows = torch.randn(4, 6)
    expected = layers[0](rows)
    pack(layers)
    torch.testing.assert_close(layers[0](rows), expected)
    assert isinstance(layers[1], torch.nn.Linear)
