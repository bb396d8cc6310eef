"""EVA2-CLIP-E as CogVLM2 uses it: frames to 66 vectors of the language model's width each.

A plain ViT (EVA-CLIP, Sun et al. 2023) whose norms stand behind each branch instead of before it, then CogVLM2's
adapter (Hong et al. 2024, section 2): a 2x2 convolution, a gated projection, and a learned vector before
and after every picture. Module names are the official ones, misleading as some of them are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Eva2ClipConfig:
    """`vision_config` of the published config.json; widths of the language model it feeds."""

    hidden_size: int
    num_hidden_layers: int
    num_heads: int
    intermediate_size: int
    language_size: int
    language_intermediate_size: int
    image_size: int = 224
    patch_size: int = 14
    layer_norm_eps: float = 1e-6


class Eva2Clip(nn.Module):
    """Frames [T, 3, S, S] -> [T, 2 + (S / patch / 2)^2, language_size]; frames do not see each other."""

    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        self.boi = nn.Parameter(torch.empty(1, 1, config.language_size))
        self.eoi = nn.Parameter(torch.empty(1, 1, config.language_size))
        self.patch_embedding = PatchEmbedding(config)
        self.transformer = Transformer(config)
        self.linear_proj = GatedProjection(config)
        self.conv = nn.Conv2d(config.hidden_size, config.hidden_size, kernel_size=2, stride=2)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.transformer(self.patch_embedding(pixels))[:, 1:]
        T, N, C = x.shape
        side = int(N**0.5)
        grid = self.conv(x.transpose(1, 2).reshape(T, C, side, side))
        tokens = self.linear_proj(grid.flatten(2).transpose(1, 2))
        return torch.cat([self.boi.expand(T, -1, -1), tokens, self.eoi.expand(T, -1, -1)], dim=1)


class PatchEmbedding(nn.Module):
    """Patches and CLS with their learned positions."""

    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        patches = (config.image_size // config.patch_size) ** 2
        self.cls_embedding = nn.Parameter(torch.empty(1, config.hidden_size))
        self.proj = nn.Conv2d(3, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size)
        self.position_embedding = nn.Embedding(1 + patches, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """[T, 3, S, S] -> [T, 1 + N, C], CLS first."""
        patches = self.proj(pixels.to(self.proj.weight)).flatten(2).transpose(1, 2)
        cls = self.cls_embedding.expand(len(patches), 1, -1)
        out: Tensor = torch.cat([cls, patches], dim=1) + self.position_embedding.weight
        return out


class Transformer(nn.Module):
    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Block(nn.Module):
    """x + norm(branch(x)), twice: `input_layernorm` follows the attention, whatever its name says."""

    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.input_layernorm(self.attention(x))
        out: Tensor = x + self.post_attention_layernorm(self.mlp(x))
        return out


class Attention(nn.Module):
    """Every token sees every other of its frame: [T, N, C] -> [T, N, C]."""

    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        T, N, C = x.shape
        q, k, v = self.query_key_value(x).view(T, N, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out: Tensor = self.dense(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(T, N, C))
        return out


class Mlp(nn.Module):
    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class GatedProjection(nn.Module):
    """[T, N, C] -> [T, N, language_size]: project, norm (eps 1e-5 here), GELU, then a SwiGLU as in LLaMA."""

    def __init__(self, config: Eva2ClipConfig) -> None:
        super().__init__()
        inner = config.language_intermediate_size
        self.linear_proj = nn.Linear(config.hidden_size, config.language_size, bias=False)
        self.norm1 = nn.LayerNorm(config.language_size)
        self.dense_h_to_4h = nn.Linear(config.language_size, inner, bias=False)
        self.gate_proj = nn.Linear(config.language_size, inner, bias=False)
        self.dense_4h_to_h = nn.Linear(inner, config.language_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.linear_proj(x)))
        out: Tensor = self.dense_4h_to_h(F.silu(self.gate_proj(x)) * self.dense_h_to_4h(x))
        return out
