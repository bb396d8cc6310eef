"""The network: a one-stage, anchor-free detector that also sums a picture up.

A CSP backbone (Wang et al. 2020, section 3.1) reads the picture at strides 2 to 32, a path-aggregation neck (Liu et al.
2018, section 3.1) mixes coarse and fine, and a decoupled head (Ge et al. 2021, YOLOX, section 2.1) tells per cell where
a box is, whether there is one, and of which category. The pooled maps are a summary of the whole picture. Backbone and
neck are of dense convolutions, which a processor runs at a higher share of its speed than depthwise ones; the towers of
the head, which see most cells, are depthwise separable. Stages end at the widths YOLOX-nano has there, so that it can
teach each of them by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nano.coco import NAMES

STRIDES = (8, 16, 32)
"""Pixels per cell of each detection level, finest first."""


@dataclass(frozen=True, slots=True)
class Size:
    """How wide and deep the network is: widths of the stages at strides 2 to 32, depths of those at 4 to 32.

    The neck is as wide at a stride as the backbone.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    depths: tuple[int, ...] = (1, 3, 3, 1)
    head: int = 64

    @property
    def pooled(self) -> int:
        """Numbers in the summary of a whole picture."""
        return 2 * (sum(self.widths[3:]) + sum(self.widths[2:]))


class Conv(nn.Module):
    """Convolution, batch normalisation, SiLU; with `groups` as many as channels it is depthwise."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class FusedConv(nn.Module):
    """A `Conv` with its normalisation folded into the kernel: what runs after training."""

    def __init__(self, source: Conv) -> None:
        super().__init__()
        norm, kernel = source.norm, source.conv.weight
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.weight = nn.Parameter(kernel * scale[:, None, None, None], requires_grad=False)
        self.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
        self.stride, self.padding, self.groups = source.conv.stride, source.conv.padding, source.conv.groups

    def forward(self, x: Tensor) -> Tensor:
        found = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return F.silu(found, inplace=True)


class Residual(nn.Module):
    """x + a 1x1 and a 3x3 convolution of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv(channels, channels), Conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x))


class CrossStage(nn.Module):
    """Half of the channels pass `depth` residual blocks, half go around them."""

    def __init__(self, channels_in: int, channels_out: int, depth: int = 1) -> None:
        super().__init__()
        half = channels_out // 2
        self.through, self.around = Conv(channels_in, half), Conv(channels_in, half)
        self.body = nn.Sequential(*(Residual(half) for _ in range(depth)))
        self.join = Conv(2 * half, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat((self.body(self.through(x)), self.around(x)), 1))
        return joined


class PyramidPool(nn.Module):
    """Max pooling over 5, 9 and 13 cells, side by side (He et al. 2015, as in YOLOv5's chained form)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shrink, self.join = Conv(channels, channels // 2), Conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.shrink(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, 1, 2))
        joined: Tensor = self.join(torch.cat(maps, 1))
        return joined


class Tower(nn.Sequential):
    """Two depthwise separable 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        steps = [(Conv(width, width, 3, groups=width), Conv(width, width)) for _ in range(2)]
        super().__init__(*(layer for step in steps for layer in step))


class Head(nn.Module):
    """Per cell: 4 box numbers, 1 objectness logit, one logit per category."""

    def __init__(self, channels: int, width: int, categories: int) -> None:
        super().__init__()
        self.stem = Conv(channels, width)
        self.category_tower, self.box_tower = Tower(width), Tower(width)
        self.category = nn.Conv2d(width, categories, 1)
        self.box, self.objectness = nn.Conv2d(width, 4, 1), nn.Conv2d(width, 1, 1)
        for rare in (self.category, self.objectness):  # most cells are background: start there
            assert rare.bias is not None
            nn.init.constant_(rare.bias, -4.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        box = self.box_tower(x)
        return torch.cat((self.box(box), self.objectness(box), self.category(self.category_tower(x))), 1)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the network says. maps per level [B, 5 + categories, H/s, W/s]; pooled [B, pooled]."""

    maps: tuple[Tensor, ...]
    pooled: Tensor


class Student(nn.Module):
    """RGB pictures float [B, 3, H, W] in 0..255, H and W multiples of 32, to what is in them."""

    def __init__(self, size: Size | None = None, categories: int = len(NAMES)) -> None:
        super().__init__()
        self.size = size = size or Size()
        w2, w4, w8, w16, w32 = size.widths
        d4, d8, d16, d32 = size.depths
        self.stage4 = nn.Sequential(Conv(3, w2, 6, 2), Conv(w2, w4, 3, 2), CrossStage(w4, w4, d4))
        self.stage8 = nn.Sequential(Conv(w4, w8, 3, 2), CrossStage(w8, w8, d8))
        self.stage16 = nn.Sequential(Conv(w8, w16, 3, 2), CrossStage(w16, w16, d16))
        self.stage32 = nn.Sequential(Conv(w16, w32, 3, 2), PyramidPool(w32), CrossStage(w32, w32, d32))
        self.narrow32, self.narrow16 = Conv(w32, w16), Conv(w16, w8)
        self.up16, self.up8 = CrossStage(2 * w16, w16), CrossStage(2 * w8, w8)
        self.down16, self.down32 = Conv(w8, w8, 3, 2), Conv(w16, w16, 3, 2)
        self.mix16, self.mix32 = CrossStage(2 * w8, w16), CrossStage(2 * w16, w32)
        self.heads = nn.ModuleList(Head(width, size.head, categories) for width in (w8, w16, w32))

    def forward(self, pictures: Tensor) -> Seen:
        c8 = self.stage8(self.stage4(pictures / 64.0))
        c16 = self.stage16(c8)
        c32 = self.stage32(c16)
        n32 = self.narrow32(c32)
        n16 = self.narrow16(self.up16(torch.cat((F.interpolate(n32, scale_factor=2.0), c16), 1)))
        p8 = self.up8(torch.cat((F.interpolate(n16, scale_factor=2.0), c8), 1))
        p16 = self.mix16(torch.cat((self.down16(p8), n16), 1))
        p32 = self.mix32(torch.cat((self.down32(p16), n32), 1))
        necks = (p8, p16, p32)
        maps = tuple(head(x) for head, x in zip(self.heads, necks, strict=True))
        return Seen(maps=maps, pooled=summary(c16, c32, *necks))


def summary(*maps: Tensor) -> Tensor:
    """Mean and maximum of every channel, side by side."""
    return torch.cat([pool for x in maps for pool in (x.mean((2, 3)), x.amax((2, 3)))], 1)


def fuse(network: nn.Module) -> nn.Module:
    """Fold every normalisation into its convolution, in place. Outputs stay the same up to rounding."""
    for name, child in network.named_children():
        if isinstance(child, Conv):
            setattr(network, name, FusedConv(child))
        else:
            fuse(child)
    return network
