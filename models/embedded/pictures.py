"""Plain operations on pictures, typed: what cv2's stubs leave open is settled here."""

from __future__ import annotations

from typing import TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ingest.records import Pixels

Mask: TypeAlias = NDArray[np.bool_]
"""bool [H, W]."""
Image: TypeAlias = NDArray[np.float32]
"""RGB as float32 [H, W, 3] in 0..255."""
Plane: TypeAlias = NDArray[np.float32]
"""One channel, float32 [H, W]."""
Grey: TypeAlias = NDArray[np.uint8]
"""One channel, uint8 [H, W]."""
_Array = TypeVar("_Array", Pixels, Plane)


def shrink(picture: _Array, width: int, height: int) -> _Array:
    """`picture` at another size, by averaging areas."""
    import cv2

    return cast(_Array, cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def grey(pixels: Pixels) -> Grey:
    import cv2

    return cast(Grey, cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))


def brightness(image: Image) -> Plane:
    """Mean of the channels; many times faster than a reduction over the last axis."""
    mean: Plane = (image[..., 0] + image[..., 1] + image[..., 2]) * np.float32(1 / 3)
    return mean


def strongest(image: Image) -> Plane:
    """Largest of the channels."""
    largest: Plane = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])
    return largest


def jpeg(pixels: Pixels, longest_side: int, quality: int = 80) -> bytes:
    """`pixels` as a JPEG with its longer side at most `longest_side`."""
    import cv2

    scale = min(1.0, longest_side / max(pixels.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    small = shrink(np.ascontiguousarray(pixels), width, height) if scale < 1 else np.ascontiguousarray(pixels)
    written, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written
    return data.tobytes()
