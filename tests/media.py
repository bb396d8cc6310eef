"""Small clips made on the spot with PyAV's own encoders: nothing of anyone else's is in the repository.

A white square wanders over a dark ground; its place, and a bar code of the picture's number in the top row of blocks,
say which picture it is, so a test can tell what it was given without trusting a timestamp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BITS = 12
"""Blocks of the bar code, least significant first, over the picture's whole width."""


@dataclass(frozen=True)
class Clip:
    """What to make. `still_from`..`still_to` (seconds): the square stands still. `cuts`: the ground changes."""

    seconds: float = 10.0
    fps: int = 25
    width: int = 320
    height: int = 180
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    gop: int = 50
    b_frames: int = 2
    sound: str = "aac"
    moving: bool = True
    cuts: tuple[float, ...] = ()
    container: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    encoder: tuple[tuple[str, str], ...] = ()
    """Options of the video's encoder, besides."""
    start_s: float = 0.0
    moves: tuple[float, float] | None = None
    """Seconds between which alone the square moves."""
    numbered: bool = True
    pixel: Fraction = Fraction(1)
    """The width of a pixel over its height."""
    rotation: int = 0
    """Degrees that a player has to turn the picture, counter-clockwise, as of a phone that was held upright."""


def picture(number: int, clip: Clip) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]."""
    grounds = (40, 110, 75, 140)
    cut = sum(number / clip.fps >= moment for moment in clip.cuts)
    rgb = np.full((clip.height, clip.width, 3), grounds[cut % len(grounds)], np.uint8)
    block = clip.width // BITS
    if clip.moves is not None:
        first, last = (round(moment * clip.fps) for moment in clip.moves)
        number = min(max(number, first), last)
    for bit in range(BITS if clip.numbered else 0):
        rgb[: clip.height // 8, bit * block : (bit + 1) * block] = 220 if number >> bit & 1 else 20
    side = clip.height // 5
    left = (number * 4) % (clip.width - side) if clip.moving else clip.width // 2
    rgb[clip.height // 2 : clip.height // 2 + side, left : left + side] = 255
    return rgb


def number_in(rgb: NDArray[np.uint8]) -> int:
    """The number that `picture` wrote, read back from pixels of any size."""
    height, width = rgb.shape[:2]
    middles = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    row = rgb[height // 24 : height // 12].mean(axis=(0, 2))
    return sum(1 << bit for bit, middle in enumerate(middles) if row[middle] > 120)


def tone(start: int, count: int, rate: int) -> NDArray[np.float32]:
    """440 Hz with a pause of 0.3 s at the end of every 3 s; float32 [1, count]."""
    at = (np.arange(start, start + count)) / rate
    loud = (at % 3.0) < 2.7
    return (0.3 * np.sin(2 * np.pi * 440 * at) * loud).astype(np.float32)[None]


def make(path: Path, clip: Clip | None = None, change: Callable[[Any], None] | None = None) -> Path:
    """Write `clip` to `path`; `change` may tamper with each packet before it is written."""
    clip = clip or Clip()
    with av.open(str(path), "w", format=clip.container, options=dict(clip.options)) as container:
        video = container.add_stream(clip.codec, rate=clip.fps)
        video.width, video.height, video.pix_fmt = clip.width, clip.height, clip.pixel_format
        video.codec_context.gop_size = clip.gop
        video.codec_context.sample_aspect_ratio = clip.pixel
        if clip.codec == "libx264":
            video.options = {"preset": "ultrafast", "bf": str(clip.b_frames), "sc_threshold": "0"}
        video.options = {**video.options, **dict(clip.encoder)}
        if clip.rotation:
            video.set_display_rotation(clip.rotation)
        audio = container.add_stream(clip.sound, rate=16_000, layout="mono") if clip.sound else None
        for packet in _packets(clip, video, audio):
            if change is not None:
                change(packet)
            container.mux(packet)
    return path


def _packets(clip: Clip, video: Any, audio: Any) -> Iterable[Any]:
    step = 16_000 // clip.fps
    for number in range(round(clip.seconds * clip.fps)):
        frame = av.VideoFrame.from_ndarray(picture(number, clip), "rgb24")
        frame.pts, frame.time_base = number + round(clip.start_s * clip.fps), Fraction(1, clip.fps)
        yield from video.encode(frame)
        if audio is not None:
            sound = av.AudioFrame.from_ndarray(tone(number * step, step, 16_000), "fltp", "mono")
            sound.sample_rate = 16_000
            sound.pts, sound.time_base = (number + round(clip.start_s * clip.fps)) * step, Fraction(1, 16_000)
            yield from audio.encode(sound)
    yield from video.encode(None)
    if audio is not None:
        yield from audio.encode(None)


def make_sound(path: Path, seconds: float = 12.0, codec: str = "flac") -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=16_000, layout="mono")
        for start in range(0, round(seconds * 16_000), 1600):
            samples = (tone(start, 1600, 16_000) * 32_000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            for packet in track.encode(frame):
                container.mux(packet)
        for packet in track.encode(None):
            container.mux(packet)
    return path


def numbers_of(path: Path) -> list[int]:
    """The pictures of a file by their own numbers, as plain PyAV decodes them: the oracle."""
    with av.open(str(path)) as container:
        return [number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
