"""Things that keep their shape while they travel, and what that says about their names.

The living bend as they go, and vehicles do not (Lipton, Fujiyoshi and Patil, Moving Target Classification and Tracking
from Real-time Video, 1998, tell people from vehicles by shape over time). That a thing is rigid says nothing of whether
there is one: what has no support from its looks is not named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from models.embedded.kinds import GROUPS
from models.embedded.pictures import Mask

Corners = tuple[float, float, float, float]

LOOKS: Final = 3
"""So many comparisons are needed."""
KEPT: Final = 0.85
"""Three quarters of the comparisons must find at least this share of the two outlines in common."""
FULL: Final = 0.7
"""A vehicle fills this share of its box, as it goes along the picture's sides."""
LEAST: Final = 0.004
"""Share of the picture below which outlines are too coarse."""
_FRAME = 3
"""Outlines are ragged in so many pixels along the picture's sides."""
_FEWEST = 30
_TELLS = 9.0
"""How much likelier a vehicle is to be found rigid than something else that goes through the picture. Counted in six
clips: four vehicles of four, one other thing of forty-five. That alone would say more; it is few."""
_OF_UNKNOWN = 0.3
"""How often something that crosses a picture by itself, and of which looks say nothing, is a vehicle: chosen."""
_USUAL: Final = {"car": 0.8, "truck": 0.1, "bus": 0.05, "motorcycle": 0.05}
"""What vehicles are when looks do not tell: chosen."""
_LIVING: Final = frozenset({"person"}) | GROUPS["animal"]


def kept(before: Mask, now: Mask, shift: tuple[float, float]) -> float | None:
    """The share that two outlines have in common when the first is moved by `shift` (fractions of the picture).

    Only what was and is inside the picture counts; None when hardly anything was.
    """
    height, width = now.shape
    right, down = round(shift[0] * width), round(shift[1] * height)
    top, bottom = max(0, down) + _FRAME, min(height, height + down) - _FRAME
    left, far = max(0, right) + _FRAME, min(width, width + right) - _FRAME
    if bottom <= top or far <= left:
        return None
    a = before[top - down : bottom - down, left - right : far - right]
    b = now[top:bottom, left:far]
    either = int((a | b).sum())
    return float((a & b).sum() / either) if either >= _FEWEST else None


def driven(chances: Mapping[str, float]) -> dict[str, float]:
    """The probability of each name, now that the thing is known to travel by itself and to be rigid."""
    seen = {name: chance for name, chance in chances.items() if name in GROUPS["vehicle"]}
    looks, living = sum(seen.values()), sum(chance for name, chance in chances.items() if name in _LIVING)
    hidden = _OF_UNKNOWN * max(0.0, 1.0 - looks - living)
    vehicle = looks + hidden
    surer = _TELLS * vehicle / (1.0 + (_TELLS - 1.0) * vehicle)
    others = (1.0 - surer) / max(1.0 - looks, 1e-6)
    result = {name: chance * others for name, chance in chances.items() if name not in seen}
    for name in {*seen, *_USUAL}:
        result[name] = surer * (seen.get(name, 0.0) + hidden * _USUAL.get(name, 0.0)) / max(vehicle, 1e-6)
    return result


def is_rigid(shares: list[float], full: list[float], area: float) -> bool:
    """From the shares in common, the shares of their boxes that outlines fill, and the mean area as a share."""
    enough = len(shares) >= LOOKS and area >= LEAST
    return enough and float(np.percentile(shares, 25)) >= KEPT and float(np.mean(full)) >= FULL
