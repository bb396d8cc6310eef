"""Sprite sheets: one JPEG of many small pictures of a stretch, and a WebVTT track that says which shows when."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from api.footage import Footage, no_recording
from api.times import offset_label
from ingest.errors import Invalid, NotFound
from ingest.questions import Picture
from ingest.records import MICROSECONDS, Moment, Span
from memory.store import Store, StreamRow

WIDTH: Final = 160
HEIGHT: Final = 90
MOST: Final = 100
_NEAR_US: Final = 5 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Sheet:
    """`count` pictures of equal stretches of `span`, row by row in `columns`."""

    span: Span
    count: int
    columns: int

    def part(self, number: int) -> Span:
        """What picture `number` stands for."""
        edges = [self.span.start + self.span.duration * at // self.count for at in (number, number + 1)]
        return Span(Moment(edges[0]), Moment(edges[1]))

    def place(self, number: int) -> tuple[int, int]:
        """Left and top in pixels."""
        return number % self.columns * WIDTH, number // self.columns * HEIGHT


class Sprites:
    """Made of remembered pictures, which outlive footage."""

    def __init__(self, store: Store, footage: Footage) -> None:
        self._store, self._footage = store, footage

    def sheet(self, row: StreamRow, span: Span, count: int, columns: int) -> Sheet:
        """Raises `Invalid` for an empty stretch and `NotFound` where nothing was watched."""
        if span.duration < count:
            raise Invalid("The stretch would be empty.", advice="Give an end after the start.")
        if not self._store.timeline.coverage(row.id, span):
            raise no_recording(row)
        return Sheet(span, count, min(columns, count))

    def jpeg(self, row: StreamRow, sheet: Sheet) -> bytes:
        """The sheet; black where nothing is remembered. Raises `NotFound` where that is everywhere."""
        from PIL import Image

        rows = -(-sheet.count // sheet.columns)
        canvas = Image.new("RGB", (sheet.columns * WIDTH, rows * HEIGHT))
        found = {number: picture for number in range(sheet.count) if (picture := self._picture(row, sheet, number))}
        if not found:
            raise NotFound(f"No picture of {row.name} is kept of then.", advice="Ask for a longer stretch.")
        for number, picture in found.items():
            with Image.open(io.BytesIO(picture.jpeg)) as small:
                small.thumbnail((WIDTH, HEIGHT))
                left, top = sheet.place(number)
                canvas.paste(small, (left + (WIDTH - small.width) // 2, top + (HEIGHT - small.height) // 2))
        held = io.BytesIO()
        canvas.save(held, "JPEG", quality=75)
        return held.getvalue()

    def _picture(self, row: StreamRow, sheet: Sheet, number: int) -> Picture | None:
        """The picture nearest to the middle of its stretch; none from far away or of a time not seen."""
        part = sheet.part(number)
        if not self._store.timeline.coverage(row.id, part):
            return None
        middle = Moment((part.start + part.end) // 2)
        try:
            picture = self._footage.thumbnail(row, middle)
        except NotFound:
            return None
        near = max(part.duration // 2, _NEAR_US)
        return picture if abs(picture.moment - middle) <= near else None


def track(sheet: Sheet, url: str) -> str:
    """WebVTT whose cues are places in the sheet at `url`; times count from the beginning of its span."""
    cues = ["WEBVTT"]
    for number in range(sheet.count):
        part, (left, top) = sheet.part(number), sheet.place(number)
        start, end = (_stamp(edge - sheet.span.start) for edge in (part.start, part.end))
        cues.append(f"{start} --> {end}\n{url}#xywh={left},{top},{WIDTH},{HEIGHT}")
    return "\n\n".join(cues) + "\n"


def _stamp(offset_us: int) -> str:
    thousandths = offset_us // 1000
    return f"{offset_label(thousandths // 1000 * MICROSECONDS)}.{thousandths % 1000:03}"
