"""Merging tokens by density-peak clustering, without parameters.

DPC-KNN (Du et al. 2016, section 3) as used for tokens by TCFormer (Zeng et al. 2022, section 3) and by Chat-UniVi
(Jin et al. 2024, section 3): a token is a cluster centre when its neighbourhood is dense and every denser token is
far away; each other token joins its nearest centre, and a cluster becomes the mean of its tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Noise = Callable[[int, int], Tensor]
"""Uniform [0, 1) numbers, float32 [B, N], that decide between equally dense tokens."""

_TIE_BREAK = 1e-6
_NO_WEIGHT = 1e-6


def seeded(seed: int) -> Noise:
    """Noise that is the same in every run, so that the same question about the same frames has one answer."""
    generator = torch.Generator().manual_seed(seed)
    return lambda rows, columns: torch.rand(rows, columns, generator=generator)


@dataclass(frozen=True)
class Tokens:
    """Tokens and what each is made of.

    x      [B, M, C]
    origin int64 [B, N]: the token that each original token went into
    share  [B, N, 1]: how much of it, the weight of an original token in the mean
    """

    x: Tensor
    origin: Tensor
    share: Tensor

    @classmethod
    def original(cls, x: Tensor) -> Tokens:
        """`x` [B, N, C] before any merging."""
        B, N, _ = x.shape
        return cls(x, torch.arange(N, device=x.device).expand(B, N), x.new_ones(B, N, 1))


@dataclass(frozen=True)
class Clusters:
    """centres int64 [B, M] by falling score; member int64 [B, N] < M: each token's cluster; score float32 [B, N]."""

    centres: Tensor
    member: Tensor
    score: Tensor


@dataclass(frozen=True)
class Level:
    """One step of merging: how many clusters (a count above 1, otherwise a share of the tokens) and neighbours."""

    clusters: float
    neighbours: int

    def sizes(self, tokens: int) -> tuple[int, int]:
        """(clusters, neighbours) for that many tokens. Few clusters look at few neighbours, as the authors do."""
        count = math.ceil(self.clusters) if self.clusters > 1 else max(math.ceil(tokens * self.clusters), 1)
        few = min(3, max(count // 2, 1))
        return count, few if self.neighbours > count else self.neighbours

    def __call__(self, tokens: Tokens, noise: Noise) -> tuple[Tokens, Clusters]:
        """The merged tokens, and the clusters of those that came in."""
        B, N, _ = tokens.x.shape
        count, neighbours = self.sizes(N)
        clusters = dpc_knn(tokens.x, count, neighbours, noise(B, N))
        return merge(tokens, clusters), clusters


def dpc_knn(x: Tensor, clusters: int, neighbours: int, noise: Tensor, mask: Tensor | None = None) -> Clusters:
    """Cluster the tokens of x [B, N, C]; `mask` [B, N] is nonzero where a token is real and not padding.

    The order of operations is the authors' and so is the rounding: near-equal densities are decided by the last bit.
    """
    B, N, C = x.shape
    distance = torch.cdist(x.float(), x.float()) / C**0.5
    if mask is not None:
        real = mask[:, None, :] > 0
        distance = torch.where(real, distance, distance.max() + 1)
    nearest = distance.topk(neighbours, dim=-1, largest=False).values
    density = (-nearest.square().mean(dim=-1)).exp()
    density = density + noise.to(density) * _TIE_BREAK
    if mask is not None:
        density = density * (mask > 0)

    denser = density[:, None, :] > density[:, :, None]
    farthest = distance.flatten(1).max(dim=-1).values[:, None, None]
    separation = torch.where(denser, distance, farthest).amin(dim=-1)
    score = separation * density
    centres = score.topk(clusters, dim=-1).indices

    to_centres = distance.gather(1, centres[:, :, None].expand(B, clusters, N))
    member = to_centres.argmin(dim=1)
    own = torch.arange(clusters, device=x.device).expand(B, clusters)
    return Clusters(centres, member.scatter(1, centres, own), score)


def merge(tokens: Tokens, clusters: Clusters, weight: Tensor | None = None) -> Tokens:
    """Each cluster's mean, weighted by `weight` [B, N, 1] where given.

    A cluster's weight is counted 1e-6 too heavy, which the authors do and which vanishes in half precision.
    """
    x = tokens.x
    B, N, C = x.shape
    M = clusters.centres.shape[1]
    if weight is None:
        weight = x.new_ones(B, N, 1)
    member = (clusters.member + torch.arange(B, device=x.device)[:, None] * M).flatten()
    total = _sums(weight.reshape(-1, 1), member, B * M) + _NO_WEIGHT
    part = weight / total[member].view(B, N, 1)
    merged = _sums((x * part).reshape(-1, C).to(x.dtype), member, B * M)
    return Tokens(
        merged.view(B, M, C),
        clusters.member.gather(1, tokens.origin),
        tokens.share * part.gather(1, tokens.origin[:, :, None]),
    )


def _sums(rows: Tensor, member: Tensor, clusters: int) -> Tensor:
    """The sum of each cluster's rows [R, C]. Not `index_add_`: on a GPU it adds in another order every time."""
    return rows.new_zeros(clusters, rows.shape[1]).index_put_((member,), rows, accumulate=True)
