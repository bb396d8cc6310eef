"""Pictures to what the BLIP-2 family of encoders was trained on, bit for bit, quirks included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ingest.records import Pixels
from models.parts.clip_vision import CLIP_MEAN, CLIP_STD

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
CLIP_STATISTICS: Statistics = (CLIP_MEAN, CLIP_STD)
IMAGENET_STATISTICS: Statistics = (IMAGENET_MEAN, IMAGENET_STD)


def normalise(pixels: Tensor, statistics: Statistics = CLIP_STATISTICS) -> Tensor:
    """uint8 [..., 3, H, W] to float32 with the mean and deviation the encoder was trained with."""
    mean, deviation = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in statistics)
    return (pixels.to(torch.float32) / 255.0 - mean) / deviation


def stack(pictures: Sequence[Pixels]) -> Tensor:
    """Pictures uint8 [H, W, 3] of one size as a tensor uint8 [T, 3, H, W]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def squash(picture: Pixels, size: int) -> Tensor:
    """One picture uint8 [H, W, 3] of any shape to a square uint8 [3, size, size]: PIL's antialiased bicubic."""
    resized: NDArray[np.uint8] = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1)


def squash_clip(clip: Tensor, size: int, *, clamp: bool = False) -> Tensor:
    """A clip uint8 [T, 3, H, W] to squares uint8 [T, 3, size, size] as LAVIS's video processor does it.

    Bicubic without antialiasing, and then a cast that truncates and, where the filter overshoots, wraps around: -3
    becomes 253. `clamp` keeps such pixels black or white instead.
    """
    resized = F.interpolate(clip.to(torch.float32), (size, size), mode="bicubic", align_corners=False)
    if clamp:
        resized = resized.clamp(0.0, 255.0)
    return resized.to(torch.int32).to(torch.uint8)  # through int32: a negative float as uint8 is undefined
