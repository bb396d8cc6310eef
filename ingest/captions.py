"""Subtitles of a file as timed text: its tracks (SubRip, ASS, WebVTT, MOV text) and the files beside it (.srt, .vtt).

They are read as they are and marked as what they are.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.languages import UNKNOWN, language
from ingest.records import MICROSECONDS, Moment, Span, StreamId, Utterance

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.subtitles.stream import SubtitleStream

KINDS: Final = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")
_FORMATS: Final = {".srt": "srt", ".vtt": "webvtt"}
_BESIDE: Final = re.compile(r"(?:\.(?P<language>[a-z]{2,3}(?:-[A-Za-z]{2,4})?))?(?:\.(?:forced|sdh|cc))?")
_MOST_NEIGHBOURS: Final = 10_000
LARGEST: Final = 8 << 20
"""Bytes of a subtitle file: hours of talk have a tenth of it."""
MOST_TRACKS: Final = 8
_TIMED: Final = re.compile(r"\d\d:\d\d[.,]\d{3}[ \t]*-->")
_MOST_WAITING: Final = 1000
_LONGEST: Final = 2000
"""Letters of one caption."""
_SHOWN: Final = 3 * MICROSECONDS
"""How long a caption is shown that does not say."""
_TAG: Final = r"</?[A-Za-z][^<>]*>"
_BREAK: Final = re.compile(r"\\[Nnh]|(?i:<br ?/?>)")
_WEBVTT_MARKUP: Final = re.compile(r"<[^>]*>?")
"""By the standard any bracket opens a tag: one that is meant is escaped."""
_SUBRIP_MARKUP: Final = re.compile(rf"{_TAG}|\{{(?:\\|[A-Za-z]:)[^{{}}]*\}}")
_ENTITY: Final = re.compile(r"&(?:#\w+|\w+);")
"""What has no semicolon is plain text, such as a link's `&copy=2`."""
_ASS_MARKUP: Final = re.compile(r"\\([{}])(?:\{\})?|\{[^}]*\}|(\{[^}]*)\Z")
"""libav escapes a brace of plain text as `\\{{}`. One that is opened within others opens nothing, nor one that is not
closed."""
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
    return [track for track in found if track.codec_context.name in KINDS][:MOST_TRACKS]


def language_of(path: Path, film: Path) -> str | None:
    """What a file called like `film` is written in: "de" of "film.de.srt", "und" of "film.srt", which does not say it.
    None for what are no subtitles of this film."""
    if path.suffix.lower() not in _FORMATS or not path.stem.startswith(film.stem):
        return None
    named = _BESIDE.fullmatch(path.stem.removeprefix(film.stem))
    return language(named["language"]) if named is not None else None


def neighbours(film: Path) -> list[Path]:
    """The subtitle files beside `film` ("film.srt", "film.de.vtt"), by name."""
    with suppress(OSError):
        names = sorted(path for path in film.parent.iterdir() if path.suffix.lower() in _FORMATS)
        return [path for path in names[:_MOST_NEIGHBOURS] if language_of(path, film) is not None]
    return []


def is_timed(data: bytes) -> bool:
    """Whether this reads like SubRip or WebVTT: there are times in it."""
    return _TIMED.search(_decoded(data)) is not None


def beside(film: Path, first: int) -> list[Caption]:
    """What the subtitle files beside `film` say, in order. Their times count from its beginning, which is `first`
    (microseconds) on the film's own clock."""
    found = [one for path in neighbours(film) for one in _written(path, language_of(path, film) or UNKNOWN)]
    shifted = {replace(one, start=one.start + first, end=one.end + first) for one in found}
    return sorted(shifted, key=lambda one: (one.start, one.end, one.text))


def _written(path: Path, language: str) -> Iterator[Caption]:
    """Of a broken file what can be read. A link is not followed: it may lead out of what may be read."""
    import av
    import av.error

    with suppress(OSError, av.error.FFmpegError, UnicodeDecodeError):
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            text = _decoded(file.read(LARGEST))
        with av.open(io.BytesIO(text.encode()), format=_FORMATS[path.suffix.lower()]) as container:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None and packet.size:
                    yield from _said(packet, round(packet.pts * packet.time_base * MICROSECONDS), language)


def _decoded(data: bytes) -> str:
    """Files of this kind do not say how they are written."""
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "cp1252"):
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return data.decode("utf-8", "replace")


class Captions:
    """Captions that were read and wait for the sound that they go with."""

    def __init__(self, beside: Sequence[Caption] = ()) -> None:
        """`beside`: what files beside the film say, in order."""
        self._waiting: deque[Caption] = deque(maxlen=_MOST_WAITING)
        self._beside = deque(beside)

    def add(self, packet: Packet, pts: int) -> None:
        """Take in what a packet says from `pts` (microseconds) on."""
        for caption in _said(packet, pts, language(packet.stream.language)):
            if caption not in self._waiting:  # some files carry the same track twice
                self._waiting.append(caption)

    def take(self, stream: StreamId, epoch: int, offset: int, until: int | None = None) -> tuple[Utterance, ...]:
        """Those that begin before `until`, all if None, in order of time; `offset` is moment minus pts."""
        due = [one for one in self._waiting if until is None or one.start < until]
        for one in due:
            self._waiting.remove(one)
        while self._beside and (until is None or self._beside[0].start < until):
            due.append(self._beside.popleft())
        due.sort(key=lambda one: one.start)
        return tuple(
            Utterance(
                stream, epoch, one.start, Span(Moment(one.start + offset), Moment(one.end + offset)), one.text, 1.0,
                language=one.language, kind="subtitle",
            )
            for one in due
        )  # fmt: skip


def _said(packet: Packet, pts: int, language: str) -> Iterator[Caption]:
    length = round(packet.duration * packet.time_base * MICROSECONDS) if packet.duration and packet.time_base else 0
    for text in filter(None, _lines(packet)):
        yield Caption(pts, pts + (length or _SHOWN), text, language)


def _lines(packet: Packet) -> Iterator[str]:
    """What players show of a packet: no fields, no markup, one line each."""
    match packet.stream.codec_context.name:
        case "webvtt":
            shown = [unescape(_WEBVTT_MARKUP.sub("", _written_in(packet)))]
        case "subrip" | "srt":  # has no entities by rights; Android reads those that are there, and so do we
            shown = [
                _ENTITY.sub(lambda one: unescape(one[0]), _SUBRIP_MARKUP.sub("", _BREAK.sub(" ", _written_in(packet))))
            ]
        case _:
            plain = (_ASS_MARKUP.sub(r"\1\2", _BREAK.sub(" ", event)) for event in _events(packet))
            shown = [re.sub(_TAG, "", text) for text in plain]
    return (" ".join(text.split())[:_LONGEST] for text in shown)


def _written_in(packet: Packet) -> str:
    """libav's own decoders of these two take for tags what is none."""
    return bytes(packet).decode("utf-8", "replace")


def _events(packet: Packet) -> Iterator[str]:
    """The text of ASS dialogue lines: all other decoders of libav give what they read so."""
    for line in (getattr(piece, "ass", b"").decode("utf-8", "replace") for piece in packet.decode()):
        yield line.split(",", _EVENT_FIELDS)[-1] if line.count(",") >= _EVENT_FIELDS else line
