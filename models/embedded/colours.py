"""Names of colours in plain words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ingest.records import Pixels
from models.embedded.space import COLOURS

_NAMED = {name: index for index, name in enumerate(COLOURS)}
_NEUTRAL = [_NAMED["white"], _NAMED["grey"], _NAMED["black"]]
_HUES = ((0.0, "red"), (7.0, "orange"), (22.0, "yellow"), (36.0, "green"), (85.0, "blue"), (128.0, "purple"),
         (148.0, "pink"), (165.0, "red"))  # fmt: skip
"""Where each name begins on the wheel of hue, in OpenCV's half degrees."""
_CHROMATIC_SHARE = 0.25
"""Cars have dark windows and people grey trousers: this much of a real colour names a thing all the same."""


def name_pixels(pixels: Pixels) -> NDArray[np.uint8]:
    """Index into `COLOURS` of every pixel, uint8 [H, W]."""
    import cv2

    hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[..., 0], hsv[..., 1].astype(np.int32), hsv[..., 2].astype(np.int32)
    starts = np.array([start for start, _ in _HUES])
    names = np.array([_NAMED[name] for _, name in _HUES], dtype=np.uint8)
    named = names[np.searchsorted(starts, np.arange(180), side="right") - 1][np.minimum(hue, 179)]
    chroma = saturation * value // 255
    named = np.where((named == _NAMED["orange"]) & (value < 150), _NAMED["brown"], named)
    named = np.where((named == _NAMED["red"]) & (saturation < 110) & (value > 150), _NAMED["pink"], named)
    named = np.where((named == _NAMED["orange"]) & (saturation < 120) & (value < 190), _NAMED["brown"], named)
    neutral = np.where(value < 55, _NAMED["black"], np.where(value > 170, _NAMED["white"], _NAMED["grey"]))
    grey = (chroma < 32) | (saturation < 48) | (value < 40)
    return np.where(grey, neutral, named).astype(np.uint8)


def shares(named: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Share of each colour among the pixels of `mask` (all without one), float32 [len(COLOURS)]."""
    chosen = named[mask] if mask is not None else named.reshape(-1)
    counts = np.bincount(chosen, minlength=len(COLOURS)).astype(np.float32)
    return counts / max(float(counts.sum()), 1.0)


def dominant(share: NDArray[np.float32]) -> str:
    """The name a person would give a thing with these shares: its strongest real colour, else its strongest neutral."""
    chromatic = share.copy()
    chromatic[_NEUTRAL] = 0.0
    best = int(np.argmax(chromatic))
    if float(chromatic[best]) >= _CHROMATIC_SHARE:
        return COLOURS[best]
    return COLOURS[int(np.argmax(share))]


def strengths(share: NDArray[np.float32]) -> dict[str, float]:
    """How strongly a thing with these shares may be called each colour, 0..1; the dominant one is 1."""
    main = dominant(share)
    found = {name: min(1.0, float(share[index]) / 0.5) for name, index in _NAMED.items() if share[index] >= 0.25}
    return {**{name: 0.7 * value for name, value in found.items()}, main: 1.0}
