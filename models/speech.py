"""Speech as timed text: `Transcriber` over PocketSphinx (carried by its wheel) and over Whisper.

Both listen only where a voice activity detector hears speech, and both treat every sound by itself, so that what they
return depends on nothing heard before. Sounds are cut where it is quiet, so few words cross their borders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.records import MICROSECONDS, SAMPLE_RATE, Moment, Sound, Span, Utterance, Word

_FRAME_US: Final = 10_000
"""PocketSphinx counts time in hundredths of a second."""
_MARKUP: Final = re.compile(r"^[<\[+]|^$")
"""Silences, noises and sentence ends among its words."""
_LEAST_CONFIDENCE: Final = 0.25
_STRICT: Final = 3
_LONGEST_S: Final = 28.0
"""Whisper's window is 30 s."""

Pcm = NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Voiced:
    """A stretch of a sound in which someone may be speaking: samples int16 [N] from `offset_us` on."""

    offset_us: int
    samples: Pcm


def voiced(sound: Sound) -> Iterator[Voiced]:
    """The stretches of `sound` with voice activity, in order."""
    from pocketsphinx import Endpointer

    pcm = (np.clip(sound.samples, -1.0, 1.0) * 32767.0).astype(np.int16)
    endpointer = Endpointer(sample_rate=SAMPLE_RATE, vad_mode=_STRICT)
    size = endpointer.frame_bytes // 2
    parts: list[bytes] = []
    for start in range(0, len(pcm) - size + 1, size):
        part = endpointer.process(pcm[start : start + size].tobytes())
        if part is not None:
            parts.append(part)
            if not endpointer.in_speech:
                yield _stretch(endpointer.speech_start, parts)
                parts = []
    if endpointer.in_speech and parts:
        yield _stretch(endpointer.speech_start, parts)


def _stretch(start_s: float, parts: Sequence[bytes]) -> Voiced:
    return Voiced(round(start_s * MICROSECONDS), np.frombuffer(b"".join(parts), dtype=np.int16))


class PocketSphinxTranscriber:
    """English through PocketSphinx. A word's confidence is its posterior in the word lattice, which is pessimistic."""

    id = "pocketsphinx-en"

    def __init__(self) -> None:
        self._decoder: Any = None

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        return [utterance for sound in sounds for utterance in self._transcribe(sound)]

    def _transcribe(self, sound: Sound) -> Iterator[Utterance]:
        for stretch in voiced(sound):
            words = self._decode(sound, stretch)
            if not words:
                continue
            confidence = float(np.average([one.confidence for one in words], weights=[len(one.text) for one in words]))
            if confidence < _LEAST_CONFIDENCE:
                continue
            span = Span(words[0].span.start, words[-1].span.end)
            text = " ".join(one.text for one in words)
            pts = sound.pts + (span.start - sound.moment)
            yield Utterance(sound.stream, sound.epoch, pts, span, text, confidence, tuple(words))

    def _decode(self, sound: Sound, stretch: Voiced) -> list[Word]:
        if self._decoder is None:
            from pocketsphinx import Decoder

            # Normalising over the utterance, not over what was heard before, keeps results independent of order.
            self._decoder = Decoder(samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL")
        decoder = self._decoder
        decoder.reinit_feat()  # forgets the noise level that it tracked
        decoder.start_utt()
        decoder.process_raw(stretch.samples.tobytes(), full_utt=True)
        decoder.end_utt()
        base = sound.moment + stretch.offset_us
        words = []
        for segment in decoder.seg() or ():
            text = re.sub(r"\(\d+\)$", "", segment.word)
            if _MARKUP.match(text):
                continue
            start = Moment(base + segment.start_frame * _FRAME_US)
            end = Moment(base + (segment.end_frame + 1) * _FRAME_US)
            words.append(Word(Span(start, end), text, float(min(max(segment.prob, 0.0), 1.0))))
        return words


class WhisperTranscriber:
    """Any Whisper checkpoint through transformers; `checkpoint` is a folder or a name on the model hub."""

    def __init__(self, checkpoint: str | Path, *, language: str = "en", device: str = "cpu") -> None:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self.id = f"whisper:{checkpoint}"
        self._language = language
        self._device = device
        self._processor = WhisperProcessor.from_pretrained(checkpoint)
        self._model = WhisperForConditionalGeneration.from_pretrained(checkpoint).to(device).eval()

    def transcribe(self, sounds: Sequence[Sound]) -> list[Utterance]:
        return [utterance for sound in sounds for utterance in self._transcribe(sound)]

    def _transcribe(self, sound: Sound) -> Iterator[Utterance]:
        for stretch in voiced(sound):
            size = int(_LONGEST_S * SAMPLE_RATE)
            for start in range(0, len(stretch.samples), size):
                offset = stretch.offset_us + start * MICROSECONDS // SAMPLE_RATE
                yield from self._decode(sound, Voiced(offset, stretch.samples[start : start + size]))

    def _decode(self, sound: Sound, stretch: Voiced) -> Iterator[Utterance]:
        import torch

        samples = stretch.samples.astype(np.float32) / 32768.0
        inputs = self._processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        with torch.inference_mode():
            heard = inputs.input_features.to(self._device, self._model.dtype)
            tokens = self._model.generate(
                heard,
                attention_mask=inputs.attention_mask.to(self._device),
                return_timestamps=True,
                **({"language": self._language, "task": "transcribe"} if self._multilingual else {}),
            )
            confidence = self._confidence(heard, tokens)
        length = len(stretch.samples) * MICROSECONDS // SAMPLE_RATE
        decoded = self._processor.tokenizer.decode(
            tokens[0].cpu().numpy(), output_offsets=True, skip_special_tokens=True
        )
        for piece in decoded["offsets"]:
            text = piece["text"].strip()
            first, last = piece["timestamp"]
            start = min(round((first or 0.0) * MICROSECONDS), length)
            end = min(round(last * MICROSECONDS), length) if last is not None else length
            if text and end > start:
                moment = Moment(sound.moment + stretch.offset_us + start)
                span = Span(moment, Moment(moment + end - start))
                pts = sound.pts + (moment - sound.moment)
                yield Utterance(
                    sound.stream, sound.epoch, pts, span, text, confidence, language=self._language
                )  # fmt: skip

    @property
    def _multilingual(self) -> bool:
        return bool(getattr(self._model.generation_config, "is_multilingual", False))

    def _confidence(self, heard: Any, tokens: Any) -> float:
        """Mean probability (geometric) of the tokens, given what was heard."""
        if tokens.shape[1] < 2:
            return 0.0
        logits = self._model(input_features=heard, decoder_input_ids=tokens[:, :-1]).logits.float()
        chances = logits.log_softmax(dim=-1).gather(2, tokens[:, 1:, None])
        return math.exp(float(chances.mean()))
