"""CLIP's preprocessing against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from models.parts.clip_vision import clip_pixels


@pytest.mark.parametrize(("height", "width"), [(224, 224), (97, 163), (480, 270), (300, 301), (31, 500)])
def test_bit_for_bit(height: int, width: int) -> None:
    picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    theirs = CLIPImageProcessorPil()(images=picture, return_tensors="pt")["pixel_values"]
    assert torch.equal(clip_pixels([picture], 224), theirs)
