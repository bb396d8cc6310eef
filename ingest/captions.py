"""Subtitle tracks of a file as timed text: SubRip, ASS, WebVTT, MOV text. Read as they are, marked as what they are."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.records import MICROSECONDS, Moment, Span, StreamId, Utterance

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.subtitles.stream import SubtitleStream

KINDS: Final = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")
_MOST_TRACKS: Final = 8
_MOST_WAITING: Final = 1000
_LONGEST: Final = 2000
"""Letters of one caption."""
_SHOWN: Final = 3 * MICROSECONDS
"""How long a caption is shown that does not say."""
_MARKUP: Final = re.compile(r"\{[^}]*\}|<[^>]*>")
_EVENT_FIELDS: Final = 8
"""Commas before the text of an ASS event as libav gives it."""


@dataclass(frozen=True, slots=True)
class Caption:
    start: int
    end: int
    text: str
    language: str


def tracks(container: InputContainer) -> list[SubtitleStream]:
    """The tracks of text; pictures of text (DVD, Blu-ray, DVB) are left out."""
    found = [track for track in container.streams.subtitles if track.codec_context is not None]
    return [track for track in found if track.codec_context.name in KINDS][:_MOST_TRACKS]


class Captions:
    """Captions that were read and wait for the sound that they go with."""

    def __init__(self) -> None:
        self._waiting: deque[Caption] = deque(maxlen=_MOST_WAITING)

    def add(self, packet: Packet, pts: int) -> None:
        """Take in what a packet says from `pts` (microseconds) on."""
        length = round(packet.duration * packet.time_base * MICROSECONDS) if packet.duration and packet.time_base else 0
        language = packet.stream.language or "und"
        for text in filter(None, (_plain(event) for event in _events(packet))):
            caption = Caption(pts, pts + (length or _SHOWN), text, language)
            if caption not in self._waiting:  # some files carry the same track twice
                self._waiting.append(caption)

    def take(self, stream: StreamId, epoch: int, offset: int, until: int | None = None) -> tuple[Utterance, ...]:
        """Those that begin before `until`, all if None, in order of time; `offset` is moment minus pts."""
        due = sorted((one for one in self._waiting if until is None or one.start < until), key=lambda one: one.start)
        for one in due:
            self._waiting.remove(one)
        return tuple(
            Utterance(
                stream, epoch, one.start, Span(Moment(one.start + offset), Moment(one.end + offset)), one.text, 1.0,
                language=one.language, kind="subtitle",
            )
            for one in due
        )  # fmt: skip


def _events(packet: Packet) -> list[str]:
    """The events of a packet as ASS dialogue lines: every text decoder of libav gives them so."""
    lines = (getattr(piece, "ass", b"") for piece in packet.decode())
    return [line.decode("utf-8", "replace") for line in lines if line]


def _plain(event: str) -> str:
    """The words alone: no fields, no markup, one line."""
    text = event.split(",", _EVENT_FIELDS)[-1] if event.count(",") >= _EVENT_FIELDS else event
    text = text.replace("\\N", " ").replace("\\n", " ").replace("\\h", " ")
    return " ".join(_MARKUP.sub("", text).split())[:_LONGEST]
