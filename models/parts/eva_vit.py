"""EVA-CLIP ViT-g/14, the eye of MA-LMM, Video-LLaMA and MiniGPT4-video.

Fang et al., "EVA: Exploring the Limits of Masked Visual Representation Learning at Scale" (CVPR 2023), as BLIP-2 uses
it (Li et al., ICML 2023, §3.2): the last block is left out and the tokens of the one before it are the features. There
is no final norm and no head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FILE = "eva_vit_g.pth"
RULE = (r"^(cls_token|pos_embed|patch_embed\.|blocks\.)", r"visual_encoder.\1")
"""Its published file names tensors as if it were alone."""

UNUSED = (r"^(visual_encoder\.)?blocks\.39\.", r"^(visual_encoder\.)?(head|norm|fc_norm)\.")
"""What that file holds beside: the last block and the head, which are not built."""


@dataclass(frozen=True)
class EvaConfig:
    """The defaults are ViT-g as published, 39 of its 40 blocks."""

    image_size: int = 224
    patch_size: int = 14
    width: int = 1408
    depth: int = 39
    heads: int = 16
    mlp_ratio: float = 4.3637

    @property
    def tokens(self) -> int:
        """Patches and the class token: 257."""
        return (self.image_size // self.patch_size) ** 2 + 1


class EvaVit(nn.Module):
    """Pictures float [B, 3, H, W], normalised, to tokens [B, N, C]; token 0 is the class token."""

    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.empty(1, config.tokens, config.width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed.proj(pixels).flatten(2).transpose(1, 2)  # [B, N-1, C], raster order
        tokens: Tensor = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


def seen(vit: EvaVit, norm: nn.LayerNorm, pictures: Tensor) -> Tensor:
    """BLIP-2's features of normalised pictures [B, 3, H, W]: the tokens [B, N, C], normed in float32."""
    tokens: Tensor = vit(pictures.to(vit.pos_embed.dtype))
    return F.layer_norm(tokens.float(), tokens.shape[-1:], norm.weight.float(), norm.bias.float()).to(tokens.dtype)


class _PatchEmbed(nn.Module):
    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)


class _Block(nn.Module):
    """Pre-norm transformer block, exact GELU."""

    def __init__(self, config: EvaConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = _Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = Mlp(config.width, int(config.width * config.mlp_ratio))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class _Attention(nn.Module):
    """Queries and values have a bias, keys have none: a bias on keys shifts all scores of a query alike."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.empty(width))
        self.v_bias = nn.Parameter(torch.empty(width))
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias]).to(self.qkv.weight.dtype)
        projected = F.linear(tokens, self.qkv.weight, bias).view(*tokens.shape[:2], 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each [B, heads, N, C / heads]
        out: Tensor = self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out
