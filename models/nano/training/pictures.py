"""The pictures to learn from: folders, tar archives and videos, with a tenth of them never learned from."""

from __future__ import annotations

import hashlib
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.errors import NotFound
from ingest.records import Pixels

log = logging.getLogger(__name__)

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
VIDEOS = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm"})
LONGEST = 448
"""Pictures are kept with their longer side at most this many pixels."""
TILE = 96
"""A picture no larger than this is a tile: an object without its surroundings."""
CLIP_STEP_S = 0.4
"""Seconds between the frames taken from a clip."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture. `name` decides the split; `held` is true for the tenth that is only measured on."""

    name: str
    folder: str
    pixels: Pixels
    origin: str
    """"picture", "tile" or "clip"."""

    @property
    def held(self) -> bool:
        return held_out(self.name)


def held_out(name: str) -> bool:
    """Whether the picture with this file name (without folders) belongs to the fixed tenth kept out of training."""
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16) % 10 == 0


def read(places: Sequence[Path], exclude: Sequence[str] = ()) -> Iterator[Example]:
    """Every picture in folders, tar archives, picture files and videos, in a fixed order.

    A file whose path contains a string of `exclude` is passed over; one that cannot be decoded is logged and passed
    over. Raises `NotFound` when a place does not exist.
    """
    for place in places:
        if not place.exists():
            raise NotFound(f"there are no pictures at {place}", advice="Check the path given to --pictures.")
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        for path in files:
            if any(word in str(path) for word in exclude):
                continue
            if path.suffix.lower() == ".tar":
                yield from _from_archive(path, exclude)
            elif path.suffix.lower() in VIDEOS:
                yield from _from_clip(path)
            elif path.suffix.lower() in PICTURES:
                yield from _decoded(path.name, path.parent.name, path.read_bytes())


def _from_archive(path: Path, exclude: Sequence[str]) -> Iterator[Example]:
    with tarfile.open(path) as archive:
        for member in archive:
            inside = Path(member.name)
            stream = archive.extractfile(member) if inside.suffix.lower() in PICTURES else None
            if stream is not None and not any(word in member.name for word in exclude):
                yield from _decoded(inside.name, inside.parent.name or path.stem, stream.read())


def _decoded(name: str, folder: str, data: bytes) -> Iterator[Example]:
    import cv2

    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        log.warning("not a readable picture: %s", name)
        return
    origin = "tile" if max(bgr.shape[:2]) <= TILE else "picture"
    yield Example(name, folder, shrink(np.ascontiguousarray(bgr[:, :, ::-1])), origin)


def _from_clip(path: Path) -> Iterator[Example]:
    for seconds, pixels in clip_frames(path, CLIP_STEP_S):
        yield Example(f"{path.name}@{seconds:.1f}", path.name, shrink(pixels), "clip")


def clip_frames(path: Path, step_s: float) -> Iterator[tuple[float, Pixels]]:
    """(seconds from the start, RGB picture) about every `step_s` seconds of a video file."""
    import av

    with av.open(str(path)) as container:
        due = 0.0
        for frame in container.decode(video=0):
            seconds = float(frame.time or 0.0)
            if seconds + 1e-6 >= due:
                due += step_s
                yield seconds, frame.to_ndarray(format="rgb24")


def shrink(pixels: Pixels, longest: int = LONGEST) -> Pixels:
    """The picture with its longer side at most `longest`."""
    import cv2

    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
