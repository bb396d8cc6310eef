"""libav's pictures -> arrays."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from ingest.records import Pixels
from ingest.sampling import HEIGHT, WIDTH, Grey, shrink

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_LUMA_FIRST: Final = ("yuv4", "yuvj", "nv12", "nv21", "gray")
_TURNS: Final = {90: 1, 180: 2, 270: 3, -90: 3, -180: 2, -270: 1}
SQUARE: Final = Fraction(1)
_WIDEST: Final = 4
"""Pixels that are said to be wider or higher than so many of their other side are taken for a camera's mistake."""
_ALIKE: Final = 0.02
"""Shapes that differ by less are one: sides are rounded."""


def grey(frame: VideoFrame) -> Grey:
    """The picture's small grey version, read sparsely from its luma plane where it has one of 8 bits."""
    name = frame.format.name
    if not name.startswith(_LUMA_FIRST) or frame.format.components[0].bits != 8 or name.startswith("yuyv"):
        return shrink(frame.reformat(format="gray").to_ndarray())
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return shrink(luma)


def tints(frame: VideoFrame) -> tuple[Grey, Grey]:
    """Of the picture's colours, blue and red less its brightness, the same."""
    _, blue, red = frame.reformat(WIDTH, HEIGHT, "yuv444p", interpolation="AREA").to_ndarray().astype(np.float32)
    return blue, red


def pixel_of(video: VideoStream) -> Fraction:
    """The width of a pixel over its height, as its file says or else its codec."""
    said = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    return Fraction(said) if said and Fraction(1, _WIDEST) <= said <= _WIDEST else SQUARE


class Scaler:
    """Pictures -> arrays. What libav prepares for their size and form it keeps from one to the next."""

    def __init__(self, max_side: int, pixel: Fraction = SQUARE) -> None:
        """`pixel`: the width of theirs over its height."""
        from av.video.reformatter import VideoReformatter

        self._max_side, self._pixel = max_side, pixel
        self._smaller, self._coloured = VideoReformatter(), VideoReformatter()

    def pixels(self, frame: VideoFrame) -> Pixels:
        """RGB uint8 [H, W, 3], upright and of square pixels, its longer side at most `max_side`."""
        wide, high = frame.width * max(self._pixel, SQUARE), frame.height / min(self._pixel, SQUARE)
        scale = min(SQUARE, Fraction(self._max_side) / max(wide, high))
        picture: Pixels = self._scaled(frame, max(2, round(wide * scale)), max(2, round(high * scale))).to_ndarray()
        turns = turns_of(frame)
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def _scaled(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """RGB of that size. Made smaller before it is coloured where libav does both quickly: twice as fast."""
        if frame.format.name == "yuv420p" and width % 2 == 0 and (width, height) != (frame.width, frame.height):
            frame = self._smaller.reformat(frame, width, height, "yuv422p", interpolation="AREA", threads=1)
        return self._coloured.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)


def turns_of(frame: VideoFrame) -> int:
    """By how many right angles, counter-clockwise, the picture has to be turned to be upright, as its file says."""
    return _TURNS.get(round(getattr(frame, "rotation", 0)), 0)


@dataclass(frozen=True, slots=True)
class Canvas:
    """What pictures of any shape are put on: its size in pixels of this shape, as yuv420p."""

    width: int
    height: int
    pixel: Fraction = SQUARE

    def put(self, frame: VideoFrame, pixel: Fraction) -> VideoFrame:
        """The picture, whose own pixels are of the shape `pixel`, upright; beside it is black."""
        turns = turns_of(frame)
        wide = frame.width * pixel / frame.height
        shape = (1 / wide if turns % 2 else wide) * self.height / (self.width * self.pixel)
        width, height = (
            (self.width, even(self.height / shape)) if shape > 1 else (even(self.width * shape), self.height)
        )
        if abs(shape - 1) < _ALIKE:
            width, height = self.width, self.height
        if turns:
            lying = (height, width) if turns % 2 else (width, height)
            planes = np.rot90(frame.reformat(*lying, "yuv444p").to_ndarray(), turns, axes=(1, 2))
            frame = type(frame).from_ndarray(np.ascontiguousarray(planes), "yuv444p")
        frame = frame.reformat(width, height, "yuv420p")
        return frame if (width, height) == (self.width, self.height) else self._amid_black(frame)

    def _amid_black(self, frame: VideoFrame) -> VideoFrame:
        whole = type(frame)(self.width, self.height, "yuv420p")
        for target, source, black in zip(whole.planes, frame.planes, (16, 128, 128), strict=True):
            rows = np.full((target.height, target.line_size), black, np.uint8)
            part = np.frombuffer(source, np.uint8).reshape(source.height, -1)[:, : source.width]
            top, left = (target.height - source.height) // 2, (target.width - source.width) // 2
            rows[top : top + source.height, left : left + source.width] = part
            target.update(rows)
        return whole


def jpeg(frame: VideoFrame, max_side: int, pixel: Fraction = SQUARE) -> bytes:
    """A JPEG of what `Scaler` makes of the picture."""
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(Scaler(max_side, pixel).pixels(frame)).save(held, "JPEG", quality=85)
    return held.getvalue()


def even(side: float) -> int:
    """The longest even length that is no longer: what an encoder of subsampled colour takes."""
    return max(2, int(side) // 2 * 2)
