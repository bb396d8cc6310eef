"""Letters: the typeface that comes with Pillow, as masks to paint through."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_EM = 0.86
"""Size of the letters, of the height of their line."""
_REGULAR, _STROKE = 400, 0.00011
"""The typeface has one weight: letters of a heavier one are drawn with a stroke, this much of the line per unit."""


@lru_cache(maxsize=256)
def letters(text: str, line: int, weight: int) -> tuple[NDArray[np.float32], int]:
    """The mask float32 [H, W] in 0..1 of `text` whose line is `line` pixels high, and the row of its baseline."""
    font = ImageFont.load_default(max(1.0, _EM * line))
    stroke = line * _STROKE * max(0, weight - _REGULAR)
    left, top, right, bottom = font.getbbox(text, anchor="ls", stroke_width=stroke)
    width, above, below = max(1, round(right - left) + 1), max(1, round(-top) + 1), max(1, round(bottom) + 1)
    sheet = Image.new("L", (width, above + below))
    ImageDraw.Draw(sheet).text((-left, above), text, 255, font, anchor="ls", stroke_width=stroke)
    return np.asarray(sheet, np.float32) / np.float32(255.0), above
