"""The stage that turns frames into features."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.bus import FEATURES, FRAMES
from ingest.records import Ended, Frame, Record
from models.protocols import FrameEncoder


class EncodeStage:
    """Frames to features, `Ended` passed through in its place."""

    name = "encode"
    consumes: tuple[str, ...] = (FRAMES,)
    produces: str | None = FEATURES

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder

    def handle(self, batch: Sequence[Record]) -> Sequence[Record]:
        frames = [record for record in batch if isinstance(record, Frame)]
        features = iter(self._encoder.encode(frames)) if frames else iter(())
        results: list[Record] = []
        for record in batch:
            if isinstance(record, Frame):
                results.append(next(features))
            elif isinstance(record, Ended):
                results.append(record)
        return results
