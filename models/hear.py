"""The stage that turns sounds into features of what was said, and of what a file's subtitles say, which need nobody to
listen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingest.bus import FEATURES, SOUNDS
from ingest.records import Ended, Heard, Record, Sound, StreamId, Utterance
from models.protocols import FrameEncoder, Transcriber


class HearStage:
    """Sounds to utterances to features of origin "sound"; then how far was listened, then `Ended` passed through."""

    name = "hear"
    consumes: tuple[str, ...] = (SOUNDS,)
    produces: str | None = FEATURES

    def __init__(self, transcriber: Transcriber | None, encoder: FrameEncoder) -> None:
        self._transcriber = transcriber
        self._encoder = encoder

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        sounds = [record for record in batch if isinstance(record, Sound)]
        utterances = _in_order(sounds, self._spoken([sound for sound in sounds if len(sound.samples)]))
        features = self._encoder.encode_utterances(utterances) if utterances else []
        return [*features, *_heard(sounds), *(record for record in batch if isinstance(record, Ended))]

    def _spoken(self, sounds: Sequence[Sound]) -> Sequence[Utterance]:
        """What is said, but for what is said in a language that nobody here understands."""
        if self._transcriber is None or not sounds:
            return []
        known = self._transcriber.languages
        understood = [sound for sound in sounds if not sound.language or sound.language in known]
        return self._transcriber.transcribe(understood)


def _in_order(sounds: Sequence[Sound], spoken: Sequence[Utterance]) -> list[Utterance]:
    """What was said and what the subtitles say, in each stream's order of time and no two at the same."""
    found: list[Utterance] = []
    written = [caption for sound in sounds for caption in sound.captions]
    if not written:
        return list(spoken)
    last: dict[tuple[StreamId, int], int] = {}
    for one in sorted([*spoken, *written], key=lambda one: (one.stream, one.epoch, one.pts)):
        line = (one.stream, one.epoch)
        pts = max(one.pts, last.get(line, one.pts - 1) + 1)
        last[line] = pts
        found.append(one if pts == one.pts else replace(one, pts=pts))
    return found


def _heard(sounds: Sequence[Sound]) -> list[Heard]:
    """How far each stream was listened to."""
    last: dict[StreamId, Sound] = {sound.stream: sound for sound in sounds}
    return [Heard(stream, sound.last.epoch, sound.last.pts, sound.last.moment) for stream, sound in last.items()]
