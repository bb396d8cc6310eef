"""The stage that turns sounds into features of what was said."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.bus import FEATURES, SOUNDS
from ingest.records import Ended, Heard, Record, Sound, StreamId
from models.protocols import FrameEncoder, Transcriber


class HearStage:
    """Sounds to utterances to features of origin "sound"; then how far was listened, then `Ended` passed through."""

    name = "hear"
    consumes: tuple[str, ...] = (SOUNDS,)
    produces: str | None = FEATURES

    def __init__(self, transcriber: Transcriber, encoder: FrameEncoder) -> None:
        self._transcriber = transcriber
        self._encoder = encoder

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        sounds = [record for record in batch if isinstance(record, Sound)]
        utterances = self._transcriber.transcribe(sounds) if sounds else []
        features = self._encoder.encode_utterances(utterances) if utterances else []
        return [*features, *_heard(sounds), *(record for record in batch if isinstance(record, Ended))]


def _heard(sounds: Sequence[Sound]) -> list[Heard]:
    """How far each stream was listened to."""
    last: dict[StreamId, Sound] = {sound.stream: sound for sound in sounds}
    return [Heard(stream, sound.last.epoch, sound.last.pts, sound.last.moment) for stream, sound in last.items()]
