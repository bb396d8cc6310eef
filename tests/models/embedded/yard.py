"""Rendered scenes whose truth is known by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ingest.records import Feature, Frame, Moment, Observation, Pixels, Span, StreamId
from models.embedded.encoder import EmbeddedEncoder

STREAM = StreamId("yard")
ORIGIN = 1_700_000_000_000_000
COLOURS = {
    "red": (190, 30, 35), "orange": (240, 130, 20), "yellow": (235, 215, 40), "green": (40, 140, 60),
    "blue": (40, 70, 190), "purple": (120, 50, 160), "pink": (240, 140, 170), "brown": (110, 70, 35),
    "white": (240, 240, 238), "black": (18, 18, 20),
}  # fmt: skip


@dataclass(frozen=True)
class Mover:
    """A rectangle that is at `begin` (x, y of its centre, in fractions) at `start` and at `end` at `stop` seconds.

    It is only drawn between the two.
    """

    colour: str
    start: float
    stop: float
    begin: tuple[float, float]
    end: tuple[float, float]
    size: tuple[float, float] = (0.16, 0.2)

    def draw(self, pixels: Pixels, t: float) -> None:
        if not self.start <= t < self.stop:
            return
        part = (t - self.start) / (self.stop - self.start)
        height, width = pixels.shape[:2]
        x, y = (a + (b - a) * part for a, b in zip(self.begin, self.end, strict=True))
        left, right = ((x + side * self.size[0] / 2) * width for side in (-1, 1))
        top, bottom = ((y + side * self.size[1] / 2) * height for side in (-1, 1))
        box = (slice(max(0, round(top)), max(0, round(bottom))), slice(max(0, round(left)), max(0, round(right))))
        pixels[box] = COLOURS[self.colour]


class Scene:
    """A textured yard, slightly noisy, with movers in it."""

    def __init__(self, movers: Sequence[Mover], *, seed: int = 1, size: tuple[int, int] = (180, 320)) -> None:
        self._movers = movers
        noise = np.random.default_rng(seed)
        self._grain = noise.normal(0, 2.5, (5, *size, 3)).astype(np.float32)
        self._drawn = 0
        ground = np.full((*size, 3), (128, 124, 118), np.float32)
        tiles = np.kron(noise.normal(0, 14, (size[0] // 20, size[1] // 20)), np.ones((20, 20)))
        self.ground = ground + tiles[..., None]

    def at(self, t: float, light: float = 1.0) -> Pixels:
        pixels = np.clip(self.ground, 0, 255).astype(np.uint8)
        for mover in self._movers:
            mover.draw(pixels, t)
        self._drawn += 1
        return np.clip(pixels * np.float32(light) + self._grain[self._drawn % 5], 0, 255).astype(np.uint8)

    def frames(self, times: Sequence[float], light: Callable[[float], float] = lambda _: 1.0) -> list[Frame]:
        return [frame(self.at(t, light(t)), t) for t in times]

    def film(self, path: Path, seconds: int, rate: int) -> Path:
        """Write `seconds` of it to `path`, with all of its colours."""
        import av

        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
            stream.height, stream.width = self.ground.shape[:2]
            stream.pix_fmt = "yuv444p"
            stream.codec_context.time_base = Fraction(1, rate)
            for number in range(seconds * rate):
                picture = av.VideoFrame.from_ndarray(self.at(number / rate), format="rgb24")
                picture.pts = number
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path


@dataclass(frozen=True)
class Watched:
    """What an encoder made of a scene."""

    encoder: EmbeddedEncoder
    features: list[Feature]

    def observations(self, kind: str, label: str = "") -> list[Observation]:
        """The last state of each observation, in order of time."""
        latest = {one.key: one for feature in self.features for one in feature.observations}
        kept = [one for one in latest.values() if one.label]  # the others were withdrawn
        chosen = [one for one in kept if one.kind == kind and label in ("", one.label)]
        return sorted(chosen, key=lambda one: one.span)

    def chances(self, sentence: str) -> np.ndarray:
        """Calibrated probability of `sentence` in every frame, float32 [N]."""
        (query,) = self.encoder.encode_queries([sentence])
        return query.probability(np.stack([one.vector for one in self.features]) @ query.vector)

    def spans(self, sentence: str, threshold: float = 0.6) -> list[tuple[float, float]]:
        """Seconds in which `sentence` is found."""
        found: list[list[float]] = []
        for feature, chance in zip(self.features, self.chances(sentence), strict=True):
            start, end = seconds(feature.span)
            if chance < threshold:
                continue
            if found and start <= found[-1][1] + 0.6:
                found[-1][1] = end
            else:
                found.append([start, end])
        return [(start, end) for start, end in found]


def frame(pixels: Pixels, t: float, stream: StreamId = STREAM) -> Frame:
    at = round(t * 1_000_000)
    return Frame(stream, 0, at, Moment(ORIGIN + at), pixels)


def seconds(span: Span) -> tuple[float, float]:
    return (span.start - ORIGIN) / 1e6, (span.end - ORIGIN) / 1e6


def every(step: float, until: float) -> list[float]:
    return [round(index * step, 6) for index in range(int(until / step))]


def watch(frames: Sequence[Frame]) -> Watched:
    encoder = EmbeddedEncoder()
    return Watched(encoder, encoder.encode(frames))
