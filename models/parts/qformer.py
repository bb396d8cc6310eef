"""The Q-Former: a few learned queries that ask a long row of tokens what is in it.

Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training" (ICML 2023), §3.1: a BERT whose even layers let the
queries also attend to visual tokens. With text it is InstructBLIP's (Dai et al., NeurIPS 2023, §2.3): the instruction
takes part in self-attention, so that the queries extract what the instruction asks for; it never sees the pictures.
Without text (Video-LLaMA, three times) the text's half of each layer does not exist.

What a layer attends to is asked of a `Context`: `Present` gives what is there now; MA-LMM gives its past as well.
Names follow the published checkpoints, which follow BERT's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Project: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A layer's key and value projections: rows [B, R, C] to keys and values [B, heads, R, D]."""


@dataclass(frozen=True)
class QFormerConfig:
    """The defaults are InstructBLIP's. `vocabulary` None means queries only. `cross_every` 2: layers 0, 2, 4, ..."""

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    intermediate: int = 3072
    context_width: int = 1408
    cross_every: int = 2
    vocabulary: int | None = 30523
    positions: int = 512


class Context(Protocol):
    """What attention looks at."""

    def look(self, layer: int, rows: Tensor, project: Project) -> tuple[Tensor, Tensor]:
        """Keys and values [B, heads, n*R, D] for `layer`, given what is there now, rows [B, R, C]."""


class Present:
    """No memory: only what is there now."""

    def look(self, layer: int, rows: Tensor, project: Project) -> tuple[Tensor, Tensor]:
        return project(rows)


PRESENT = Present()


class QFormer(nn.Module):
    """Queries [B, Q, C] (and text) and visual tokens [B, N, V] to [B, Q + L, C]; the first Q rows are the answer."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.bert = _Bert(config)

    def forward(
        self,
        queries: Tensor,
        visual: Tensor,
        text: Text | None = None,
        past: Context = PRESENT,
        sight: Context = PRESENT,
    ) -> Tensor:
        """`past` is asked for self-attention's keys and values, `sight` for cross-attention's."""
        rows: Tensor = self.bert.embeddings(queries, text)
        padded = text is not None and not bool(text.mask.all())
        bias = _bias(text.mask, queries.shape[1], rows.dtype) if text is not None and padded else None
        for index, layer in enumerate(self.bert.encoder.layer):
            rows = layer(rows, queries.shape[1], _Surroundings(index, visual, bias, past, sight))
        return rows


@dataclass(frozen=True)
class Text:
    """An instruction: token ids int64 [B, L], right-padded, and its mask [B, L]."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class _Surroundings:
    """What a layer is given beside its rows."""

    index: int
    visual: Tensor
    bias: Tensor | None
    past: Context
    sight: Context


def _bias(mask: Tensor, queries: int, dtype: torch.dtype) -> Tensor:
    """Added to scores: 0 for queries and text, -10000 for padding, [B, 1, 1, Q + L]."""
    padding = 1.0 - F.pad(mask, (queries, 0), value=1).to(dtype)
    return (padding * -10000.0)[:, None, None, :]


class _Bert(nn.Module):
    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)


class _Encoder(nn.Module):
    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config, index) for index in range(config.layers))


class _Embeddings(nn.Module):
    """Queries as they are, words with their positions, one norm over both."""

    position_ids: Tensor

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        if config.vocabulary is not None:
            self.word_embeddings = nn.Embedding(config.vocabulary, config.hidden)
            self.position_embeddings = nn.Embedding(config.positions, config.hidden)
        self.register_buffer("position_ids", torch.arange(config.positions).unsqueeze(0))
        self.LayerNorm = nn.LayerNorm(config.hidden, eps=1e-12)

    def forward(self, queries: Tensor, text: Text | None) -> Tensor:
        rows = queries
        if text is not None:
            positions = self.position_embeddings(self.position_ids[:, : text.ids.shape[1]])
            rows = torch.cat([queries, self.word_embeddings(text.ids) + positions], dim=1)
        normed: Tensor = self.LayerNorm(rows)
        return normed


class _Layer(nn.Module):
    """Self-attention over all rows, cross-attention for the queries, a feed-forward for each kind; post-norm."""

    def __init__(self, config: QFormerConfig, index: int) -> None:
        super().__init__()
        self.attention = _Attention(config, config.hidden)
        if index % config.cross_every == 0:
            self.crossattention = _Attention(config, config.context_width)
        if config.vocabulary is not None:
            self.intermediate = _Dense(config.hidden, config.intermediate)
            self.output = _Residual(config.intermediate, config.hidden)
        self.intermediate_query = _Dense(config.hidden, config.intermediate)
        self.output_query = _Residual(config.intermediate, config.hidden)

    def forward(self, rows: Tensor, queries: int, around: _Surroundings) -> Tensor:
        keys, values = around.past.look(around.index, rows, self.attention.project)
        bias = None if around.bias is None else around.bias.repeat(1, 1, 1, keys.shape[2] // rows.shape[1])
        rows = self.attention(rows, keys, values, bias)
        asked: Tensor = rows[:, :queries]
        text = rows[:, queries:]
        if hasattr(self, "crossattention"):
            keys, values = around.sight.look(around.index, around.visual, self.crossattention.project)
            asked = self.crossattention(asked, keys, values)
        asked = self.output_query(F.gelu(self.intermediate_query(asked)), asked)
        if not text.shape[1]:
            return asked
        return torch.cat([asked, self.output(F.gelu(self.intermediate(text)), text)], dim=1)


class _Attention(nn.Module):
    """Multi-head attention, its output added to where it started and normed."""

    def __init__(self, config: QFormerConfig, context_width: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.self = _Projections(config.hidden, context_width)
        self.output = _Residual(config.hidden, config.hidden)

    def project(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, heads, R, D] of what is attended to, [B, R, C]."""
        return self._split(self.self.key(rows)), self._split(self.self.value(rows))

    def forward(self, rows: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        query = self._split(self.self.query(rows))
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias)
        out: Tensor = self.output(attended.transpose(1, 2).flatten(2), rows)
        return out

    def _split(self, rows: Tensor) -> Tensor:
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)  # [B, heads, R, C / heads]


class _Projections(nn.Module):
    def __init__(self, hidden: int, context_width: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(context_width, hidden)
        self.value = nn.Linear(context_width, hidden)


class _Dense(nn.Module):
    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inward, outward)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.dense(rows)
        return out


class _Residual(nn.Module):
    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inward, outward)
        self.LayerNorm = nn.LayerNorm(outward, eps=1e-12)

    def forward(self, rows: Tensor, residual: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.dense(rows) + residual)
        return out
