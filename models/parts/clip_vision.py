"""CLIP's vision transformer (Radford et al. 2021, section 2.4), as LLaVA and the video systems after it use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from ingest.records import Pixels
from models.weights import KeyMap, read_config

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

CLIP_KEYS = KeyMap(ignore=(r"^text_", r"^visual_projection", r"^logit_scale$", r"position_ids$"))
"""A folder of CLIP's as published: both towers and their projections, of which only one tower is wanted."""

_FRAMES_AT_ONCE = 16


def clip_config(folder: Path) -> CLIPVisionConfig:
    """Of the tower in a folder of CLIP's as published."""
    published = read_config(folder)
    return CLIPVisionConfig(**published.get("vision_config", published))


class ClipTower(nn.Module):
    """The tower under its official names (`vision_model.…`), giving features of patches."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.vision_model = CLIPVisionModel(config)

    @property
    def size(self) -> int:
        """Side of the square pictures it takes, in pixels."""
        return int(self.vision_model.config.image_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Patches after all blocks but the last: pixels [T, 3, S, S] -> [T, N, C], without CLS and without a norm.

        The last block is trained for CLS alone; LLaVA (Liu et al. 2023, section 4.1) found the one before it better.
        """
        return torch.cat([self._encode(some) for some in torch.split(pixels, _FRAMES_AT_ONCE)])

    def _encode(self, pixels: Tensor) -> Tensor:
        vision = self.vision_model
        x = vision.pre_layrnorm(vision.embeddings(pixels.to(vision.embeddings.patch_embedding.weight)))
        for block in vision.encoder.layers[:-1]:
            x = block(x, attention_mask=None)
        patches: Tensor = x[:, 1:]
        return patches


def clip_pixels(pictures: Sequence[Pixels], size: int) -> Tensor:
    """CLIP's preprocessing, equal to its own bit for bit: pictures uint8 [H, W, 3] -> float32 [T, 3, size, size].

    The shorter side is resized to `size` by PIL's bicubic filter, the middle square is cut out and normalised.
    """
    return torch.from_numpy(np.stack([_normalised(_middle_square(picture, size)) for picture in pictures]))


def _middle_square(picture: Pixels, size: int) -> Pixels:
    height, width, _ = picture.shape
    longer = int(size * max(height, width) / min(height, width))
    new_height, new_width = (longer, size) if height > width else (size, longer)
    resized = Image.fromarray(picture).resize((new_width, new_height), Image.Resampling.BICUBIC)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return np.asarray(resized)[top : top + size, left : left + size]


def _normalised(picture: Pixels) -> NDArray[np.float32]:
    """uint8 [H, W, 3] -> float32 [3, H, W]."""
    scaled = (picture * (1 / 255)).astype(np.float32)
    mean, std = np.array(CLIP_MEAN, dtype=np.float32), np.array(CLIP_STD, dtype=np.float32)
    return ((scaled - mean) / std).transpose(2, 0, 1)
