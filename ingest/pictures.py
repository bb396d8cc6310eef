"""libav's pictures -> arrays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from ingest.records import Pixels
from ingest.sampling import Grey, shrink

if TYPE_CHECKING:
    from av import VideoFrame

_LUMA_FIRST: Final = ("yuv4", "yuvj", "nv12", "nv21", "gray")
_TURNS: Final = {90: 1, 180: 2, 270: 3, -90: 3, -180: 2, -270: 1}


def grey(frame: VideoFrame) -> Grey:
    """The picture's small grey version, read sparsely from its luma plane where it has one of 8 bits."""
    name = frame.format.name
    if not name.startswith(_LUMA_FIRST) or frame.format.components[0].bits != 8 or name.startswith("yuyv"):
        return shrink(frame.reformat(format="gray").to_ndarray())
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return shrink(luma)


def pixels(frame: VideoFrame, max_side: int) -> Pixels:
    """RGB uint8 [H, W, 3], upright, its longer side at most `max_side`."""
    scale = min(1.0, max_side / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    picture: Pixels = _scaled(frame, width, height).to_ndarray()
    turns = turns_of(frame)
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def turns_of(frame: VideoFrame) -> int:
    """By how many right angles, counter-clockwise, the picture has to be turned to be upright, as its file says."""
    return _TURNS.get(round(getattr(frame, "rotation", 0)), 0)


def upright(frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """The picture as yuv420p of that size, turned as its file says."""
    turns = turns_of(frame)
    if not turns:
        return frame.reformat(width, height, "yuv420p")
    lying = (height, width) if turns % 2 else (width, height)
    planes = np.rot90(frame.reformat(*lying, "yuv444p").to_ndarray(), turns, axes=(1, 2))
    return type(frame).from_ndarray(np.ascontiguousarray(planes), "yuv444p").reformat(format="yuv420p")


def _scaled(frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """RGB of that size. Made smaller before it is coloured where libav does both quickly: twice as fast as at once."""
    if frame.format.name == "yuv420p" and width % 2 == 0 and (width, height) != (frame.width, frame.height):
        frame = frame.reformat(width, height, "yuv422p", interpolation="AREA", threads=1)
    return frame.reformat(width, height, "rgb24", interpolation="AREA", threads=1)


def jpeg(frame: VideoFrame, max_side: int) -> bytes:
    """A JPEG of the picture, upright."""
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(pixels(frame, max_side)).save(held, "JPEG", quality=85)
    return held.getvalue()


def even(side: int) -> int:
    """The nearest even length that an encoder of subsampled colour takes."""
    return max(2, side // 2 * 2)
