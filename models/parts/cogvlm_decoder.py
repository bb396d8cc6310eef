"""CogVLM2's language model: Llama 3 under CogVLM's names, with CogVLM's positions.

Dubey et al. 2024 (section 3.2) describes the layers; the names of the visual expert (Wang et al. 2023, section 2)
remain although the video model has none: every token passes the `language_…` weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache


@dataclass(frozen=True)
class CogDecoderConfig:
    """The language half of the published config.json; kv_heads is its `num_multi_query_heads`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    heads: int
    kv_heads: int
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads


class RmsNorm(nn.Module):
    """Normalised in float32, weighted before the cast back."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return (self.weight * wide).to(x.dtype)


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021) from frequencies that come with the checkpoint.

    They were rounded to bfloat16 when they were saved, so the formula 500000^(-2i/d) does not give the same numbers.
    Positions and angles take the dtype of the frequencies: in bfloat16 positions above 256 are coarse, as served.
    """

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", torch.empty(head_dim // 2))

    def table(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(cos, sin), each [..., head_dim / 2], of positions int64 [...]."""
        angles = positions.to(self.inv_freq)[..., None] * self.inv_freq
        return angles.cos(), angles.sin()

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Rotate x [B, heads, L, head_dim] by positions [B, L]; a head is its real half, then its imaginary."""
        cos, sin = (part[:, None].to(x.dtype) for part in self.table(positions))
        real, imaginary = x.chunk(2, dim=-1)
        return torch.cat([real * cos - imaginary * sin, imaginary * cos + real * sin], dim=-1)


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023): each kv head serves consecutive query heads."""

    def __init__(self, config: CogDecoderConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.sizes = (config.heads, config.kv_heads, config.kv_heads)
        rows = sum(self.sizes) * config.head_dim
        self.rotary_emb = Rotary(config.head_dim)
        self.language_expert_query_key_value = nn.Linear(config.hidden_size, rows, bias=False)
        self.language_expert_dense = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        B, L, C = x.shape
        qkv = self.language_expert_query_key_value(x).view(B, L, sum(self.sizes), -1).transpose(1, 2)
        q, k, v = qkv.split(self.sizes, dim=1)
        q, k = self.rotary_emb(q, positions), self.rotary_emb(k, positions)
        k, v = cache.update(k, v, self.index)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        out: Tensor = self.language_expert_dense(seen.transpose(1, 2).reshape(B, L, C))
        return out


class Mlp(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: CogDecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, config: CogDecoderConfig, index: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, index)
        self.mlp = nn.ModuleDict({"language_mlp": Mlp(config)})
        self.input_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), positions, mask, cache)
        out: Tensor = x + self.mlp["language_mlp"](self.post_attention_layernorm(x))
        return out


class CogDecoder(nn.Module):
    """Embeddings [B, L, C] -> hidden states [B, L, C] of what follows what `cache` holds."""

    def __init__(self, config: CogDecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, positions: Tensor, real: Tensor, cache: DynamicCache) -> Tensor:
        """`positions` int64 [B, L] of the new tokens; `real` bool [B, past + L] is False at padding."""
        mask = causal_mask(real, x.shape[1])
        for layer in self.layers:
            x = layer(x, positions, mask, cache)
        out: Tensor = self.norm(x)
        return out


def causal_mask(real: Tensor, length: int) -> Tensor:
    """bool [B, 1, length, S]: which of S tokens (`real` [B, S]) each of the last `length` may see; always itself."""
    S = real.shape[1]
    rows = torch.arange(S - length, S, device=real.device)[:, None]
    columns = torch.arange(S, device=real.device)
    return ((columns <= rows) & real[:, None, None, :]) | (columns == rows)


def cog_positions(kinds: Tensor, real: Tensor) -> Tensor:
    """Positions int64 [B, L] of tokens whose `kinds` are 0 for text and 1 for vision, -1 where not `real` [B, L].

    A picture is one place: all its patches share a position (Wang et al. 2023, section 2, "position embedding").
    Its first and last vector count as text. Neighbouring pictures with no text between them share one place too.
    """
    kinds = torch.where(real, kinds, -1)
    vision, edge = kinds == 1, torch.ones_like(real[:, :1])
    beside_text = torch.cat([edge, kinds[:, :-1] == 0], dim=1) | torch.cat([kinds[:, 1:] == 0, edge], dim=1)
    text = (kinds == 0) | (vision & beside_text)
    step = text[:, 1:] | (vision[:, 1:] & ~text[:, 1:] & text[:, :-1])
    return F.pad(step, (1, 0)).long().cumsum(dim=1)
