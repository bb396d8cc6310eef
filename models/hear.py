"""The stage that turns sounds into features of what was said."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.bus import FEATURES, SOUNDS
from ingest.records import Record, Sound
from models.protocols import FrameEncoder, Transcriber


class HearStage:
    """Sounds to utterances to features of origin "sound"."""

    name = "hear"
    consumes: tuple[str, ...] = (SOUNDS,)
    produces: str | None = FEATURES

    def __init__(self, transcriber: Transcriber, encoder: FrameEncoder) -> None:
        self._transcriber = transcriber
        self._encoder = encoder

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        sounds = [record for record in batch if isinstance(record, Sound)]
        utterances = self._transcriber.transcribe(sounds) if sounds else []
        return list(self._encoder.encode_utterances(utterances)) if utterances else []
