"""What is said in a video, put between its pictures, as MiniGPT4-video reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_TIME = re.compile(r"(?:(\d+):)?(\d{2}):(\d{2}\.\d{3})")


@dataclass(frozen=True)
class Cue:
    """A line of speech: milliseconds from the start, both ends included, and its text as written."""

    start: int
    end: int
    text: str

    @property
    def line(self) -> str:
        return self.text.replace("\n", " ")


def parse_vtt(document: str) -> list[Cue]:
    """The cues of a WebVTT document; headers, notes and settings are skipped."""
    cues = []
    for block in re.split(r"\n{2,}", document.replace("\r\n", "\n")):
        heading, arrow, rest = block.partition(" --> ")
        if arrow:
            until, _, text = rest.partition("\n")
            cues.append(Cue(milliseconds(heading.rpartition("\n")[2]), milliseconds(until.split()[0]), text))
    return cues


def milliseconds(time: str) -> int:
    """ "01:02:03.004" or "02:03.004" to 3723004; in floating point and cut, as the authors do, so some are one less."""
    match = _TIME.fullmatch(time.strip())
    if match is None:
        raise ValueError(f"{time!r} is not a time in a WebVTT document")
    hours, minutes, seconds = match.groups()
    return int((int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)


def timestamp(seconds: float) -> str:
    """Seconds, to the microsecond, as WebVTT writes them; what is less than a millisecond is dropped."""
    whole = round(seconds * 1_000_000) // 1000
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"


class Buffer:
    """Speech heard since the last picture that some was printed behind."""

    def __init__(self) -> None:
        self.text = ""
        self.printed = ""
        self.told: set[str] = set()


Listen = Callable[[Buffer, Sequence[Cue], int, float], None]
"""Add to the buffer what is heard at frame number `frame` of a video at `fps`."""


def listen_once(buffer: Buffer, cues: Sequence[Cue], frame: int, fps: float) -> None:
    """The interactive script: each line once in a video; of lines at the same time the one a bisection meets."""
    time, low, high = frame / fps * 1000, 0, len(cues) - 1
    while low <= high:
        middle = (low + high) // 2
        cue = cues[middle]
        if cue.start <= time <= cue.end:
            line = cue.line.strip()
            if line not in buffer.told:
                buffer.text += line + " "
                buffer.told.add(line)
            return
        low, high = (low, middle - 1) if time < cue.start else (middle + 1, high)


def listen_by_seconds(buffer: Buffer, cues: Sequence[Cue], frame: int, fps: float) -> None:
    """The benchmark script: times of cues lose their milliseconds, and the frame rate what follows its point."""
    for cue in cues:
        if _sounds(cue, frame, fps) and cue.line not in buffer.text:
            if cue.line not in buffer.told:
                buffer.text += cue.line + " "
                buffer.told.add(cue.line)
            return


def listen_word_by_word(buffer: Buffer, cues: Sequence[Cue], frame: int, fps: float) -> None:
    """Training: of each new line that sounds, the words that do not occur in what is buffered or was printed last."""
    for cue in cues:
        if _sounds(cue, frame, fps) and cue.line not in buffer.told:
            buffer.told.add(cue.line)
            for word in cue.line.split(" "):
                if word not in buffer.text and word not in buffer.printed:
                    buffer.text += word + " "


def _sounds(cue: Cue, frame: int, fps: float) -> bool:
    return cue.start // 1000 <= frame / int(fps) <= cue.end // 1000


def captions(cues: Sequence[Cue], frames: Sequence[int], fps: float, listen: Listen, *, words: int) -> list[str]:
    """What is printed behind each of the pictures taken at `frames` (ascending), empty where nothing.

    Once `words` are printed no more is; a word is what stands between blanks, be it nothing.
    """
    buffer, printed, at = Buffer(), 0, 0
    behind = []
    for frame in frames:
        while at <= frame:
            listen(buffer, cues, at, fps)
            at += 1
        caption = buffer.text if printed < words else ""
        if caption:
            printed += len(caption.split(" "))
            buffer.printed, buffer.text = caption, ""
        behind.append(caption)
    return behind
