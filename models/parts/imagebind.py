"""ImageBind's towers, of which Video-LLaMA hears with one and was taught with another.

Girdhar et al., "ImageBind: One Embedding Space To Bind Them All" (CVPR 2023), §3: a transformer per modality, each
ending in the same space. All six are built, because the published file fills all six; `hear` and `see` run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.parts.eva_vit import Mlp

_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class Tower:
    """One modality: its transformer, how its input is cut up, and the tokens that makes (class token included)."""

    width: int
    blocks: int
    heads: int
    tokens: int
    patch: tuple[int, ...] = ()
    """Kernel of the stem's convolution; for imu the length of a stretch; for text nothing."""


HUGE: Mapping[str, Tower] = {
    "vision": Tower(1280, 32, 16, 257, (2, 14, 14)),
    "text": Tower(1024, 24, 16, 77),
    "audio": Tower(768, 12, 12, 229, (16, 16)),
    "depth": Tower(384, 12, 8, 197, (16, 16)),
    "thermal": Tower(768, 12, 12, 197, (16, 16)),
    "imu": Tower(512, 6, 8, 251, (48,)),
}
"""imagebind_huge."""


@dataclass(frozen=True)
class ImageBindConfig:
    width: int = 1024
    """Of the space all towers end in."""
    towers: Mapping[str, Tower] = field(default_factory=lambda: HUGE)


class ImageBind(nn.Module):
    """The module tree under its official names."""

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        towers = config.towers.items()
        self.modality_preprocessors = nn.ModuleDict({name: _stem(name, tower) for name, tower in towers})
        self.modality_trunks = nn.ModuleDict({name: _Trunk(name, tower) for name, tower in towers})
        self.modality_heads = nn.ModuleDict({name: _head(name, tower, config.width) for name, tower in towers})
        self.modality_postprocessors = nn.ModuleDict(
            {name: nn.Sequential(nn.Identity(), _Scale()) for name, _ in towers if name != "vision"}
        )

    def hear(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel pictures [B, 1, 128, 204]: the class token [B, 768] and the embedding [B, 1024] of norm 20."""
        before, embedding = self._embed("audio", self.modality_preprocessors["audio"](clips))
        return before, self.modality_postprocessors["audio"](embedding)

    def see(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, 224, 224]: the class token [B, 1280] and the embedding [B, 1024] of norm 1."""
        still = pictures.unsqueeze(2).expand(-1, -1, 2, -1, -1)  # a video of two equal frames
        return self._embed("vision", self.modality_preprocessors["vision"](still))

    def _embed(self, name: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        norm, _, project = self.modality_heads[name].children()
        first: Tensor = norm(self.modality_trunks[name](tokens)[:, 0])
        return first, F.normalize(project(first), dim=-1)


def _stem(name: str, tower: Tower) -> nn.Module:
    if name == "text":
        return _TextStem(tower)
    if name == "imu":
        return _ImuStem(tower)
    return _PatchStem(name, tower)


class _PatchStem(nn.Module):
    """A convolution cuts the input into patches, row by row; they get a class token and positions."""

    def __init__(self, name: str, tower: Tower) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, tower.width))
        self.pos_embedding_helper = _Positions(tower)
        self.stem_name = "depth_stem" if name == "depth" else "rgbt_stem"
        self.add_module(self.stem_name, _VideoConvolution(tower) if name == "vision" else _Convolution(name, tower))

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 1 or 3, ...] to tokens [B, N, C]."""
        patches: Tensor = self.get_submodule(self.stem_name)(pictures)
        cls = self.cls_token.expand(len(patches), -1, -1)
        return torch.cat([cls, patches], dim=1) + self.pos_embedding_helper.pos_embed


class _Positions(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, tower.tokens, tower.width))


class _Convolution(nn.Module):
    def __init__(self, name: str, tower: Tower) -> None:
        super().__init__()
        height, width = tower.patch
        stride = 10 if name == "audio" else height  # patches of sound overlap
        self.proj = nn.Conv2d(1, tower.width, (height, width), stride, bias=False)
        self.norm_layer = nn.LayerNorm(tower.width)

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.norm_layer(self.proj(pictures.to(self.proj.weight)).flatten(2).transpose(1, 2))
        return patches


class _VideoConvolution(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        frames, height, width = tower.patch
        convolution = nn.Conv3d(3, tower.width, (frames, height, width), (frames, height, width), bias=False)
        self.proj = nn.Sequential(nn.Identity(), convolution)

    def forward(self, videos: Tensor) -> Tensor:
        patches: Tensor = self.proj(videos.to(next(self.proj.parameters()))).flatten(2).transpose(1, 2)
        return patches


class _TextStem(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(49408, tower.width)
        self.pos_embed = nn.Parameter(torch.empty(1, tower.tokens, tower.width))
        self.register_buffer("mask", torch.empty(tower.tokens, tower.tokens))


class _ImuStem(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, tower.width))
        self.pos_embed = nn.Parameter(torch.empty(1, tower.tokens, tower.width))
        self.imu_stem = nn.Module()
        self.imu_stem.proj = nn.Linear(tower.patch[0], tower.width, bias=False)
        self.imu_stem.norm_layer = nn.LayerNorm(tower.width)


class _Trunk(nn.Module):
    """Pre-norm blocks; tokens [B, N, C] in and out."""

    def __init__(self, name: str, tower: Tower) -> None:
        super().__init__()
        if name == "vision":
            self.pre_transformer_layer = nn.Sequential(nn.LayerNorm(tower.width, eps=1e-6))
        one_more_key = name not in {"vision", "text"}
        self.blocks = nn.ModuleList(_Block(tower, one_more_key=one_more_key) for _ in range(tower.blocks))

    def forward(self, tokens: Tensor) -> Tensor:
        if hasattr(self, "pre_transformer_layer"):
            tokens = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class _Block(nn.Module):
    """Attention of the smaller modalities has a learned key and value beside those of the tokens."""

    def __init__(self, tower: Tower, *, one_more_key: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(tower.width, tower.heads, add_bias_kv=one_more_key, batch_first=True)
        self.norm_1 = nn.LayerNorm(tower.width, eps=1e-6)
        self.mlp = Mlp(tower.width, 4 * tower.width)
        self.norm_2 = nn.LayerNorm(tower.width, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        out: Tensor = tokens + self.mlp(self.norm_2(tokens))
        return out


def _head(name: str, tower: Tower, width: int) -> nn.Module:
    """A norm, the class token, a projection; at the places the published file has them."""
    norm, project = nn.LayerNorm(tower.width, eps=1e-6), nn.Linear(tower.width, width, bias=False)
    if name == "text":
        head = nn.Module()
        head.proj = nn.Sequential(norm, project)
        return head
    between = [nn.Identity() for _ in range(2 if name == "imu" else 1)]
    return nn.Sequential(norm, *between, project)


class _Scale(nn.Module):
    """Times a learned temperature, at most 100."""

    log_logit_scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_logit_scale", torch.empty(()))

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding * self.log_logit_scale.exp().clamp(max=_LARGEST_SCALE)
