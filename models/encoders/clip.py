"""CLIP and SigLIP through transformers: pictures and sentences by one pair of towers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ingest.questions import Query
from ingest.records import MICROSECONDS, Feature, Frame, Moment, Observation, Pixels, Span, Utterance, Vector
from models.embedded.pictures import jpeg

_LONGEST_FRAME_US: Final = MICROSECONDS
_BATCH: Final = 16
_CLIP_SLOPE, _CLIP_OFFSET = 60.0, -15.6
"""CLIP's cosines of matching pairs lie near 0.3 and of others near 0.2 (Radford et al., 2021): half way is 0.26."""
_PICTURE_SLOPE, _PICTURE_OFFSET = 25.0, -20.0
_THUMBNAIL_SIDE: Final = 320


class ClipEncoder:
    """A `FrameEncoder` over any CLIP, SigLIP or SigLIP 2 checkpoint: a folder, or a name on the model hub.

    SigLIP was trained with a sigmoid of its own scale and bias, which are its calibration (Zhai et al., Sigmoid Loss
    for Language Image Pre-Training, 2023); CLIP has none, so a fixed one is used.
    """

    def __init__(self, checkpoint: str | Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil, SiglipImageProcessorPil

        self.id = f"clip:{checkpoint}"
        self._device = device
        self._tokens = AutoTokenizer.from_pretrained(checkpoint)
        self._model = AutoModel.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).to(device).eval()
        self._siglip = "siglip" in self._model.config.model_type
        # By name and not through AutoImageProcessor, which wants torchvision even for the twins that do without.
        processor = SiglipImageProcessorPil if self._siglip else CLIPImageProcessorPil
        self._images = processor.from_pretrained(checkpoint)
        self._turn = threading.Lock()
        self._last: dict[str, Moment] = {}
        self.dim = int(self._text(["a"]).shape[1])

    def encode(self, frames: Sequence[Frame]) -> list[Feature]:
        features = []
        for start in range(0, len(frames), _BATCH):
            batch = frames[start : start + _BATCH]
            for frame, vector in zip(batch, self._pictures([frame.pixels for frame in batch]), strict=True):
                span = Span(frame.moment, Moment(frame.moment + self._duration(frame)))
                thumbnail = jpeg(frame.pixels, _THUMBNAIL_SIDE)
                features.append(Feature(frame.stream, frame.epoch, frame.pts, span, vector, thumbnail=thumbnail))
        return features

    def encode_utterances(self, utterances: Sequence[Utterance]) -> list[Feature]:
        if not utterances:
            return []
        vectors = self._text([utterance.text for utterance in utterances])
        return [
            Feature(
                one.stream,
                one.epoch,
                one.pts,
                one.span,
                vector,
                origin="sound",
                observations=(_heard(one),),
            )
            for one, vector in zip(utterances, vectors, strict=True)
        ]

    def encode_queries(self, queries: Sequence[str | Pixels]) -> list[Query]:
        return [self._sentence(one) if isinstance(one, str) else self._picture(one) for one in queries]

    def _sentence(self, text: str) -> Query:
        slope, offset = _CLIP_SLOPE, _CLIP_OFFSET
        if self._siglip:
            slope = float(self._model.logit_scale.detach().exp())
            offset = float(self._model.logit_bias.detach())
        return Query(text, self._text([text])[0], slope, offset, understood=(text,))

    def _picture(self, pixels: Pixels) -> Query:
        return Query("", self._pictures([pixels])[0], _PICTURE_SLOPE, _PICTURE_OFFSET, understood=("picture",))

    def _pictures(self, pictures: Sequence[Pixels]) -> Vector:
        """float32 [N, D], unit rows."""
        inputs = self._images(images=list(pictures), return_tensors="pt")
        return self._run("get_image_features", inputs)

    def _text(self, texts: Sequence[str]) -> Vector:
        """float32 [N, D], unit rows."""
        longest = self._model.config.text_config.max_position_embeddings
        padding = "max_length" if self._siglip else True  # SigLIP was trained on padded texts only
        inputs = self._tokens(list(texts), padding=padding, truncation=True, max_length=longest, return_tensors="pt")
        return self._run("get_text_features", inputs)

    def _run(self, method: str, inputs: Any) -> Vector:
        import torch

        with self._turn, torch.inference_mode():
            found = getattr(self._model, method)(**inputs.to(self._device))
        pooled = getattr(found, "pooler_output", found)
        vectors = pooled.float().cpu().numpy()
        unit: Vector = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit

    def _duration(self, frame: Frame) -> int:
        last = self._last.get(frame.stream)
        self._last[frame.stream] = frame.moment
        if last is None or frame.moment <= last:
            return _LONGEST_FRAME_US // 2
        return min(frame.moment - last, _LONGEST_FRAME_US)


def _heard(one: Utterance) -> Observation:
    return Observation(
        one.stream, one.epoch, f"{one.pts}-{one.kind}", "heard", one.kind, one.span, one.confidence,
        actions=(one.language,), text=one.text,
    )  # fmt: skip
