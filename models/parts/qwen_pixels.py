"""Qwen2-VL's pictures and videos as patches (Wang et al. 2024, section 2.1, "naive dynamic resolution").

Sizes keep their aspect ratio and become multiples of 28 (a merged patch); budgets of pixels bound the tokens. The
numbers are those of the authors' qwen-vl-utils 0.0.14 for videos and of the checkpoint's image processor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ingest.errors import Invalid
from ingest.records import Pixels
from models.parts.clip_vision import CLIP_MEAN, CLIP_STD
from models.parts.pixels import stack

FACTOR = 28
"""Pixels per side of a merged patch: 2 x 2 patches of 14."""

_PATCH = 14
_MERGE = 2
_FRAMES_PER_PATCH = 2
_LONGEST_RATIO = 200


@dataclass(frozen=True)
class PixelBudget:
    """Pixels of a picture, or of one frame of a video."""

    least: int = 4 * FACTOR**2
    most: float = 16384 * FACTOR**2


@dataclass(frozen=True)
class VideoBudget:
    """Pixels per frame and of all frames together."""

    least: int = 128 * FACTOR**2
    most: int | None = None
    total: float = 0.9 * 128000 * FACTOR**2

    def per_frame(self, frames: int) -> PixelBudget:
        """The more frames, the fewer pixels each, down to just above the least."""
        fair = min(768 * FACTOR**2, self.total / frames * _FRAMES_PER_PATCH)
        most = max(fair, int(self.least * 1.05))
        return PixelBudget(self.least, min(most, self.most or most))


@dataclass(frozen=True)
class FrameBudget:
    """Frames per second of a video, and how few and how many of it; `most` bounds to an even number."""

    rate: float = 2.0
    least: int = 4
    most: int = 768

    def indices(self, total: int, rate: float) -> list[int]:
        """Which of `total` frames at `rate` per second: an even number, evenly spread, first and last included."""
        least, most = math.ceil(self.least / _FRAMES_PER_PATCH), self.most // _FRAMES_PER_PATCH
        wanted = max(total / rate * self.rate, least * _FRAMES_PER_PATCH)
        count = min(wanted, most * _FRAMES_PER_PATCH, total)
        return evenly(total, int(count) // _FRAMES_PER_PATCH * _FRAMES_PER_PATCH)


@dataclass(frozen=True)
class Patches:
    """values float32 [T * H * W, 1176]; grid (T, H, W) in patches of 2 frames x 14 x 14 pixels, before merging."""

    values: Tensor
    grid: tuple[int, int, int]


def fitting_size(height: int, width: int, budget: PixelBudget) -> tuple[int, int]:
    """(height, width) as multiples of 28 within the budget, the aspect ratio kept as well as that allows.

    As with the authors, a side shorter than a patch may come out as 0 when the budget is small.
    """
    if max(height, width) > _LONGEST_RATIO * min(height, width):
        raise Invalid(f"A picture of {width} x {height} is too narrow.", advice=f"At most {_LONGEST_RATIO} to 1.")
    new_height, new_width = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in (height, width))
    if new_height * new_width > budget.most:
        shrink = math.sqrt(height * width / budget.most)
        return _down(height / shrink), _down(width / shrink)
    if new_height * new_width < budget.least:
        grow = math.sqrt(budget.least / (height * width))
        return _up(height * grow), _up(width * grow)
    return new_height, new_width


def _visible(size: tuple[int, int]) -> tuple[int, int]:
    return max(FACTOR, size[0]), max(FACTOR, size[1])


def _down(side: float) -> int:
    return math.floor(side / FACTOR) * FACTOR


def _up(side: float) -> int:
    return math.ceil(side / FACTOR) * FACTOR


def evenly(total: int, count: int) -> list[int]:
    """`count` indices into `total` things, first and last included, rounded half to even."""
    if not 2 <= count <= total:
        raise Invalid(f"Cannot take {count} of {total} frames.", advice="A video needs at least two frames.")
    return [int(index) for index in torch.linspace(0, total - 1, count).round()]


def picture_patches(picture: Pixels, budget: PixelBudget) -> Patches:
    """One picture uint8 [H, W, 3], resized by PIL's bicubic filter, as a still video of two frames."""
    height, width = _visible(fitting_size(picture.shape[0], picture.shape[1], budget))
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    frame = np.array(resized)
    return patches(stack([frame, frame]))


def video_patches(frames: Sequence[Pixels], budget: VideoBudget) -> Patches:
    """Frames uint8 [H, W, 3], all brought to the size that fits the first; an odd one out is shown twice."""
    height, width, _ = frames[0].shape
    size = _visible(fitting_size(height, width, budget.per_frame(len(frames))))
    return patches(torch.cat([resize_video(stack([frame]), size) for frame in frames]))


def resize_video(video: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [T, 3, H, W] -> uint8 [T, 3, *size], bit for bit as torchvision's antialiased bicubic on tensors."""
    resized = F.interpolate(video.float(), size, mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 255).round().to(torch.uint8)


def patches(video: Tensor) -> Patches:
    """uint8 [T, 3, H, W], sides multiples of 28 -> patches; the 2 x 2 that will merge stand together."""
    if len(video) % _FRAMES_PER_PATCH:
        video = torch.cat([video, video[-1:]])
    mean, std = (torch.tensor(value)[:, None, None] for value in (CLIP_MEAN, CLIP_STD))
    scaled = (video.double() * (1 / 255)).float()
    time, rows, columns = len(video) // _FRAMES_PER_PATCH, video.shape[2] // _PATCH, video.shape[3] // _PATCH
    blocks = ((scaled - mean) / std).view(
        time, _FRAMES_PER_PATCH, 3, rows // _MERGE, _MERGE, _PATCH, columns // _MERGE, _MERGE, _PATCH
    )
    values = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(time * rows * columns, -1)
    return Patches(values, (time, rows, columns))
