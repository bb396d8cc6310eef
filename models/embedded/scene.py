"""Facts about the picture as a whole: its light, its colours, its layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.records import Pixels, Vector
from models.embedded.colours import name_pixels, shares
from models.embedded.pictures import shrink
from models.embedded.space import APPEARANCE_SIZE, COLOURS

_GRID = 4
_DARK, _BRIGHT = 62.0, 175.0
"""Mean brightness of a dark and of a bright picture, of 255; strengths run over `_SOFTNESS` around them."""
_SOFTNESS = 16.0


@dataclass(frozen=True, eq=False)
class Look:
    """How a picture looks: `dark`, `bright` and the strengths of `colours` in 0..1, `appearance` a unit vector."""

    dark: float
    bright: float
    colours: dict[str, float]
    appearance: Vector


def look_at(pixels: Pixels) -> Look:
    small = shrink(pixels, 64, 64)
    brightness = float(small.mean())
    spread = shares(name_pixels(small))
    return Look(
        dark=float(np.clip(0.5 + (_DARK - brightness) / _SOFTNESS, 0, 1)),
        bright=float(np.clip(0.5 + (brightness - _BRIGHT) / _SOFTNESS, 0, 1)),
        colours={name: min(1.0, 2.0 * float(spread[i])) for i, name in enumerate(COLOURS) if spread[i] > 0.15},
        appearance=_appearance(small),
    )


def _appearance(small: Pixels) -> Vector:
    """Mean colour (Lab) and edge density of 4 x 4 tiles, as a unit vector float32 [APPEARANCE_SIZE].

    Lightness is relative to the picture's own, so that an exposure change matters less than a change of scene.
    """
    import cv2

    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    tile = small.shape[0] // _GRID
    tiles = lab.reshape(_GRID, tile, _GRID, tile, 3).mean(axis=(1, 3))
    light = lab[..., 0]
    edges = np.abs(np.diff(light, axis=0, append=light[-1:])) + np.abs(np.diff(light, axis=1, append=light[:, -1:]))
    density = edges.reshape(_GRID, tile, _GRID, tile).mean(axis=(1, 3))
    parts = np.concatenate(
        [
            (tiles[..., 0] - tiles[..., 0].mean()).ravel(),
            np.array([0.3 * (tiles[..., 0].mean() - 128.0)]),
            2.0 * (tiles[..., 1:] - 128.0).ravel(),
            2.0 * (density - density.mean()).ravel()[1:],
        ]
    ).astype(np.float32)
    assert len(parts) == APPEARANCE_SIZE
    norm = float(np.linalg.norm(parts))
    return parts / np.float32(norm) if norm > 1e-6 else parts
