"""Words in the picture: read only when something like text appeared or changed, remembered while it stays."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ingest.records import MICROSECONDS, Box, Moment, Pixels
from models.embedded.pictures import Grey, Plane, grey, shrink

_SUREST_NOISE = 0.8
"""Lines the recogniser is less sure of are noise more often than text."""
_SHORTEST_PAUSE_US = 700_000
_LONGEST_PAUSE_US = 6 * MICROSECONDS
_SAME_LINE = 0.75
_SAME_PATCH = 0.75
_GONE_US = 4 * MICROSECONDS
_MOST_LINES = 40
_MOST_NEWS = 5
"""Readings in a row that each bring something new; from then on text that runs by is read as seldom as what stays."""
_AGAIN_US = 30 * MICROSECONDS
"""A clock that runs is read again so often, to be able to say what it ran to."""
_RUNNING = re.compile(r"\d\D?\d.*\d")
"""At least three digits, two of them together: 9:41, 2026-11-25, 105 km/h; not Gate 12."""
_SAME_PLACE = 0.4


@dataclass(frozen=True)
class Line:
    """A line of text as recognised: `box` in fractions of the picture, `score` in 0..1."""

    text: str
    score: float
    box: Box


class LineReader(Protocol):
    """Finds and reads lines of text."""

    def read(self, pixels: Pixels) -> list[Line]:
        """Lines in a picture RGB uint8 [H, W, 3], from top to bottom."""


class RapidReader:
    """PP-OCR through RapidOCR, whose wheel carries its models. Loaded at the first picture."""

    def __init__(self) -> None:
        self._engine: object | None = None

    def read(self, pixels: Pixels) -> list[Line]:
        if self._engine is None:
            self._engine = _load()
        assert callable(self._engine)
        found = self._engine(np.ascontiguousarray(pixels[..., ::-1]))
        if found.txts is None:
            return []
        height, width = pixels.shape[:2]
        lines = []
        for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            box = Box(float(left / width), float(top / height), float(right / width), float(bottom / height))
            if float(score) >= _SUREST_NOISE and sum(letter.isalnum() for letter in text) >= 2:
                lines.append(Line(" ".join(str(text).split()), float(score), box))
        return _rows(lines)


def _rows(pieces: Sequence[Line]) -> list[Line]:
    """Pieces beside one another on a row are one line, from left to right; lines go from top to bottom."""
    rows: list[Line] = []
    for piece in sorted(pieces, key=lambda one: one.box.left):
        for index, row in enumerate(rows):
            height = min(row.box.bottom - row.box.top, piece.box.bottom - piece.box.top)
            level = min(row.box.bottom, piece.box.bottom) - max(row.box.top, piece.box.top)
            if level > 0.5 * height and -0.5 * height < piece.box.left - row.box.right < height:
                rows[index] = Line(f"{row.text} {piece.text}", min(row.score, piece.score), _around(row.box, piece.box))
                break
        else:
            rows.append(piece)
    return sorted(rows, key=lambda one: (one.box.top, one.box.left))


def _around(a: Box, b: Box) -> Box:
    return Box(min(a.left, b.left), min(a.top, b.top), max(a.right, b.right), max(a.bottom, b.bottom))


def _load() -> object:
    from rapidocr import RapidOCR

    one_thread = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Det.limit_type": "max",
            "Det.limit_side_len": 640,
            **one_thread,
        }
    )


@dataclass(eq=False)
class Shown:
    """A line of text while it is shown. `began` is what a running clock or counter said first; empty for others."""

    id: str
    line: Line
    first: Moment
    last: Moment
    patch: Grey = field(repr=False)
    began: str = ""

    @property
    def text(self) -> str:
        """What it says, or what it ran from and to."""
        return f"{self.began} … {self.line.text}" if self.began else self.line.text

    def still_there(self, patch: Grey) -> bool:
        """Whether its place in the next picture, as `patch`, still shows it; of a clock, whether it shows anything."""
        if self.began:
            return float(patch.std()) > 0.5 * float(self.patch.std())
        return _same_patch(self.patch, patch)

    def take(self, line: Line) -> None:
        """Read again: what runs says what it says now, what stays what was read best."""
        if _runs(self.line, line):
            self.began = self.began or self.line.text
        if self.began or line.score > self.line.score:
            self.line = line


class TextFollower:
    """The text of one stream: what is shown now, since when. Bounded; depends on stream time only."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._shown: list[Shown] = []
        self._gone: list[Shown] = []
        self._layout: Plane | None = None
        self._read_at: Moment | None = None
        self._pause_us = _SHORTEST_PAUSE_US
        self._count = self._news = 0

    def follow(self, pixels: Pixels, moment: Moment, birth: str, *, fresh: bool) -> tuple[Shown, ...]:
        """The lines shown in the next frame of the stream."""
        plane = grey(pixels)
        layout = _text_layout(plane)
        steady = [shown for shown in self._shown if shown.still_there(_patch(plane, shown.line.box))]
        for shown in steady:
            shown.last = moment
        lost = len(steady) < len(self._shown)
        if self._should_read(layout, moment, lost, fresh):
            steady = self._read(pixels, plane, layout, moment, birth)
        return tuple(steady)

    def _should_read(self, layout: Plane, moment: Moment, lost: bool, fresh: bool) -> bool:
        if self._read_at is None or self._layout is None:
            return bool(layout.any())
        if fresh:
            self._pause_us = _SHORTEST_PAUSE_US
        stale = any(shown.began for shown in self._shown) and moment - self._read_at >= _AGAIN_US
        changed = fresh or lost or stale or float(np.abs(layout - self._layout).max()) > 0.3
        soon = lost and self._news <= _MOST_NEWS
        waited = moment - self._read_at >= (_SHORTEST_PAUSE_US if soon else self._pause_us)
        return changed and waited and (lost or bool(layout.any()))

    def _read(self, pixels: Pixels, plane: Grey, layout: Plane, moment: Moment, birth: str) -> list[Shown]:
        lines = self._reader.read(pixels)[:_MOST_LINES]
        self._read_at, self._layout = moment, layout
        recent = [shown for shown in (*self._shown, *self._gone) if moment - shown.last <= _GONE_US]
        now, news = [], False
        for line in lines:
            known = next((shown for shown in recent if shown not in now and _same_thing(shown.line, line)), None)
            if known is None:
                self._count += 1
                known = Shown(f"{birth}-t{self._count}", line, moment, moment, _patch(plane, line.box))
                news = True
            known.take(line)
            known.last, known.patch = moment, _patch(plane, known.line.box)
            now.append(known)
        self._shown, self._gone = now, [shown for shown in recent if shown not in now][:_MOST_LINES]
        self._news = self._news + 1 if news else 0
        fresh = 0 < self._news <= _MOST_NEWS
        self._pause_us = _SHORTEST_PAUSE_US if fresh else min(2 * self._pause_us, _LONGEST_PAUSE_US)
        return now


def words_of(lines: Sequence[Line]) -> dict[str, float]:
    """The words of `lines`, and how surely each was read."""
    found: dict[str, float] = {}
    for line in lines:
        for word in re.findall(r"[^\W_]+(?:'[^\W_]+)?", line.text.lower()):
            found[word] = max(found.get(word, 0.0), line.score)
    return found


def _text_layout(plane: Grey) -> Plane:
    """Where the picture has the structure of text: share of each tile, float32 [9, 16].

    Letters make dense rows of steep edges that join into wide, flat, well filled regions.
    """
    import cv2

    small = shrink(plane, 320, 180)
    edges = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    steep = (edges > max(40.0, float(edges.mean()) + 1.5 * float(edges.std()))).astype(np.uint8)
    rows = cv2.morphologyEx(steep, cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))
    rows = cv2.morphologyEx(rows, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rows, connectivity=8)
    width, height, area = stats[:, 2], stats[:, 3], stats[:, 4]
    texty = (width >= 1.5 * height) & (width >= 12) & (height >= 4) & (height <= 60) & (area > 0.45 * width * height)
    texty[0] = False
    mask = texty[labels].astype(np.float32) if count > 1 else np.zeros((180, 320), dtype=np.float32)
    tiles: Plane = mask.reshape(9, 20, 16, 20).mean(axis=(1, 3))
    return tiles


def _patch(plane: Grey, box: Box) -> Grey:
    height, width = plane.shape
    top, left = int(max(box.top, 0) * height), int(max(box.left, 0) * width)
    bottom, right = max(top + 1, int(box.bottom * height)), max(left + 1, int(box.right * width))
    crop = plane[min(top, height - 1) : bottom, min(left, width - 1) : right]
    return shrink(crop, 48, 12)


def _same_patch(a: Grey, b: Grey) -> bool:
    x, y = a.astype(np.float32) - a.mean(), b.astype(np.float32) - b.mean()
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return spread > 1.0 and float((x * y).sum()) / spread > _SAME_PATCH


def _same_line(a: Line, b: Line) -> bool:
    return difflib.SequenceMatcher(None, a.text.lower(), b.text.lower()).ratio() >= _SAME_LINE


def _same_thing(a: Line, b: Line) -> bool:
    return _same_line(a, b) or _runs(a, b)


def _runs(a: Line, b: Line) -> bool:
    """Whether `b` is what `a` says a little later: the same but for its digits, in the same place."""
    if a.text == b.text or not (_RUNNING.search(a.text) and _RUNNING.search(b.text)):
        return False
    alike = difflib.SequenceMatcher(None, _masked(a.text), _masked(b.text)).ratio() >= _SAME_LINE
    return alike and _digits(a.text) != _digits(b.text) and _overlap(a.box, b.box) > _SAME_PLACE


def _masked(text: str) -> str:
    return re.sub(r"\d", "0", text.lower())


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(0.0, width) * max(0.0, height)
    both = (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - shared
    return shared / both if both > 0 else 0.0
